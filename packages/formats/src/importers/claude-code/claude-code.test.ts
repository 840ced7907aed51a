import { createHash } from 'node:crypto'
import { type Action, contextCompacted, type HeldConversation, type Json, type Message, toHex } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { actionsOf, foldImported, payloadsOf } from '../../../../../test/formats/imported.ts'
import {
  answerLine,
  callBlock,
  resultLine,
  type SessionLine,
  sessionId,
  systemLine,
  textBlock,
  timeOf,
  toFile,
  userLine,
} from '../../../../../test/formats/session-records.ts'
import { sha256 } from '../../../../../test/support/core-log.ts'
import type { ImportOptions } from '../source-file.ts'
import { importClaudeCode } from './claude-code.ts'

const importLines = (lines: readonly (SessionLine | string)[], options?: ImportOptions) =>
  importClaudeCode({ source: 'session.jsonl', content: toFile(...lines), sha256, ...(options && { options }) })

const conversationOf = (lines: readonly (SessionLine | string)[]): HeldConversation => {
  const [conversation] = importLines(lines).conversations
  if (conversation === undefined) throw new Error('nothing was imported')
  return conversation
}

/** Type and payload, without the first action of every import and without the joining of participants. */
const told = (lines: readonly (SessionLine | string)[]): [string, unknown][] =>
  actionsOf(conversationOf(lines))
    .filter(({ type }) => type !== 'conversationStarted' && type !== 'participantJoined')
    .map(({ type, payload }) => [type, payload])

const typesOf = (lines: readonly (SessionLine | string)[]): string[] => told(lines).map(([type]) => type)

const fold = foldImported

/** The id of the message that an action adds. */
const messageIdOf = ({ payload }: Action) => (payload as { message?: { id: string } }).message?.id

const prompt = (uuid = 'u1', text = 'Hello', at = 0) => userLine(text, { uuid, at })
const usage = (output: number, more: object = {}) => ({ input_tokens: 3, output_tokens: output, ...more })
const refusal = (line: number, problem: unknown = expect.any(String)) =>
  expect.objectContaining({ code: 'import_refused', details: { source: 'session.jsonl', line, problem } })

describe('a plain exchange', () => {
  const lines = [
    userLine('Hello', { uuid: 'u1', at: 0, cwd: '/work', version: '2.1.0', gitBranch: 'main', userType: 'external' }),
    answerLine('msg_1', textBlock('Hi.'), { uuid: 'a1', at: 2, usage: usage(5), stop_reason: 'end_turn', requestId: 'req_1' }),
  ]

  test('becomes these actions and nothing else', () => {
    const { conversationId, format, commands, media } = conversationOf(lines)
    expect({ conversationId, format, media }).toEqual({ conversationId: sessionId, format: 'claude-code', media: [] })
    expect(commands.map(({ commandId, occurredAt }) => [commandId, occurredAt])).toEqual([
      ['claude-code:started', timeOf(0)],
      ['claude-code:u1', timeOf(0)],
      ['claude-code:message:msg_1', timeOf(2)],
      ['claude-code:turn-ended:u1', timeOf(2)],
    ])
    expect(commands.map(({ actions }) => actions.map(({ type, payload }) => [type, payload]))).toEqual([
      [['conversationStarted', { source: { format: 'claude-code', id: sessionId } }]],
      [
        ['metadataChanged', { set: { cwd: '/work', gitBranch: 'main', claudeCodeVersion: '2.1.0' } }],
        ['participantJoined', { participantId: 'user', kind: 'person' }],
        ['turnStarted', { turnId: 'u1' }],
        [
          'messageAdded',
          {
            message: {
              v: 1,
              id: 'u1',
              role: 'user',
              parts: [{ type: 'text', text: 'Hello' }],
              author: { id: 'user' },
              createdAt: timeOf(0),
              meta: { kind: 'prompt' },
            },
            tokenCount: 2,
            tokenCounter: 'chars4@1',
          },
        ],
      ],
      [
        ['participantJoined', { participantId: 'claude-test-1', kind: 'model' }],
        [
          'messageAdded',
          {
            message: {
              v: 1,
              id: 'msg_1',
              role: 'assistant',
              parts: [{ type: 'text', text: 'Hi.' }],
              author: { id: 'claude-test-1' },
              createdAt: timeOf(2),
              model: {
                provider: 'anthropic',
                api: 'messages',
                id: 'claude-test-1',
                responseId: 'msg_1',
                stop: { unified: 'end', raw: 'end_turn' },
              },
            },
            tokenCount: 1,
            tokenCounter: 'chars4@1',
          },
        ],
        [
          'usageRecorded',
          {
            usage: {
              input: 3,
              output: 5,
              cacheRead: 0,
              cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
              reasoning: 0,
              raw: { input_tokens: 3, output_tokens: 5 },
            },
            messageId: 'msg_1',
            model: { provider: 'anthropic', id: 'claude-test-1' },
          },
        ],
      ],
      [['turnEnded', { turnId: 'u1' }]],
    ])
  })

  test('keeps in meta what the message has no place for, without the words', () => {
    const message = actionsOf(conversationOf(lines)).find((action) => action.type === 'messageAdded')
    expect(message?.meta).toEqual({
      records: [{ line: 1, record: { ...lines[0], message: { role: 'user' } } }],
    })
  })

  test('is imported the same from any name, as text or as bytes, with CRLF and a byte order mark', () => {
    const content = toFile(...lines)
    const expected = importClaudeCode({ source: 'a', content, sha256 })
    const windows = new TextEncoder().encode(`\ufeff${content.replaceAll('\n', '\r\n')}\r\n`)
    expect(importClaudeCode({ source: 'b', content: windows, sha256 })).toEqual(expected)
  })
})

describe('one answer on several lines', () => {
  test('becomes one message at the place of its first line, before the results of its calls', () => {
    const lines = [
      prompt(),
      answerLine('msg_1', { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' }, { uuid: 'a1' }),
      answerLine('msg_1', callBlock('c1'), { uuid: 'a2' }),
      resultLine('c1', 'one', { uuid: 'r1' }),
      answerLine('msg_1', callBlock('c2'), { uuid: 'a3' }),
      resultLine('c2', 'two', { uuid: 'r2' }),
    ]
    const messages = told(lines).flatMap(([type, payload]) => (type === 'messageAdded' ? [payload] : []))
    expect(messages).toMatchObject([
      { message: { id: 'u1' } },
      {
        message: {
          id: 'msg_1',
          parts: [
            { type: 'reasoning', text: 'Hm.', signature: 'c2ln', redacted: false, origin: { provider: 'anthropic' } },
            { type: 'tool_call', callId: 'c1', batchId: 'msg_1', args: { raw: '{"command":"ls"}', json: { command: 'ls' } } },
            { type: 'tool_call', callId: 'c2', batchId: 'msg_1', executor: { kind: 'client' } },
          ],
        },
      },
      { message: { id: 'r1', role: 'tool' } },
      { message: { id: 'r2', role: 'tool' } },
    ])
    expect(typesOf(lines)).toEqual([
      'turnStarted',
      'messageAdded',
      'messageAdded',
      'toolRequested',
      'toolRequested',
      'messageAdded',
      'toolSucceeded',
      'messageAdded',
      'toolSucceeded',
    ])
  })

  test('counts its usage once, at its largest', () => {
    const cache = {
      cache_creation_input_tokens: 9,
      cache_read_input_tokens: 70,
      cache_creation: { ephemeral_5m_input_tokens: 4 },
    }
    const [, payload] =
      told([
        prompt(),
        answerLine('msg_1', textBlock('a'), { uuid: 'a1', usage: usage(1, cache) }),
        answerLine('msg_1', textBlock('b'), { uuid: 'a2', usage: usage(40, cache) }),
        answerLine('msg_1', textBlock('c'), { uuid: 'a3', usage: usage(40, cache) }),
      ]).find(([type]) => type === 'usageRecorded') ?? []
    expect(payload).toMatchObject({
      usage: { input: 3, output: 40, cacheRead: 70, cacheWrite: { ttl5m: 4, ttl1h: 0, other: 5 } },
    })
  })

  test('that is written twice when a session is resumed is taken once, and listed with its first line', () => {
    const line = answerLine('msg_1', textBlock('Hi.'), { uuid: 'a1', version: '2.1.0' })
    const snapshot = { type: 'file-history-snapshot', messageId: 'm', snapshot: {} }
    const file = importLines([prompt(), JSON.stringify(line) + JSON.stringify(snapshot), { ...line, version: '2.2.0' }])
    expect(file.records).toBe(4)
    expect(file.skipped).toEqual([{ line: 3, recordType: 'assistant', reason: 'the record of line 2 again (uuid a1)' }])
    expect(actionsOf(file.conversations[0]).filter(({ type }) => type === 'foreignRecordKept')).toMatchObject([
      { payload: { recordType: 'file-history-snapshot', line: 2, record: snapshot } },
    ])
  })

  test('whose uuid says something else later is kept raw', () => {
    const file = importLines([
      prompt(),
      answerLine('msg_1', textBlock('Hi.'), { uuid: 'a1' }),
      answerLine('msg_1', textBlock('Ho.'), { uuid: 'a1' }),
    ])
    expect(file.skipped).toEqual([])
    expect(actionsOf(file.conversations[0]).at(-1)).toMatchObject({
      type: 'foreignRecordKept',
      payload: { line: 3, reason: 'line 2 has its uuid and says something else' },
    })
  })
})

describe('tool calls', () => {
  test('with one id for several calls are answered each by the nearest result after it', () => {
    const conversation = conversationOf([
      prompt(),
      answerLine('msg_1', callBlock('same'), { uuid: 'a1' }),
      resultLine('same', 'one', { uuid: 'r1' }),
      answerLine('msg_2', callBlock('same'), { uuid: 'a2' }),
      resultLine('same', 'two', { uuid: 'r2' }),
    ])
    const ends = actionsOf(conversation).filter(({ type }) => type === 'toolSucceeded')
    expect(ends.map(({ payload }) => payload)).toEqual([
      { messageId: 'msg_1', callId: 'same', resultMessageId: 'r1' },
      { messageId: 'msg_2', callId: 'same', resultMessageId: 'r2' },
    ])
    expect(fold(conversation).state.tools).toMatchObject({ open: [], requested: 2, succeeded: 2 })
  })

  test('without a result stay open', () => {
    const { state } = fold(conversationOf([prompt(), answerLine('msg_1', callBlock('c1'), { uuid: 'a1' })]))
    expect(state.tools.open).toMatchObject([{ messageId: 'msg_1', callId: 'c1', name: 'Bash' }])
    expect(state.turn.current?.turnId).toBe('u1')
  })

  test('a result without a call is kept as a message, and remarked on', () => {
    const file = importLines([prompt(), resultLine('lost', 'text', { uuid: 'r1' })])
    expect(file.remarks).toEqual([{ line: 2, remark: 'the result of lost answers no open call; it is kept as a message' }])
    expect(actionsOf(file.conversations[0]).at(-1)).toMatchObject({
      type: 'messageAdded',
      payload: { message: { role: 'tool', parts: [{ type: 'tool_result', callId: 'lost', status: 'ok' }] } },
    })
  })

  const refused = "The user doesn't want to proceed with this tool use. The tool use was rejected."
  test.each([
    ['succeed', 'fine', {}, 'ok', { type: 'toolSucceeded' }],
    ['say how long they took', 'fine', { toolUseResult: { durationMs: 12.5 } }, 'ok', { payload: { durationMs: 12.5 } }],
    [
      'fail',
      'No such file\nat all',
      { is_error: true },
      'error',
      { type: 'toolFailed', payload: { kind: 'error', problem: 'No such file' } },
    ],
    ['are refused', refused, { is_error: true }, 'denied', { type: 'toolFailed', payload: { kind: 'denied' } }],
    ['are stopped', 'partly', { toolUseResult: { interrupted: true } }, 'interrupted', { type: 'toolCancelled' }],
  ])('%s', (_, content, fields, status, expected) => {
    const actions = actionsOf(
      conversationOf([
        prompt(),
        answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }),
        resultLine('c1', content, { uuid: 'r1', ...fields }),
      ]),
    )
    expect(actions.at(-2)).toMatchObject({
      payload: {
        message: { parts: [{ callId: 'c1', callMessageId: 'msg_1', status, content: [{ type: 'text', text: content }] }] },
      },
    })
    expect(actions.at(-1)).toMatchObject(expected)
  })

  test('text beside results stays in the message of the results', () => {
    const content = [
      { type: 'tool_result', tool_use_id: 'c1', content: [textBlock('one'), { type: 'strange', x: 1 }] },
      textBlock('and this'),
      { type: 'tool_result', tool_use_id: 'c2' },
    ]
    const actions = actionsOf(
      conversationOf([
        prompt(),
        answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }),
        answerLine('msg_1', callBlock('c2'), { uuid: 'a2' }),
        userLine(content, { uuid: 'r1' }),
      ]),
    )
    expect(actions.at(-3)).toMatchObject({
      payload: {
        message: {
          id: 'r1',
          role: 'tool',
          parts: [
            {
              type: 'tool_result',
              content: [
                { type: 'text', text: 'one' },
                { type: 'custom', kind: 'anthropic.strange', payload: { type: 'strange', x: 1 } },
              ],
            },
            { type: 'text', text: 'and this' },
            { type: 'tool_result', callId: 'c2', content: [] },
          ],
        },
      },
    })
    expect(actions.slice(-2).map(({ type }) => type)).toEqual(['toolSucceeded', 'toolSucceeded'])
  })

  test('of the provider are answered inside the answers', () => {
    const conversation = conversationOf([
      prompt(),
      answerLine('msg_1', { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'x' } }, { uuid: 'a1' }),
      answerLine('msg_2', { type: 'web_search_tool_result', tool_use_id: 's1', content: [{ url: 'https://x' }] }, { uuid: 'a2' }),
    ])
    expect(fold(conversation).state.tools).toMatchObject({ open: [], requested: 1, succeeded: 1 })
    expect(actionsOf(conversation).at(-2)).toMatchObject({
      payload: {
        message: { parts: [{ type: 'tool_result', callId: 's1', content: [{ kind: 'anthropic.web_search_tool_result' }] }] },
      },
    })
  })
})

describe('media', () => {
  const bytes = new TextEncoder().encode('not really a picture, but bytes')
  const base64 = Buffer.from(bytes).toString('base64')
  const hash = toHex(createHash('sha256').update(bytes).digest())
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: base64 } }

  test('are kept once by hash, and nowhere inside the actions, not in raw copies either', () => {
    const conversation = conversationOf([
      prompt(),
      answerLine('msg_1', callBlock('c1', 'Read'), { uuid: 'a1' }),
      resultLine('c1', [image], { uuid: 'r1', toolUseResult: { type: 'image', file: { base64, type: 'image/png' } } }),
      { type: 'progress', uuid: 'p1', sessionId, data: { message: { content: [image] } } },
    ])
    expect(conversation.media).toEqual([{ hash, mediaType: 'image/png', bytes }])
    expect(JSON.stringify(conversation.commands)).not.toContain(base64)
    const result = actionsOf(conversation).find((action) => messageIdOf(action) === 'r1')
    expect(result).toMatchObject({
      payload: {
        message: {
          parts: [
            { content: [{ type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'hash', hash, bytes: 31 } }] },
          ],
        },
      },
      meta: { records: [{ record: { toolUseResult: { file: { base64: { $media: hash, bytes: 31 }, type: 'image/png' } } } }] },
    })
  })

  test('whose base64 is not canonical stay as they are: encoding their bytes would give another text', () => {
    const odd = { ...image, source: { ...image.source, data: 'QR==' } }
    const conversation = conversationOf([userLine([odd, textBlock('look')], { uuid: 'u1' })])
    expect(conversation.media).toEqual([])
    expect(actionsOf(conversation).at(-1)).toMatchObject({
      payload: { message: { parts: [{ type: 'custom', kind: 'anthropic.image', payload: odd }, { type: 'text' }] } },
    })
  })
})

describe('sidechains', () => {
  const task = (callId: string, text: string) => callBlock(callId, 'Task', { prompt: text, description: 'd' })
  const side = { isSidechain: true }

  test('become conversations of their own, linked to their calls by the prompt, several at once', () => {
    const file = importLines([
      prompt(),
      answerLine('msg_1', task('t1', 'Look left'), { uuid: 'a1' }),
      answerLine('msg_1', task('t2', 'Look right'), { uuid: 'a2' }),
      userLine('Look right', { uuid: 's1', ...side }),
      userLine('Look left', { uuid: 'q1', ...side }),
      answerLine('msg_2', textBlock('Right is free'), { uuid: 's2', parentUuid: 's1', ...side }),
      answerLine('msg_3', textBlock('Left is not'), { uuid: 'q2', parentUuid: 'q1', ...side, usage: usage(7) }),
      resultLine('t2', 'Right is free', { uuid: 'r2' }),
      resultLine('t1', 'Left is not', { uuid: 'r1' }),
    ])
    expect(file.conversations.map(({ conversationId }) => conversationId)).toEqual([
      sessionId,
      `${sessionId}:sidechain:s1`,
      `${sessionId}:sidechain:q1`,
    ])
    const states = file.conversations.map((conversation) => fold(conversation).state)
    expect(states.map((state) => state.lineage.parent)).toEqual([
      null,
      { relation: 'sidechain', conversationId: sessionId, messageId: 'msg_1', callId: 't2' },
      { relation: 'sidechain', conversationId: sessionId, messageId: 'msg_1', callId: 't1' },
    ])
    expect(states.map((state) => state.messages.length)).toEqual([4, 2, 2])
    expect(states.map((state) => state.usage.output)).toEqual([0, 0, 7])
    expect(states[1]?.turn).toMatchObject({ current: null, last: { turnId: 's1', outcome: 'ended' } })
    expect(states[1]?.participants.map(({ id, kind }) => [id, kind])).toEqual([
      ['parent', 'program'],
      ['claude-test-1', 'model'],
    ])
    expect(file.remarks).toEqual([])
  })

  test('with one prompt belong to the calls in their order, and one without a call is remarked on', () => {
    const file = importLines([
      prompt(),
      answerLine('msg_1', task('t1', 'Look'), { uuid: 'a1' }),
      answerLine('msg_1', task('t2', 'Look'), { uuid: 'a2' }),
      userLine('Look', { uuid: 's1', ...side }),
      userLine('Look', { uuid: 's2', ...side }),
      userLine('Look', { uuid: 's3', ...side }),
    ])
    const parents = file.conversations.slice(1).map((conversation) => fold(conversation).state.lineage.parent?.callId)
    expect(parents).toEqual(['t1', 't2', undefined])
    expect(file.remarks).toEqual([{ line: 6, remark: 'no call with the prompt of this sidechain stands before it' }])
  })

  test('are followed by the id of the agent where there is one, and by the block when a parent is lost', () => {
    const file = importLines([
      prompt(),
      userLine('A', { uuid: 's1', ...side, agentId: 'agent1' }),
      answerLine('msg_2', textBlock('a'), { uuid: 's2', parentUuid: 'elsewhere', ...side, agentId: 'agent1' }),
      userLine('B', { uuid: 's3', ...side }),
      answerLine('msg_3', textBlock('b'), { uuid: 's4', parentUuid: 'lost', ...side }),
    ])
    expect(file.conversations.map(({ conversationId, commands }) => [conversationId, commands.length])).toEqual([
      [sessionId, 2],
      [`${sessionId}:sidechain:agent1`, 4],
      [`${sessionId}:sidechain:s3`, 4],
    ])
  })
})

describe('a compaction', () => {
  const boundary = systemLine('compact_boundary', { uuid: 'b1', compactMetadata: { trigger: 'auto', preTokens: 155_250 } })
  const summary = userLine('What was said.', {
    uuid: 'sum',
    parentUuid: 'b1',
    isCompactSummary: true,
    isVisibleInTranscriptOnly: true,
  })
  const before = [prompt(), answerLine('msg_1', textBlock('Hi there.'), { uuid: 'a1' })]

  test('is one action that covers the whole working set by id and by position', () => {
    const lines = [...before, boundary, summary, prompt('u2', 'On with it.')]
    const conversation = conversationOf(lines)
    const actions = actionsOf(conversation)
    const positions = ['u1', 'msg_1'].map((id) => actions.findIndex((action) => messageIdOf(action) === id) + 1)
    const [compacted] = actions.filter(({ type }) => type === 'contextCompacted')
    expect(compacted?.payload).toEqual({
      covered: { messageIds: ['u1', 'msg_1'], ranges: positions.map((at) => [at, at]), tokens: 5 },
      summary: {
        message: {
          v: 1,
          id: 'sum',
          role: 'user',
          parts: [{ type: 'compaction', content: 'What was said.' }],
          createdAt: timeOf(0),
          meta: { kind: 'compact_summary' },
        },
        tokenCount: 4,
      },
      strategy: 'claude-code',
      trigger: 'imported',
      before: { messages: 2, tokens: 5 },
      after: { messages: 1, tokens: 4 },
    })
    expect(compacted?.derivedFrom).toEqual(positions.map((at) => [at, at]))
    expect(compacted?.meta).toMatchObject({
      records: [{ line: 3, record: { compactMetadata: { trigger: 'auto' } } }, { line: 4 }],
    })
    const { state, unappliedCount } = fold(conversation)
    expect(unappliedCount).toBe(0)
    expect([...state.messages].map(({ id }) => id)).toEqual(['sum', 'u2'])
    expect(state.context).toMatchObject({ usedTokens: 7, compactions: 1 })
    expect(state.turn.last).toEqual({ turnId: 'u1', outcome: 'ended' })
  })

  test('that follows another covers its summary', () => {
    const again = [
      { ...boundary, uuid: 'b2' },
      { ...summary, uuid: 'sum2', parentUuid: 'b2' },
    ]
    const conversation = conversationOf([...before, boundary, summary, prompt('u2'), ...again])
    const compacted = actionsOf(conversation).filter(contextCompacted.match)
    expect(compacted.map(({ payload }) => payload.covered.messageIds)).toEqual([
      ['u1', 'msg_1'],
      ['sum', 'u2'],
    ])
    expect([...fold(conversation).state.messages].map(({ id }) => id)).toEqual(['sum2'])
  })

  test('without a summary takes the messages out', () => {
    const { state } = fold(conversationOf([...before, boundary, prompt('u2')]))
    expect([...state.messages].map(({ id }) => id)).toEqual(['u2'])
  })

  test('at the beginning of a file is the summary of another one, as a message', () => {
    expect(told([boundary, summary, prompt()]).slice(0, 1)).toMatchObject([
      ['messageAdded', { message: { id: 'sum', parts: [{ type: 'compaction' }] } }],
    ])
    expect(told([boundary, prompt()]).slice(0, 1)).toMatchObject([
      ['foreignRecordKept', { recordType: 'system/compact_boundary', reason: 'a compaction with nothing before it in the file' }],
    ])
  })
})

describe('turns', () => {
  const turns = (lines: readonly (SessionLine | string)[]) =>
    told(lines).flatMap(([type, payload]) => (type.startsWith('turn') ? [[type, payload]] : []))

  test('end at the last answer that calls no tool', () => {
    const lines = [
      prompt('u1'),
      answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }),
      resultLine('c1', 'x', { uuid: 'r1' }),
      answerLine('msg_2', textBlock('Done.'), { uuid: 'a2' }),
      systemLine('turn_duration', { uuid: 'd1' }),
      prompt('u2'),
    ]
    expect(turns(lines)).toEqual([
      ['turnStarted', { turnId: 'u1' }],
      ['turnEnded', { turnId: 'u1' }],
      ['turnStarted', { turnId: 'u2' }],
    ])
    const ids = conversationOf(lines).commands.map(({ commandId }) => commandId)
    expect(ids.indexOf('claude-code:turn-ended:u1')).toBe(ids.indexOf('claude-code:message:msg_2') + 1)
  })

  test.each([
    [
      'a message of its own',
      userLine([textBlock('[Request interrupted by user]')], { uuid: 'i1' }),
      '[Request interrupted by user]',
    ],
    [
      'a string',
      userLine('[Request interrupted by user for tool use]', { uuid: 'i1' }),
      '[Request interrupted by user for tool use]',
    ],
    [
      'text beside a result',
      userLine([{ type: 'tool_result', tool_use_id: 'c1', content: 'x' }, textBlock('[Request interrupted by user]')], {
        uuid: 'i1',
      }),
      '[Request interrupted by user]',
    ],
  ])('are interrupted by %s', (_, interruption, reason) => {
    const lines = [prompt('u1'), answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }), interruption, prompt('u2')]
    expect(turns(lines)).toEqual([
      ['turnStarted', { turnId: 'u1' }],
      ['turnInterrupted', { turnId: 'u1', reason }],
      ['turnStarted', { turnId: 'u2' }],
    ])
  })

  test('are interrupted by a prompt that says so, which begins the next', () => {
    const both = userLine([textBlock('[Request interrupted by user]'), textBlock('Do this instead')], { uuid: 'u2' })
    expect(turns([prompt('u1'), answerLine('msg_1', textBlock('I will'), { uuid: 'a1' }), both])).toEqual([
      ['turnStarted', { turnId: 'u1' }],
      ['turnInterrupted', { turnId: 'u1', reason: '[Request interrupted by user]' }],
      ['turnStarted', { turnId: 'u2' }],
    ])
  })

  test('are interrupted by the next prompt when no final answer came', () => {
    expect(turns([prompt('u1'), answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }), prompt('u2')])).toEqual([
      ['turnStarted', { turnId: 'u1' }],
      ['turnInterrupted', { turnId: 'u1', reason: 'the next prompt came before a final answer' }],
      ['turnStarted', { turnId: 'u2' }],
    ])
  })

  test('are not begun by hook text, commands of the program and their output', () => {
    const lines = [
      userLine('Caveat: ...', { uuid: 'm1', isMeta: true }),
      userLine('<command-name>/clear</command-name>\n<command-message>clear</command-message>', { uuid: 'm2' }),
      userLine('<local-command-stdout></local-command-stdout>', { uuid: 'm3' }),
      userLine('<bash-input>ls</bash-input>', { uuid: 'm4' }),
    ]
    expect(turns(lines)).toEqual([])
    expect(told(lines).map(([, payload]) => (payload as { message: { meta: Json } }).message.meta)).toEqual([
      { kind: 'context' },
      { kind: 'local_command' },
      { kind: 'local_command' },
      { kind: 'local_command' },
    ])
    const slash = userLine('<command-message>review is running</command-message>\n<command-name>/review</command-name>', {
      uuid: 'u1',
    })
    expect(turns([slash])).toEqual([['turnStarted', { turnId: 'u1' }]])
  })

  test('that the API failed are interrupted, and their error is recorded', () => {
    const lines = [
      prompt('u1'),
      answerLine('synthetic-1', textBlock('API Error: 500'), {
        uuid: 'a1',
        model: '<synthetic>',
        isApiErrorMessage: true,
        usage: usage(0),
      }),
    ]
    expect(told(lines).slice(2)).toMatchObject([
      ['messageAdded', { message: { author: { name: 'Claude Code' }, meta: { kind: 'synthetic' } } }],
      ['errorRecorded', { kind: 'api_error', problem: 'API Error: 500' }],
      ['turnInterrupted', { turnId: 'u1', reason: 'the API failed' }],
    ])
  })

  test('are not ended by what is put in to resume a session', () => {
    const filler = answerLine('synthetic-1', textBlock('No response requested.'), {
      uuid: 'a1',
      model: '<synthetic>',
      usage: usage(0),
    })
    expect(typesOf([prompt('u1'), filler])).toEqual(['turnStarted', 'messageAdded', 'messageAdded'])
  })
})

describe('other records', () => {
  test('an API error tells what is known of it', () => {
    const nested = { status: 529, error: { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } } }
    const retry = { retryInMs: 534.7, retryAttempt: 1, maxRetries: 10 }
    expect(
      told([
        systemLine('api_error', { uuid: 'e1', error: {}, ...retry }),
        systemLine('api_error', { uuid: 'e2', error: nested, ...retry, retryAttempt: 11 }),
      ]),
    ).toEqual([
      [
        'errorRecorded',
        {
          kind: 'api_error',
          problem: 'the call to the API failed; the record does not say why',
          retryable: true,
          retryInMs: 534.7,
          attempt: 1,
          details: {},
        },
      ],
      [
        'errorRecorded',
        { kind: 'api_error', problem: 'Overloaded', retryable: false, retryInMs: 534.7, attempt: 11, details: nested },
      ],
    ])
  })

  test('a summary is the title when its leaf is in the file, and another session’s when not', () => {
    expect(
      told([
        { type: 'summary', summary: 'Mine', leafUuid: 'u1' },
        prompt(),
        { type: 'summary', summary: 'Not mine', leafUuid: 'elsewhere' },
      ]),
    ).toMatchObject([
      ['conversationTitled', { title: 'Mine' }],
      ['turnStarted', {}],
      ['messageAdded', {}],
      ['foreignRecordKept', { recordType: 'summary', line: 3, record: { summary: 'Not mine' } }],
    ])
  })

  test.each([
    ['file-history-snapshot', { type: 'file-history-snapshot', messageId: 'm', snapshot: { trackedFileBackups: {} } }],
    ['queue-operation', { type: 'queue-operation', operation: 'enqueue', sessionId }],
    ['system/stop_hook_summary', systemLine('stop_hook_summary', { uuid: 'h1', hookCount: 1 })],
    ['from-the-future', { type: 'from-the-future', anything: [1, { b: null }] }],
    ['user', { type: 'user', uuid: 'x', sessionId, message: { role: 'user', content: 42 } }],
    ['unknown', { no: 'type' }],
  ])('%s is kept raw', (recordType, record) => {
    const kept = told([prompt(), record]).at(-1)
    expect(kept).toEqual([
      'foreignRecordKept',
      { format: 'claude-code', recordType, line: 2, reason: expect.any(String), record },
    ])
  })

  test('records without a time happened when the one before them did', () => {
    const { commands } = conversationOf([
      { type: 'summary', summary: 's', leafUuid: 'x' },
      prompt('u1', 'Hello', 5),
      { type: 'queue-operation', sessionId },
    ])
    expect(commands.map(({ occurredAt }) => occurredAt)).toEqual([timeOf(5), timeOf(5), timeOf(5), timeOf(5)])
  })

  test('place, branch and version are metadata whenever they change, models are participants', () => {
    const at = (cwd: string, gitBranch: string) => ({ cwd, gitBranch, version: '1' })
    const conversation = conversationOf([
      userLine('a', { uuid: 'u1', ...at('/a', 'main') }),
      answerLine('msg_1', textBlock('b'), { uuid: 'a1', ...at('/a', 'topic') }),
      answerLine('msg_2', textBlock('c'), { uuid: 'a2', model: 'claude-test-2', ...at('/b', 'topic') }),
    ])
    const changes = actionsOf(conversation).filter(({ type }) => type === 'metadataChanged')
    expect(changes.map(({ payload }) => payload)).toEqual([
      { set: { cwd: '/a', gitBranch: 'main', claudeCodeVersion: '1' } },
      { set: { gitBranch: 'topic' } },
      { set: { cwd: '/b' } },
    ])
    expect(fold(conversation).state.participants.map(({ id }) => id)).toEqual(['user', 'claude-test-2'])
  })

  test('a number that JSON here would change leaves the message whole and is kept as text beside it', () => {
    const file = importLines([
      prompt(),
      answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }),
      JSON.stringify(resultLine('c1', 'ok', { uuid: 'r1', toolUseResult: { id: 0 } })).replace(
        '{"id":0}',
        '{"id":9007199254740993}',
      ),
    ])
    expect(file.remarks).toEqual([
      { line: 3, remark: '$.toolUseResult.id holds the number 9007199254740993, which JSON here would change: kept as text' },
    ])
    expect(actionsOf(file.conversations[0]).slice(-2)).toMatchObject([
      { type: 'messageAdded', meta: { records: [{ record: { toolUseResult: { $text: '{"id":9007199254740993}' } } }] } },
      { type: 'toolSucceeded' },
    ])
  })

  test('a message that holds such a number is kept raw as a whole', () => {
    const line = JSON.stringify(answerLine('msg_1', callBlock('c1', 'Post', { id: 0 }), { uuid: 'a1' })).replace(
      '"id":0',
      '"id":1e400',
    )
    expect(told([prompt(), line]).at(-1)).toMatchObject([
      'foreignRecordKept',
      { recordType: 'assistant', record: { uuid: 'a1', message: { $text: expect.stringContaining('"id":1e400') } } },
    ])
  })
})

describe('a damaged file', () => {
  const cut = '{"type":"user","uuid":"u2","mess'
  const end = answerLine('msg_1', textBlock('Hi.'), { uuid: 'a1' })

  test.each([
    ['that is empty', '', 1],
    ['of garbage', 'Lorem ipsum dolor\nsit amet', 1],
    ['of JSON that is no session', '{"role":"user","content":"hi"}', 1],
    ['that is one cut line', cut, 1],
  ])('%s is refused', (_, content, line) => {
    expect(() => importClaudeCode({ source: 'session.jsonl', content, sha256 })).toThrow(refusal(line))
  })

  test('whose last line is cut is refused with the next step, unless that is allowed', () => {
    expect(() => importLines([prompt(), cut])).toThrow(refusal(2, expect.stringContaining('--allow-truncated')))
    const file = importLines([prompt(), end, cut], { allowTruncated: true })
    expect(file.skipped).toEqual([
      { line: 3, recordType: 'cut line', reason: 'the JSON does not end: the file was cut here, or is still being written' },
    ])
    expect(file.records).toBe(3)
    expect(file.conversations).toEqual(importLines([prompt(), end]).conversations)
  })

  test('with a bad line in the middle is refused, unless bad lines are kept as text', () => {
    expect(() => importLines([prompt(), cut, end], { allowTruncated: true })).toThrow(refusal(2))
    const file = importLines([prompt(), cut, end], { keepBadLines: true })
    expect(actionsOf(file.conversations[0]).filter(({ type }) => type === 'foreignRecordKept')).toMatchObject([
      { payload: { recordType: 'unreadable', line: 2, reason: 'the JSON does not end: kept as text', record: cut } },
    ])
  })

  test('with a record too large for an envelope is refused with its line', () => {
    const huge = resultLine('c1', 'x'.repeat(1_048_577), { uuid: 'r1' })
    expect(() => importLines([prompt(), answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }), huge])).toThrow(
      refusal(3, expect.stringContaining('1048576')),
    )
  })
})

describe('a record whose raw copy is larger than an envelope', () => {
  const long = 'line of a file\n'.repeat(90_000)
  const lines = [
    prompt(),
    answerLine('msg_1', callBlock('c1', 'Edit'), { uuid: 'a1' }),
    { ...resultLine('c1', 'edited', { uuid: 'r1' }), toolUseResult: { filePath: 'a.ts', originalFile: long } },
    { type: 'file-history-snapshot', messageId: 'm', snapshot: { content: long, other: 'short' } },
  ]
  const mark = { $media: expect.any(String), bytes: long.length, isText: true }

  test('is stored with its long texts as a file, once, and everything else as it is', () => {
    const conversation = conversationOf(lines)
    const { meta } =
      actionsOf(conversation).find(({ payload }) => (payload as { message?: Message }).message?.role === 'tool') ?? {}
    expect(meta).toMatchObject({ records: [{ line: 3, record: { toolUseResult: { filePath: 'a.ts', originalFile: mark } } }] })
    expect(payloadsOf(conversation, 'foreignRecordKept')).toMatchObject([
      { record: { snapshot: { content: mark, other: 'short' } } },
    ])
    const [file, ...others] = conversation.media
    expect([others.length, file?.mediaType]).toEqual([0, 'text/plain'])
    expect(Buffer.from(file?.bytes ?? []).toString() === long).toBe(true)
    expect(JSON.stringify(meta)).toContain(file?.hash)
    expect(conversationOf(lines).commands).toEqual(conversation.commands)
  })

  test('is stored as it was wherever an envelope takes it', () => {
    const [conversation] = importLines(lines, { envelopeBytes: 2 ** 22 }).conversations
    expect(conversation?.media).toEqual([])
    expect(JSON.stringify(actionsOf(conversation))).toContain(JSON.stringify(long))
  })
})

describe('importing again', () => {
  const growing = [
    prompt('u1'),
    answerLine('msg_1', callBlock('c1'), { uuid: 'a1' }),
    resultLine('c1', 'x', { uuid: 'r1' }),
    answerLine('msg_2', textBlock('Done.'), { uuid: 'a2' }),
    { type: 'file-history-snapshot', messageId: 'm', snapshot: {} },
    systemLine('turn_duration', { uuid: 'd1' }),
    prompt('u2'),
    answerLine('msg_3', textBlock('Done again.'), { uuid: 'a3' }),
  ]

  test('gives the same commands', () => {
    expect(conversationOf(growing)).toEqual(conversationOf(growing))
  })

  test('a file that has grown gives the commands it gave before, and then more', () => {
    const all = conversationOf(growing).commands
    for (let length = 1; length <= growing.length; length++) {
      const before = conversationOf(growing.slice(0, length)).commands
      expect(all.slice(0, before.length)).toEqual(before)
    }
  })

  test('a file that was imported in the middle of an answer gives that answer’s command another content', () => {
    const longer = [...growing, answerLine('msg_3', callBlock('c9'), { uuid: 'a4' })]
    const commandOf = (lines: SessionLine[]) =>
      conversationOf(lines).commands.find(({ commandId }) => commandId === 'claude-code:message:msg_3')
    expect(commandOf(longer)?.actions).not.toEqual(commandOf(growing)?.actions)
  })

  test('as one JSON list gives what its lines gave', () => {
    const content = JSON.stringify(growing, null, 1)
    expect(importClaudeCode({ source: 'session.json', content, sha256 })).toEqual(importLines(growing))
    const odd = content.replace('"snapshot": {}', '"snapshot": { "size": 12345678901234567890 }')
    expect(importClaudeCode({ source: 'session.json', content: odd, sha256 }).remarks).toEqual([
      {
        line: 5,
        remark: '$[4].snapshot.size holds the number 12345678901234567890, which JSON here would change: kept as text',
      },
    ])
  })

  test('two records without uuid on one line have ids of their own', () => {
    const record = JSON.stringify({ type: 'queue-operation', sessionId })
    const ids = conversationOf([prompt(), record + record]).commands.map(({ commandId }) => commandId)
    expect(ids.slice(-2)).toEqual(['claude-code:line:2', 'claude-code:line:2.2'])
  })

  test('a session can be given another id', () => {
    const side = userLine('x', { uuid: 's1', isSidechain: true })
    const file = importLines([prompt(), side], { conversationId: 'mine' })
    expect(file.conversations.map(({ conversationId }) => conversationId)).toEqual(['mine', 'mine:sidechain:s1'])
  })
})
