import type { HeldConversation } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { gptConversation, gptNode, gptTree } from '../../../../../test/formats/app-fixtures.ts'
import { actionsOf, foldImported } from '../../../../../test/formats/imported.ts'
import { sha256 } from '../../../../../test/support/core-log.ts'
import { importFile } from '../import-file.ts'

const importValue = (value: unknown) => importFile({ source: 'conversations.json', content: JSON.stringify(value), sha256 })
const told = (conversation: HeldConversation | undefined) => actionsOf(conversation).map(({ type, payload }) => [type, payload])
const said = (conversation: HeldConversation | undefined) =>
  actionsOf(conversation).flatMap(({ type, payload }) =>
    type === 'messageAdded' ? [(payload as { message: unknown }).message] : [],
  )
const idOf = '11111111-2222-4333-8444-555555555555'
const time = (seconds: number) => 1_700_000_000_250_000 + seconds * 1_000_000

describe('a question with two answers', () => {
  const { conversations, records, remarks, skipped } = importValue([gptTree])
  const [first, fork] = conversations

  test('is a conversation with the answer that came first, and a fork with the other one after the question', () => {
    expect({ records, remarks, skipped }).toEqual({ records: 8, remarks: [], skipped: [] })
    expect(conversations.map(({ conversationId }) => conversationId)).toEqual([idOf, `${idOf}~b1`])
    expect(fork?.fork).toEqual({ parentId: idOf, afterCommandId: 'chatgpt:u1', messageId: 'u1' })
    expect(told(fork).map(([type]) => type)).not.toContain('conversationStarted')
    expect(said(fork)).toMatchObject([{ id: 'b1', role: 'assistant', parts: [{ type: 'text', text: 'I cannot draw.' }] }])
  })

  test('becomes these commands, each at its own time', () => {
    expect(first?.commands.map(({ commandId, occurredAt }) => [commandId.replace(/[0-9a-f]{16}/, 'HASH'), occurredAt])).toEqual([
      ['chatgpt:started', time(0)],
      ['chatgpt:title:HASH', time(0)],
      ['chatgpt:conversation:HASH', time(0)],
      ['chatgpt:active:HASH', time(0)],
      ['chatgpt:root:fields:HASH', time(0)],
      ['chatgpt:s:fields:HASH', time(0)],
      ['chatgpt:u1', time(0)],
      ['chatgpt:u1:fields:HASH', time(0)],
      ['chatgpt:a1', time(1)],
      ['chatgpt:a1:fields:HASH', time(1)],
      ['chatgpt:t1', time(2)],
      ['chatgpt:t1:fields:HASH', time(2)],
      ['chatgpt:a2', time(3)],
      ['chatgpt:turn-ended:u1', time(3)],
      ['chatgpt:a2:fields:HASH', time(3)],
    ])
  })

  test('says which branch the app showed, and the title', () => {
    const { state } = foldImported(first)
    expect(state.metadata).toEqual({ activeConversation: `${idOf}~b1` })
    expect(state.lifecycle.title).toBe('A talk')
    expect(state.turn).toMatchObject({ current: null, last: { turnId: 'u1', outcome: 'ended' } })
  })

  test('pairs the call with its result, although no id links them', () => {
    expect(said(first).slice(1, 3)).toEqual([
      {
        v: 1,
        id: 'a1',
        role: 'assistant',
        author: { id: 'gpt-test' },
        createdAt: time(1),
        model: { provider: 'openai', api: 'chatgpt', id: 'gpt-test', stop: { unified: 'end', raw: 'stop' } },
        parts: [
          {
            type: 'tool_call',
            callId: 'a1',
            name: 'draw.graph',
            args: { raw: '{"graph":"A-->B"}', json: { graph: 'A-->B' }, valid: true },
            executor: { kind: 'provider' },
          },
        ],
      },
      {
        v: 1,
        id: 't1',
        role: 'tool',
        createdAt: time(2),
        parts: [
          { type: 'tool_result', callId: 'a1', callMessageId: 'a1', status: 'ok', content: [{ type: 'text', text: 'drawn' }] },
        ],
      },
    ])
    expect(foldImported(first).state.tools).toMatchObject({ open: [], requested: 1, succeeded: 1 })
  })

  test('keeps of a node what the message has no place for, without its words', () => {
    const kept = told(first).filter(([type]) => type === 'foreignRecordKept')
    expect(kept.at(-1)?.[1]).toMatchObject({
      recordType: 'node',
      line: 6,
      record: {
        parent: 't1',
        message: { status: 'finished_successfully', content: { parts: [{ $message: 'a2/parts/0/text' }] } },
      },
    })
  })
})

describe('exported again', () => {
  const question = gptNode('u1', 'user', 'One?', { children: ['a1'] })
  const answer = gptNode('a1', 'assistant', 'One.', { parent: 'u1', at: 1 })
  const messageCommands = (value: unknown) =>
    importValue(value).conversations.map(({ conversationId, commands }) => [
      conversationId,
      commands.filter(({ commandId }) => !/:(fields|title|conversation|active):/.test(commandId)),
    ])

  test('with fewer fields and another title, every message is under the same command with the same content', () => {
    const { status: _, ...less } = answer.message
    const renamed = gptConversation([question, { ...answer, message: less } as { id: string }], {
      title: 'Renamed',
      update_time: 1,
      conversation_id: idOf,
      id: undefined,
    })
    expect(messageCommands([renamed])).toEqual(messageCommands(gptConversation([question, answer])))
  })

  test('after the question was edited and the other branch is shown, what was there is as it was', () => {
    const before = messageCommands([
      gptConversation([{ ...question, parent: 'r' }, answer, { id: 'r', children: ['u1'] } as { id: string }]),
    ])
    const edited = gptNode('u2', 'user', 'Two?', { parent: 'r', at: 50 })
    const after = messageCommands([
      gptConversation([{ id: 'r', children: ['u1', 'u2'] } as { id: string }, { ...question, parent: 'r' }, answer, edited]),
    ])
    expect(after[0]).toEqual(before[0])
    expect(after[1]?.[0]).toBe(`${idOf}~u2`)
  })
})

describe('contents', () => {
  const partsOf = (content: object, fields: object = {}) =>
    said(importValue([gptConversation([gptNode('x', 'assistant', '', { content, ...fields })])]).conversations[0]).flatMap(
      (message) => (message as { parts: unknown[] }).parts,
    )

  test.each([
    ['code', { content_type: 'code', language: 'python', text: 'print(1)' }, [{ type: 'text', text: 'print(1)' }]],
    [
      'what a browser shows',
      { content_type: 'tether_browsing_display', result: 'L0: page', summary: null },
      [{ type: 'text', text: 'L0: page' }],
    ],
    [
      'a quote',
      { content_type: 'tether_quote', url: 'https://a.example', domain: 'a.example', text: 'quoted', title: 'A' },
      [{ type: 'text', text: 'quoted', citations: [{ kind: 'tether_quote', url: 'https://a.example', title: 'A' }] }],
    ],
    [
      'a picture beside words',
      {
        content_type: 'multimodal_text',
        parts: [{ content_type: 'image_asset_pointer', asset_pointer: 'file-service://f1' }, 'This?'],
      },
      [
        {
          type: 'media',
          kind: 'image',
          mediaType: 'image/*',
          source: { kind: 'providerFile', provider: 'openai', fileId: 'file-service://f1' },
        },
        { type: 'text', text: 'This?' },
      ],
    ],
    [
      'thoughts',
      { content_type: 'thoughts', thoughts: [{ summary: 'Plan', content: 'First this.' }] },
      [{ type: 'reasoning', text: 'First this.', summary: ['Plan'], redacted: false }],
    ],
    [
      'what nobody knows',
      { content_type: 'hologram', size: 3 },
      [{ type: 'custom', kind: 'chatgpt.hologram', payload: { content_type: 'hologram', size: 3 } }],
    ],
  ])('%s', (_, content, parts) => {
    expect(partsOf(content)).toEqual(parts)
  })

  test('a call in code to a tool without a result stays open', () => {
    const [conversation] = importValue([
      gptConversation([
        gptNode('c', 'assistant', '', { content: { content_type: 'code', text: 'search("x")' }, recipient: 'browser' }),
      ]),
    ]).conversations
    expect(foldImported(conversation).state.tools.open).toMatchObject([{ messageId: 'c', callId: 'c', name: 'browser' }])
  })
})

describe('trees that are none', () => {
  test('nodes in a circle, strange parents and a node that is its own parent are all imported', () => {
    const { conversations, records } = importValue([
      gptConversation([
        gptNode('a', 'user', 'A', { parent: 'c', children: ['b'] }),
        gptNode('b', 'assistant', 'B', { parent: 'a', children: ['c'] }),
        gptNode('c', 'user', 'C', { parent: 'b', children: ['a'] }),
        gptNode('d', 'user', 'D', { parent: 'd', children: ['d'] }),
        gptNode('e', 'user', 'E', { parent: 'not here' }),
      ]),
    ])
    expect(records).toBe(6)
    expect(conversations.map((conversation) => said(conversation).map((message) => (message as { id: string }).id))).toEqual([
      ['a', 'b', 'c'],
      ['d'],
      ['e'],
    ])
  })

  test.each([
    [[gptTree, { title: 'x' }], 2, '$[1].mapping is not an object'],
    [[gptTree, { mapping: { n: 7 } }], 2, '$[1].mapping.n is not an object'],
  ])('a conversation that is none is refused with its number and field', (value, line, problem) => {
    expect(() => importValue(value)).toThrow(
      expect.objectContaining({
        code: 'import_refused',
        details: expect.objectContaining({ line, problem: expect.stringContaining(problem) }),
      }),
    )
  })

  test('conversations without an id are known by their beginning', () => {
    const unnamed = gptConversation([gptNode('u1', 'user', 'One?', {})], { id: null })
    const [one] = importValue([unnamed]).conversations
    const [other] = importValue([{ ...unnamed, title: 'Another name' }]).conversations
    expect(one?.conversationId).toMatch(/^chatgpt-[0-9a-f]{16}$/)
    expect(other?.conversationId).toBe(one?.conversationId)
  })

  test('two entries of one id are two conversations', () => {
    expect(importValue([gptTree, gptTree]).conversations.map(({ conversationId }) => conversationId)).toContain(`${idOf}#2`)
  })
})
