import { describe, expect, test } from 'vitest'
import {
  changedByGrowth,
  commandIdsOf,
  importLines,
  messagesIn,
  payloadsOf,
  recordsOf,
  refusal,
  stateOf,
  told,
  typesOf,
} from '../../../../../test/formats/told.ts'

const second = (at: number) => new Date(Date.UTC(2026, 2, 1, 9, 0, at))
const timeOf = (at: number): number => second(at).getTime() * 1000
const line = (type: string, payload: object, at = 0) => ({ timestamp: second(at).toISOString(), type, payload })
const item = (type: string, fields: object, at = 0) => line('response_item', { type, ...fields }, at)
const event = (type: string, fields: object = {}, at = 0) => line('event_msg', { type, ...fields }, at)

const instructions = 'You are a coding agent, and these are your instructions.'
const meta = line('session_meta', {
  id: 'rollout-1',
  cwd: '/work',
  originator: 'codex_exec',
  cli_version: '0.104.0',
  model_provider: 'openai',
  base_instructions: { text: instructions },
  git: { commit_hash: 'abc', branch: 'main', repository_url: 'https://example.org/r' },
})
const context = (fields: object = {}) =>
  line('turn_context', {
    turn_id: 't1',
    cwd: '/work',
    approval_policy: 'never',
    sandbox_policy: { type: 'read-only' },
    model: 'gpt-test',
    effort: 'low',
    ...fields,
  })
const says = (role: string, text: string, at = 0) =>
  item('message', { role, content: [{ type: role === 'assistant' ? 'output_text' : 'input_text', text }] }, at)
const prompt = (text: string, at = 1) => [says('user', text, at), event('user_message', { message: text, images: [] }, at)]
const started = (turnId = 't1') => event('task_started', { turn_id: turnId, model_context_window: 258_400 })
const complete = (turnId = 't1') => event('task_complete', { turn_id: turnId, last_agent_message: 'Done.' })
const reasoning = (summary: string, encrypted = 'b3BhcXVl') =>
  item('reasoning', { summary: [{ type: 'summary_text', text: summary }], content: null, encrypted_content: encrypted })
const call = (callId: string, args = '{"cmd":"ls"}', name = 'exec_command') =>
  item('function_call', { name, arguments: args, call_id: callId }, 2)
const output = (callId: string, text: unknown, at = 3) => item('function_call_output', { call_id: callId, output: text }, at)
const tokens = (total: number, last = total, at = 3) => {
  const counts = (input: number) => ({
    input_tokens: input,
    cached_input_tokens: 10,
    output_tokens: 5,
    reasoning_output_tokens: 2,
    total_tokens: input + 5,
  })
  return event('token_count', { info: { total_token_usage: counts(total), last_token_usage: counts(last) }, rate_limits: {} }, at)
}

test('a plain turn becomes these actions and nothing else', () => {
  const file = importLines([
    meta,
    says('developer', 'Rules'),
    started(),
    ...prompt('Hello'),
    context(),
    event('agent_reasoning', { text: 'Greet' }),
    reasoning('Greet'),
    event('agent_message', { message: 'Hi.' }),
    item('message', { role: 'assistant', content: [{ type: 'output_text', text: 'Hi.' }], phase: 'final_answer' }, 2),
    tokens(100),
    complete(),
  ])
  expect(file).toMatchObject({ format: 'codex', records: 12, remarks: [] })
  expect(file.skipped).toEqual([
    { line: 5, recordType: 'event_msg/user_message', reason: 'the message of line 4 again, for the screen' },
    { line: 7, recordType: 'event_msg/agent_reasoning', reason: 'the reasoning of line 8 again, for the screen' },
    { line: 9, recordType: 'event_msg/agent_message', reason: 'the answer of line 10 again, for the screen' },
  ])
  expect(file.conversations[0]?.conversationId).toBe('rollout-1')
  expect(commandIdsOf(file)).toEqual([
    'codex:started',
    'codex:line:1',
    'codex:base-instructions',
    'codex:line:2',
    'codex:line:3',
    'codex:line:4',
    'codex:line:6',
    'codex:line:8',
    'codex:line:11',
    'codex:line:12',
  ])
  expect(told(file)).toMatchObject([
    [
      'metadataChanged',
      { set: { cwd: '/work', gitBranch: 'main', gitCommit: 'abc', codexVersion: '0.104.0', originator: 'codex_exec' } },
    ],
    ['messageAdded', { message: { id: 'base-instructions', role: 'system', parts: [{ type: 'text', text: instructions }] } }],
    ['messageAdded', { message: { role: 'developer', meta: { kind: 'context' } } }],
    ['turnStarted', { turnId: 't1' }],
    ['metadataChanged', { set: { contextWindow: 258_400 } }],
    ['messageAdded', { message: { role: 'user', author: { id: 'user' }, meta: { kind: 'prompt' }, createdAt: timeOf(1) } }],
    ['metadataChanged', { set: { model: 'gpt-test', effort: 'low', approvalPolicy: 'never', sandbox: 'read-only' } }],
    [
      'messageAdded',
      {
        message: {
          id: 'line:8',
          role: 'assistant',
          author: { id: 'gpt-test' },
          model: { provider: 'openai', api: 'responses', id: 'gpt-test' },
          parts: [
            {
              type: 'reasoning',
              summary: ['Greet'],
              encrypted: 'b3BhcXVl',
              redacted: false,
              origin: { provider: 'openai', api: 'responses' },
            },
            { type: 'text', text: 'Hi.', providerMetadata: { phase: 'final_answer' } },
          ],
        },
      },
    ],
    [
      'usageRecorded',
      {
        usage: { input: 90, output: 5, cacheRead: 10, reasoning: 2 },
        messageId: 'line:8',
        model: { provider: 'openai', id: 'gpt-test' },
      },
    ],
    ['turnEnded', { turnId: 't1' }],
  ])
})

test('what a record repeats of a message is a pointer, the rest is kept', () => {
  const file = importLines([meta])
  const [kept] = recordsOf(file, 'metadataChanged')
  expect(kept?.record.payload).toEqual({
    ...meta.payload,
    base_instructions: { text: { $message: 'base-instructions/parts/0/text' } },
  })
})

describe('the items of an answer', () => {
  test('become one message, calls of one batch are answered in any order, and the next count ends it', () => {
    const file = importLines([
      meta,
      context(),
      reasoning('Look'),
      call('a'),
      call('b'),
      tokens(50),
      output('b', 'two'),
      output('a', 'one'),
      call('c'),
    ])
    expect(messagesIn(file).map(({ id, role }) => [id, role])).toEqual([
      ['base-instructions', 'system'],
      ['line:3', 'assistant'],
      ['line:7', 'tool'],
      ['line:8', 'tool'],
      ['line:9', 'assistant'],
    ])
    expect(messagesIn(file)[1]?.parts).toMatchObject([
      { type: 'reasoning' },
      {
        type: 'tool_call',
        callId: 'a',
        name: 'exec_command',
        batchId: 'line:3',
        args: { raw: '{"cmd":"ls"}', json: { cmd: 'ls' }, valid: true },
      },
      { type: 'tool_call', callId: 'b', batchId: 'line:3' },
    ])
    expect(stateOf(file).tools).toMatchObject({ requested: 3, succeeded: 2, open: [{ callId: 'c' }] })
  })

  test('of a tool that takes text hold the text', () => {
    const patch = '*** Begin Patch'
    const file = importLines([
      meta,
      item('custom_tool_call', { status: 'completed', call_id: 'p', name: 'apply_patch', input: patch }),
      item('custom_tool_call_output', { call_id: 'p', output: 'ok' }),
    ])
    expect(messagesIn(file)[1]?.parts).toMatchObject([{ type: 'tool_call', name: 'apply_patch', args: { raw: patch } }])
    expect(stateOf(file).tools).toMatchObject({ succeeded: 1, open: [] })
  })

  test('of the provider’s own tools have no result in the file, and are ended by what they say', () => {
    const file = importLines([
      meta,
      item('web_search_call', { status: 'completed' }),
      item('web_search_call', { status: 'failed' }),
      says('assistant', 'x'),
    ])
    expect(stateOf(file).tools).toMatchObject({ requested: 2, succeeded: 1, failed: 1, open: [] })
    expect(messagesIn(file)).toHaveLength(2)
  })
})

test.each([
  ['text', 'fine', 'ok', {}],
  ['an exit code', 'Exit code: 2\nWall time: 0.5 seconds\nOutput:\nno', 'error', { durationMs: 500 }],
  [
    'an exit code in other words',
    'Chunk ID: 1\nWall time: 1.25 seconds\nProcess exited with code 0\nOutput:\nyes',
    'ok',
    { durationMs: 1250 },
  ],
  ['JSON with metadata', '{"output":"no","metadata":{"exit_code":1,"duration_seconds":0.25}}', 'error', { durationMs: 250 }],
  ['an interruption', 'aborted by user after 5.0s', 'interrupted', {}],
  ['a refusal', 'exec command rejected by user', 'denied', {}],
  ['content that failed', { content: 'no', success: false }, 'error', {}],
])('a result that is %s', (_, text, status, end) => {
  const file = importLines([meta, call('a'), output('a', text)])
  expect(messagesIn(file)[2]?.parts).toMatchObject([{ callId: 'a', callMessageId: 'line:2', status }])
  const ended = told(file).at(-1) as [string, object]
  expect(ended[0]).toBe({ ok: 'toolSucceeded', interrupted: 'toolCancelled' }[status] ?? 'toolFailed')
  expect(ended[1]).toMatchObject({ messageId: 'line:2', callId: 'a', ...end })
})

test('pictures in prompts and results are kept by hash', () => {
  const url = `data:image/png;base64,${Buffer.from('not really a picture').toString('base64')}`
  const file = importLines([
    meta,
    item('message', { role: 'user', content: [{ type: 'input_image', image_url: url }] }),
    call('a'),
    output('a', [
      { type: 'input_text', text: 'see' },
      { type: 'input_image', image_url: url },
    ]),
  ])
  expect(file.conversations[0]?.media).toHaveLength(1)
  expect(JSON.stringify(file.conversations[0]?.commands)).not.toContain(url.slice(30))
  expect(messagesIn(file)[3]?.parts).toMatchObject([{ content: [{ type: 'text' }, { type: 'media', kind: 'image' }] }])
})

describe('counts of tokens', () => {
  test('are told once for each total, and totals without a count not at all', () => {
    const file = importLines([
      meta,
      event('token_count', { info: null, rate_limits: { used: 1 } }),
      call('a'),
      tokens(50),
      tokens(50),
      output('a', 'x'),
      says('assistant', 'y'),
      tokens(120, 70),
    ])
    expect(payloadsOf(file, 'usageRecorded')).toMatchObject([
      { usage: { input: 40, cacheRead: 10 }, messageId: 'line:3' },
      { usage: { input: 60, cacheRead: 10 }, messageId: 'line:7' },
    ])
    expect(file.skipped).toMatchObject([
      { line: 2, reason: 'no count, only how much of the account is used' },
      { line: 5, reason: 'the count of line 4 again' },
    ])
  })

  test('that belong to no answer name none', () => {
    const file = importLines([meta, call('a'), tokens(50), tokens(90, 40)])
    expect(payloadsOf(file, 'usageRecorded').map((payload) => (payload as { messageId?: string }).messageId)).toEqual([
      'line:2',
      undefined,
    ])
  })
})

test('a turn’s context is told when it changes, whatever the turn', () => {
  const file = importLines([
    meta,
    context(),
    context({ turn_id: 't2' }),
    context({ model: 'gpt-other' }),
    context({ model: 'gpt-other', summary: 'auto' }),
  ])
  expect(payloadsOf(file, 'metadataChanged').slice(1)).toEqual([
    { set: { model: 'gpt-test', effort: 'low', approvalPolicy: 'never', sandbox: 'read-only' } },
    { set: { model: 'gpt-other' } },
  ])
  expect(file.skipped).toMatchObject([{ line: 3, recordType: 'turn_context', reason: 'the context of line 2 again' }])
  expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([
    { line: 5, reason: expect.stringContaining('nothing changed that we know') },
  ])
})

describe('turns', () => {
  test('end when the task is complete, and are interrupted by an abort or the next task', () => {
    const file = importLines([
      meta,
      started('a'),
      complete('a'),
      started('b'),
      event('turn_aborted', { reason: 'interrupted' }),
      started('c'),
      started('d'),
    ])
    expect(told(file).filter(([type]) => type.startsWith('turn'))).toEqual([
      ['turnStarted', { turnId: 'a' }],
      ['turnEnded', { turnId: 'a' }],
      ['turnStarted', { turnId: 'b' }],
      ['turnInterrupted', { turnId: 'b', reason: 'interrupted' }],
      ['turnStarted', { turnId: 'c' }],
      ['turnInterrupted', { turnId: 'c', reason: 'the next prompt came before a final answer' }],
      ['turnStarted', { turnId: 'd' }],
    ])
  })

  test('that end without having begun are kept raw', () => {
    expect(payloadsOf(importLines([meta, complete()]), 'foreignRecordKept')).toMatchObject([
      { reason: 'the end of a turn that does not run' },
    ])
  })

  test('what Codex puts in as the user’s words is not the user’s', () => {
    const file = importLines([meta, says('user', '<environment_context>'), ...prompt('Hello')])
    expect(messagesIn(file).slice(1)).toMatchObject([
      { author: { id: 'codex' }, meta: { kind: 'context' } },
      { author: { id: 'user' }, meta: { kind: 'prompt' } },
    ])
  })
})

test('events that tell something alone are kept, and those that say it differently too', () => {
  const file = importLines([
    meta,
    event('agent_message', { message: 'Nobody else says this' }),
    event('entered_review_mode', { target: 'x' }),
    event('error', { message: 'quota exceeded' }),
    event('stream_error', { message: 'cut' }),
  ])
  expect(file.skipped).toEqual([])
  expect(told(file).slice(2)).toMatchObject([
    ['foreignRecordKept', { recordType: 'event_msg/agent_message', line: 2 }],
    ['foreignRecordKept', { recordType: 'event_msg/entered_review_mode', line: 3 }],
    ['errorRecorded', { kind: 'codex_error', problem: 'quota exceeded' }],
    ['errorRecorded', { kind: 'stream_error', problem: 'cut', retryable: true }],
  ])
})

test('an item is repeated once: an event that says the same again is kept', () => {
  const file = importLines([
    meta,
    says('assistant', 'Hi.'),
    event('agent_message', { message: 'Hi.' }),
    event('agent_message', { message: 'Hi.' }),
  ])
  expect(file.skipped).toMatchObject([{ line: 3 }])
  expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([{ line: 4 }])
})

test('events of rollouts whose words were replaced by marks are known by length and hash', () => {
  const file = importLines([
    meta,
    says('assistant', '[REDACTED_TEXT len=5 sha=ab12]'),
    event('agent_message', { message: '[REDACTED_MESSAGE len=5 sha=ab12]' }),
    event('agent_message', { message: '[REDACTED_MESSAGE len=6 sha=cd34]' }),
  ])
  expect(file.skipped).toMatchObject([{ line: 3 }])
  expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([{ line: 4 }])
})

describe('a compaction', () => {
  const [user] = prompt('Build it')
  const before = [
    meta,
    says('developer', 'Rules'),
    ...prompt('Build it'),
    call('a'),
    output('a', 'x'),
    says('assistant', 'Built.'),
  ]
  const history = (...items: readonly object[]) => items.map((one) => (one as { payload: object }).payload)
  const shown = (lines: readonly unknown[]) => [...stateOf(importLines(lines)).messages].map(({ id }) => id)

  test('keeps what the new history repeats word for word, covers the rest, and says it once', () => {
    const summary = says('user', 'Summary: it was built.')
    const lines = [
      ...before,
      line('compacted', { message: '', replacement_history: history(says('developer', 'Rules'), user as object, summary) }),
      event('context_compacted'),
      ...prompt('Go on'),
    ]
    const file = importLines(lines)
    expect(payloadsOf(file, 'contextCompacted')).toMatchObject([
      {
        covered: { messageIds: ['line:5', 'line:6', 'line:7'] },
        summary: { message: { id: 'line:8', parts: [{ type: 'compaction', content: 'Summary: it was built.' }] } },
        before: { messages: 6 },
        after: { messages: 4 },
      },
    ])
    expect(file.skipped.at(-2)).toEqual({
      line: 9,
      recordType: 'event_msg/context_compacted',
      reason: 'the compaction of line 8 again, for the screen',
    })
    expect(shown(lines)).toEqual(['base-instructions', 'line:2', 'line:3', 'line:8', 'line:10'])
  })

  test('may be opaque, and may bring context that was not there', () => {
    const lines = [
      ...before,
      line('compacted', {
        message: '',
        replacement_history: [
          ...history(says('user', 'New context'), user as object),
          { type: 'compaction', encrypted_content: 'c2VhbGVk' },
        ],
      }),
    ]
    expect(payloadsOf(importLines(lines), 'contextCompacted')).toMatchObject([
      {
        covered: { messageIds: ['line:2', 'line:5', 'line:6', 'line:7'] },
        summary: { message: { parts: [{ type: 'compaction', opaque: 'c2VhbGVk' }] } },
      },
    ])
    expect(shown(lines)).toEqual(['base-instructions', 'line:8', 'line:3', 'line:8:history:1'])
  })

  test('of older versions gives only the summary: what the model was sent stays', () => {
    expect(shown([...before, line('compacted', { message: 'It was built.' })])).toEqual([
      'base-instructions',
      'line:2',
      'line:3',
      'line:8',
    ])
  })

  test('that follows another covers its summary', () => {
    const again = line('compacted', { message: 'And again.' })
    const lines = [...before, line('compacted', { message: 'Once.' }), says('assistant', 'More.'), again]
    const [, second] = payloadsOf(importLines(lines), 'contextCompacted') as { covered: { messageIds: string[] } }[]
    expect(second?.covered.messageIds).toEqual(['line:8', 'line:9'])
  })

  test('with nothing before it is kept raw, or is a summary alone', () => {
    const { base_instructions: _, ...bare } = meta.payload as Record<string, unknown>
    const first = { ...meta, payload: bare }
    expect(typesOf(importLines([first, line('compacted', { message: '' })])).at(-1)).toBe('foreignRecordKept')
    expect(messagesIn(importLines([first, line('compacted', { message: 'What was.' })]))).toMatchObject([
      { parts: [{ type: 'compaction' }] },
    ])
  })
})

test('the header of another rollout, unknown items and unknown records are kept raw', () => {
  const file = importLines([
    meta,
    line('session_meta', { id: 'older' }),
    item('ghost_snapshot', { commit: 'x' }),
    line('from_the_future', {}),
    { type: 'strange' },
  ])
  expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([
    { line: 2, reason: 'the header of the rollout that this one goes on from' },
    { line: 3, recordType: 'response_item/ghost_snapshot' },
    { line: 4, recordType: 'from_the_future' },
    { line: 5, recordType: 'strange' },
  ])
})

test('a bad line is refused with its number', () => {
  expect(() => importLines([meta, 'nonsense', says('user', 'x')])).toThrow(refusal(2))
})

test('a rollout that has grown gives the commands it gave before, but for an answer that was being written', () => {
  expect(
    changedByGrowth([
      meta,
      context(),
      started(),
      call('a'),
      tokens(50),
      output('a', 'x'),
      tokens(50),
      says('assistant', 'Done.'),
      complete(),
    ]),
  ).toEqual([])
  const [cut, whole] = [
    [meta, reasoning('Look')],
    [meta, reasoning('Look'), call('a')],
  ].map((lines) => importLines(lines).conversations[0]?.commands.at(-1))
  expect(cut?.commandId).toBe(whole?.commandId)
  expect(cut?.actions).not.toEqual(whole?.actions)
})
