import { describe, expect, test } from 'vitest'
import {
  changedByGrowth,
  commandIdsOf,
  importLines,
  importValue,
  messagesIn,
  payloadsOf,
  recordsOf,
  refusal,
  stateOf,
  told,
  typesOf,
} from '../../../../test/formats/told.ts'

const session = { session_id: 'run-1' }
const init = (fields: object = {}) => ({
  type: 'system',
  subtype: 'init',
  ...session,
  cwd: '/work',
  model: 'claude-test-1',
  tools: ['Bash'],
  ...fields,
})
const text = (words: string) => ({ type: 'text', text: words })
const call = (id: string, input: object = { command: 'ls' }, name = 'Bash') => ({ type: 'tool_use', id, name, input })
const answer = (id: string, block: unknown, fields: object = {}, message: object = {}) => ({
  type: 'assistant',
  ...session,
  message: { id, role: 'assistant', model: 'claude-test-1', content: [block], stop_reason: null, ...message },
  ...fields,
})
const user = (content: unknown, fields: object = {}) => ({
  type: 'user',
  ...session,
  message: { role: 'user', content },
  ...fields,
})
const result = (id: string, content: unknown, fields: object = {}) =>
  user([{ type: 'tool_result', tool_use_id: id, content, is_error: false }], fields)
const done = (fields: object = {}) => ({
  type: 'result',
  subtype: 'success',
  ...session,
  is_error: false,
  result: 'Done.',
  ...fields,
})

const run = [
  init(),
  answer('msg_1', text('Look.'), {}, { usage: { input_tokens: 3, output_tokens: 1 } }),
  answer('msg_1', call('c1'), {}, { usage: { input_tokens: 3, output_tokens: 9 }, stop_reason: 'tool_use' }),
  result('c1', 'a.ts'),
  answer('msg_2', text('Done.'), {}, { stop_reason: 'end_turn' }),
  done({ total_cost_usd: 0.25, duration_ms: 1200, num_turns: 2 }),
]

test('a run becomes these actions and nothing else, whether it is a list or lines', () => {
  const file = importLines(run)
  expect(importValue(run)).toEqual(file)
  expect(file).toMatchObject({ format: 'claude-code-sdk', records: 6, skipped: [], remarks: [] })
  expect(file.conversations[0]?.conversationId).toBe('run-1')
  expect(commandIdsOf(file)).toEqual([
    'claude-code-sdk:started',
    'claude-code-sdk:line:1',
    'claude-code-sdk:msg_1',
    'claude-code-sdk:line:4',
    'claude-code-sdk:msg_2',
    'claude-code-sdk:line:6',
  ])
  expect(told(file)).toMatchObject([
    ['metadataChanged', { set: { cwd: '/work', model: 'claude-test-1' } }],
    ['turnStarted', { turnId: 'line:1' }],
    [
      'messageAdded',
      {
        message: {
          id: 'msg_1',
          role: 'assistant',
          author: { id: 'claude-test-1' },
          model: {
            provider: 'anthropic',
            api: 'messages',
            id: 'claude-test-1',
            stop: { unified: 'tool_calls', raw: 'tool_use' },
          },
          parts: [text('Look.'), { type: 'tool_call', callId: 'c1', args: { json: { command: 'ls' } } }],
        },
      },
    ],
    ['toolRequested', { messageId: 'msg_1', callId: 'c1', name: 'Bash' }],
    ['usageRecorded', { usage: { input: 3, output: 9 }, messageId: 'msg_1' }],
    [
      'messageAdded',
      { message: { role: 'tool', parts: [{ callId: 'c1', callMessageId: 'msg_1', status: 'ok', content: [text('a.ts')] }] } },
    ],
    ['toolSucceeded', { messageId: 'msg_1', callId: 'c1', resultMessageId: 'line:4' }],
    ['messageAdded', { message: { id: 'msg_2', model: { stop: { unified: 'end' } } } }],
    ['metadataChanged', { set: { totalCostUsd: 0.25, durationMs: 1200, modelCalls: 2 } }],
    ['turnEnded', { turnId: 'line:1' }],
  ])
  expect(recordsOf(file, 'metadataChanged')).toEqual([{ line: 1, record: init() }])
})

test('records with uuid and time are known by them', () => {
  const file = importLines([init({ uuid: 'u1', timestamp: '2026-03-01T09:00:00.000Z' })])
  expect(file.conversations[0]?.commands[1]).toMatchObject({
    commandId: 'claude-code-sdk:u1',
    occurredAt: Date.UTC(2026, 2, 1, 9) * 1000,
  })
})

test('results say that they failed, were refused, or stopped', () => {
  const refused = "The user doesn't want to proceed with this tool use."
  const file = importLines([
    init(),
    ...['c1', 'c2', 'c3'].map((id) => answer('msg_1', call(id))),
    result('c1', 'no such file', {
      message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c1', content: 'no such file', is_error: true }] },
    }),
    user([{ type: 'tool_result', tool_use_id: 'c2', content: refused, is_error: true }]),
    result('c3', 'partly', { tool_use_result: { interrupted: true, durationMs: 30 } }),
  ])
  expect(told(file).filter(([type]) => /^tool(Failed|Cancelled)$/.test(type))).toMatchObject([
    ['toolFailed', { callId: 'c1', kind: 'error', problem: 'no such file' }],
    ['toolFailed', { callId: 'c2', kind: 'denied' }],
    ['toolCancelled', { callId: 'c3', durationMs: 30 }],
  ])
})

test('a run that failed is an error and an interrupted turn', () => {
  const file = importLines([init(), done({ subtype: 'error_max_turns', is_error: true })])
  expect(told(file).slice(-2)).toEqual([
    ['errorRecorded', { kind: 'run_failed', problem: 'error_max_turns' }],
    ['turnInterrupted', { turnId: 'line:1', reason: 'error_max_turns' }],
  ])
})

test('a sub-agent becomes a conversation of its own, linked by the call that began it', () => {
  const side = { parent_tool_use_id: 't1' }
  const file = importLines([
    init(),
    answer('msg_1', call('t1', { prompt: 'Look' }, 'Task')),
    user('Look', side),
    answer('msg_2', text('Seen.'), side),
    result('t1', 'Seen.'),
    done(),
  ])
  expect(file.conversations.map(({ conversationId }) => conversationId)).toEqual(['run-1', 'run-1:sidechain:t1'])
  expect(stateOf(file, 1).lineage.parent).toEqual({
    relation: 'sidechain',
    conversationId: 'run-1',
    messageId: 'msg_1',
    callId: 't1',
  })
  expect(messagesIn(file, 1)).toMatchObject([{ role: 'user', author: { id: 'parent' } }, { id: 'msg_2' }])
  expect(stateOf(file, 1).turn).toMatchObject({ current: null, last: { outcome: 'ended' } })
  expect(stateOf(file).tools.open).toEqual([])
})

test('two sessions in one file are two conversations; a record without an id belongs to the one before it', () => {
  const { session_id: _, ...nameless } = result('c1', 'x')
  const file = importLines([init(), answer('msg_1', call('c1')), nameless, { ...init(), session_id: 'run-2' }])
  expect(file.conversations.map(({ conversationId, commands }) => [conversationId, commands.length])).toEqual([
    ['run-1', 4],
    ['run-2', 2],
  ])
})

describe('pieces of an answer', () => {
  const piece = (event: object) => ({ type: 'stream_event', ...session, event })
  const begin = piece({ type: 'message_start', message: { id: 'msg_1' } })
  const delta = piece({ type: 'content_block_delta', delta: text('Hi') })

  test('are skipped when the answer stands whole', () => {
    const file = importLines([init(), begin, delta, answer('msg_1', text('Hi.'))])
    expect(file.skipped).toMatchObject([
      { line: 2, recordType: 'stream_event', reason: 'a piece of the answer msg_1, which stands whole' },
      { line: 3 },
    ])
  })

  test('are kept raw when it does not', () => {
    expect(payloadsOf(importLines([init(), begin, delta]), 'foreignRecordKept')).toMatchObject([
      { line: 2 },
      { line: 3, recordType: 'stream_event' },
    ])
  })
})

describe('a compaction', () => {
  const boundary = {
    type: 'system',
    subtype: 'compact_boundary',
    ...session,
    compact_metadata: { trigger: 'auto', pre_tokens: 9 },
  }

  test('covers everything before it by the summary that follows', () => {
    const file = importLines([...run, boundary, user('What was said.', { isSynthetic: true }), init()])
    expect(payloadsOf(file, 'contextCompacted')).toMatchObject([
      {
        covered: { messageIds: ['msg_1', 'line:4', 'msg_2'] },
        summary: { message: { parts: [{ type: 'compaction', content: 'What was said.' }] } },
      },
    ])
    expect(stateOf(file).messages.length).toBe(1)
  })

  test('without a summary leaves nothing, and with nothing before it is kept raw', () => {
    expect(stateOf(importLines([...run, boundary, user('Next')])).messages.length).toBe(1)
    expect(typesOf(importLines([init(), boundary])).at(-1)).toBe('foreignRecordKept')
  })
})

test('what the program writes in the model’s place is said by nobody', () => {
  const file = importLines([init(), answer('x', text('API Error'), {}, { model: '<synthetic>', usage: { output_tokens: 0 } })])
  expect(messagesIn(file)).toMatchObject([{ author: { name: 'Claude Code' }, meta: { kind: 'synthetic' } }])
  expect(payloadsOf(file, 'usageRecorded')).toEqual([])
})

test.each([
  ['a status', { type: 'system', subtype: 'status', ...session, status: 'compacting' }, 'system/status', 'a note of the program'],
  [
    'a message without content',
    { type: 'user', ...session, message: {} },
    'user',
    'a message without content that could be read',
  ],
  ['a value that is no record', [1], 'unknown', 'a note of the program'],
])('%s is kept raw', (_, record, recordType, reason) => {
  expect(told(importLines([init(), record])).at(-1)).toEqual([
    'foreignRecordKept',
    { format: 'claude-code-sdk', recordType, line: 2, reason, record },
  ])
})

test('a line that is no JSON is refused with its number', () => {
  expect(() => importLines([init(), '{"type":', done()])).toThrow(refusal(2))
})

test('a stream that has grown gives the commands it gave before, and then more', () => {
  expect(
    changedByGrowth([
      init(),
      answer('msg_1', call('c1')),
      result('c1', 'x'),
      answer('msg_2', text('Done.')),
      done(),
      init(),
      answer('msg_3', text('More.')),
    ]),
  ).toEqual([])
})
