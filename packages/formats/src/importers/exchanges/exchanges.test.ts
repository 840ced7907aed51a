import type { ImportedCommand } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { anthropic, exchangeList } from '../../../../../test/formats/app-fixtures.ts'
import { actionsOf, foldImported, messagesOf, payloadsOf } from '../../../../../test/formats/imported.ts'
import { sha256 } from '../../../../../test/support/core-log.ts'
import { importFile } from '../import-file.ts'

const importText = (content: string) => importFile({ source: 'calls.json', content, sha256 })
const importValue = (value: unknown) => importText(JSON.stringify(value))
const { asked, anthropicCall, anthropicAnswer, resent, weatherResult } = anthropic
const text = (words: string) => ({ type: 'text', text: words })

describe('calls that resend what was said', () => {
  const { conversations, records, remarks } = importValue(exchangeList)
  const [conversation] = conversations

  test('are one conversation in which every message is once, across providers', () => {
    expect({ records, remarks, conversations: conversations.length }).toEqual({ records: 3, remarks: [], conversations: 1 })
    expect(messagesOf(conversation).map(({ id, role, parts }) => [id, role, parts.map(({ type }) => type)])).toEqual([
      ['exchange-1.system', 'system', ['text']],
      ['exchange-1.1', 'user', ['text']],
      ['msg_1', 'assistant', ['reasoning', 'tool_call']],
      ['exchange-2.1', expect.any(String), ['tool_result']],
      ['msg_2', 'assistant', ['text']],
      ['exchange-3.1', 'user', ['text']],
      ['resp_3', 'assistant', ['text', 'compaction']],
    ])
  })

  test('have usage once for each answer, with what was cached taken apart as its provider counts', () => {
    const usage = payloadsOf(conversation, 'usageRecorded') as { messageId: string; usage: Record<string, number> }[]
    expect(usage.map(({ messageId, usage }) => [messageId, usage.input, usage.cacheRead, usage.output, usage.reasoning])).toEqual(
      [
        ['msg_1', 10, 7, 4, 0],
        ['msg_2', 10, 7, 4, 0],
        ['resp_3', 30, 20, 9, 3],
      ],
    )
  })

  test('end their calls and turns, and change models', () => {
    const { state } = foldImported(conversation)
    expect(state.tools).toMatchObject({ requested: 1, succeeded: 1, open: [] })
    expect(state.turn).toMatchObject({ started: 2, current: null })
    expect(state.participants.map(({ id }) => id)).toEqual(['user', 'gpt-test-1'])
  })

  test('keep thoughts signed and a compaction opaque, as the provider gave them', () => {
    const parts = messagesOf(conversation).flatMap(({ parts }) => parts)
    expect(parts).toContainEqual(expect.objectContaining({ type: 'reasoning', text: 'I look it up.', signature: 'c2ln' }))
    expect(parts).toContainEqual(expect.objectContaining({ type: 'compaction', opaque: 'b3BhcXVl' }))
  })

  test('keep the exchange without what the one before it said too', () => {
    const kept = payloadsOf(conversation, 'foreignRecordKept') as {
      line: number
      recordType: string
      record: Record<string, unknown>
    }[]
    expect(kept.map(({ line, recordType }) => [line, recordType])).toEqual([
      [1, 'exchange/anthropic'],
      [2, 'exchange/anthropic'],
      [3, 'exchange/responses'],
    ])
    expect(kept[1]?.record).toMatchObject({
      $as: { exchange: 1, fields: ['model', 'system', 'tools'], messages: 1 },
      request: { messages: [resent, weatherResult] },
      response: { content: [{ type: 'text', text: { $message: 'msg_2/parts/0/text' } }] },
    })
  })

  test('are the same from JSON lines, and a file that has grown gives what it gave before, and then more', () => {
    const lines = exchangeList.map((exchange) => JSON.stringify(exchange))
    expect(importText(lines.join('\n')).conversations).toEqual(conversations)
    // Only the last has a time, and those before it happened then or earlier.
    const inputs = (commands: readonly ImportedCommand[] = []) => commands.map(({ commandId, actions }) => [commandId, actions])
    const before = inputs(importText(`[${lines.slice(0, 2).join(',')}]`).conversations[0]?.commands)
    expect(inputs(conversation?.commands).slice(0, before.length)).toEqual(before)
  })
})

describe('a call', () => {
  const answer = (id: string, words = 'Yes') => anthropicAnswer(id, [text(words)], 'end_turn')

  test('that is made twice gives a fork with the second answer', () => {
    const { conversations } = importValue([anthropicCall([asked], answer('msg_1')), anthropicCall([asked], answer('msg_2'))])
    expect(conversations.map(({ conversationId }) => conversationId)).toEqual(['exchanges-msg_1', 'exchanges-msg_1~msg_2'])
    expect(conversations[1]?.fork).toEqual({
      parentId: 'exchanges-msg_1',
      afterCommandId: 'exchanges:exchange-1.1',
      messageId: 'exchange-1.1',
    })
    expect(messagesOf(conversations[1]).map(({ id }) => id)).toEqual(['msg_2'])
  })

  test('whose answer has an id that no conversation can have is named by the hash of it', () => {
    const { conversations } = importValue([anthropicCall([asked], answer('a~b')), anthropicCall([asked], answer('~'))])
    expect(conversations.map(({ conversationId }) => conversationId)).toEqual([
      expect.stringMatching(/^exchanges-[0-9a-f]{16}$/),
      expect.stringMatching(/^exchanges-[0-9a-f]{16}~[0-9a-f]{16}$/),
    ])
  })

  test('that shares nothing with the others is a conversation of its own', () => {
    const other = { role: 'user', content: 'Something else' }
    const { conversations } = importValue([anthropicCall([asked], answer('msg_1')), anthropicCall([other], answer('msg_2'))])
    expect(conversations.map((each) => foldImported(each).state.lineage.parent)).toEqual([null, null])
  })

  test('with another system prompt says the new one', () => {
    const next = anthropicCall(
      [asked, { role: 'assistant', content: [text('Yes')] }, { role: 'user', content: 'More' }],
      answer('msg_2'),
    )
    const changed = { ...next, request: { ...next.request, system: 'Be long.' } }
    const [conversation] = importValue([anthropicCall([asked], answer('msg_1')), changed]).conversations
    expect(messagesOf(conversation).map(({ id, role }) => [id, role])).toEqual([
      ['exchange-1.system', 'system'],
      ['exchange-1.1', 'user'],
      ['msg_1', 'assistant'],
      ['exchange-2.system', 'system'],
      ['exchange-2.1', 'user'],
      ['msg_2', 'assistant'],
    ])
  })

  test('that failed is an error, and the next one goes on from there', () => {
    const failed = anthropicCall([asked], { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 529)
    const { conversations } = importValue([failed, anthropicCall([asked], answer('msg_1'))])
    expect(conversations).toHaveLength(1)
    expect(payloadsOf(conversations[0], 'errorRecorded')).toEqual([{ kind: 'api_error', problem: 'Overloaded' }])
    expect(messagesOf(conversations[0]).map(({ id }) => id)).toEqual(['exchange-1.system', 'exchange-1.1', 'msg_1'])
  })

  test('of Chat Completions is read too', () => {
    const [conversation] = importValue({
      uri: 'https://api.example/v1/chat/completions',
      request: { model: 'm', messages: [{ role: 'user', content: 'Hi' }] },
      response: {
        id: 'c1',
        model: 'm-1',
        created: 5,
        choices: [{ finish_reason: 'stop', message: { role: 'assistant', content: 'Ho' } }],
        usage: { prompt_tokens: 3, completion_tokens: 1 },
      },
    }).conversations
    expect(messagesOf(conversation)).toMatchObject([
      { role: 'user', parts: [text('Hi')] },
      {
        role: 'assistant',
        createdAt: 5_000_000,
        parts: [text('Ho')],
        model: { id: 'm-1', stop: { unified: 'end', raw: 'stop' } },
      },
    ])
  })

  test('that continues a response by its id sends only what is new', () => {
    const response = (id: string, words: string) => ({
      id,
      model: 'm',
      status: 'completed',
      output: [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: words }] }],
    })
    const [conversation, ...others] = importValue([
      { request: { input: 'One' }, response: response('r1', 'First') },
      { request: { input: 'Two', previous_response_id: 'r1' }, response: response('r2', 'Second') },
    ]).conversations
    expect(others).toEqual([])
    expect(messagesOf(conversation).flatMap(({ parts }) => parts)).toMatchObject(['One', 'First', 'Two', 'Second'].map(text))
  })

  test('with iterations takes what all of them took', () => {
    const iterations = [
      { input_tokens: 100, output_tokens: 10 },
      { input_tokens: 20, output_tokens: 2 },
    ]
    const usage = { input_tokens: 20, output_tokens: 2, iterations }
    const [conversation] = importValue(anthropicCall([asked], { ...answer('msg_1'), usage })).conversations
    expect(foldImported(conversation).state.usage).toMatchObject({ input: 120, output: 12, calls: 1 })
  })
})

describe('a streamed answer', () => {
  const events = [
    {
      type: 'message_start',
      message: {
        id: 'msg_s',
        type: 'message',
        role: 'assistant',
        model: 'claude-test',
        content: [],
        usage: { input_tokens: 3, output_tokens: 1 },
      },
    },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hel' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'lo' } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 9 } },
    { type: 'message_stop' },
  ]
  const stream = (count: number) =>
    events
      .slice(0, count)
      .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      .join('')

  test('is put together', () => {
    const [conversation] = importValue([anthropicCall([asked], stream(events.length))]).conversations
    expect(messagesOf(conversation).at(-1)).toMatchObject({
      id: 'msg_s',
      parts: [text('Hello')],
      model: { id: 'claude-test', stop: { unified: 'end' } },
    })
    expect(foldImported(conversation).state.usage).toMatchObject({ input: 3, output: 9, calls: 1 })
  })

  test('that was cut is what arrived, with an error', () => {
    const [conversation] = importValue([anthropicCall([asked], stream(4))]).conversations
    expect(messagesOf(conversation).at(-1)).toMatchObject({ parts: [text('Hello')] })
    expect(payloadsOf(conversation, 'errorRecorded')).toEqual([{ kind: 'stream_error', problem: 'the stream was cut' }])
  })

  test('of no API is an error', () => {
    const [conversation] = importValue([anthropicCall([asked], 'Bad gateway')]).conversations
    expect(payloadsOf(conversation, 'errorRecorded')).toMatchObject([{ kind: 'api_error' }])
  })
})

test('what is no exchange among exchanges is refused with its number', () => {
  expect(() => importValue([...exchangeList, { request: {} }])).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      details: expect.objectContaining({ line: 4, problem: expect.stringMatching(/^\$\[3\] has no request/) }),
    }),
  )
})

test('a picture is kept once, by its hash, and in no action', () => {
  const data = Buffer.from('a picture').toString('base64')
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data } }
  const [conversation] = importValue([
    anthropicCall([{ role: 'user', content: [image] }], anthropicAnswer('msg_1', [text('Nice')], 'end_turn')),
  ]).conversations
  expect(conversation?.media.map(({ mediaType, bytes }) => [mediaType, bytes.length])).toEqual([['image/png', 9]])
  expect(JSON.stringify(actionsOf(conversation))).not.toContain(data)
})
