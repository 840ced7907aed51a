import { describe, expect, test } from 'vitest'
import {
  actionOf,
  commandIdsOf,
  importValue,
  messagesIn,
  payloadsOf,
  refusal,
  stateOf,
  told,
  typesOf,
} from '../../../../test/formats/told.ts'

const text = (words: string) => ({ type: 'text', text: words })
const system = { role: 'system', content: 'You are a programmer.', agent: 'main', message_type: 'system_prompt' }
const task = { role: 'user', content: 'Fix the issue.', agent: 'main', message_type: 'observation' }
const answer = (id: string, words: string, action = 'ls') => ({
  role: 'assistant',
  content: words,
  thought: words,
  action,
  agent: 'main',
  tool_calls: [{ type: 'function', id, function: { name: 'bash', arguments: '{"command":"ls"}' } }],
  message_type: 'action',
})
const result = (ids: readonly string[], content: string) => ({
  role: 'tool',
  content,
  agent: 'main',
  message_type: 'observation',
  tool_call_ids: ids,
})
const step = (response: string, observation: string, fields: object = {}) => ({
  action: 'ls',
  observation,
  response,
  thought: response,
  execution_time: 0.25,
  state: { working_dir: '/testbed' },
  ...fields,
})
const info = {
  exit_status: 'submitted',
  submission: 'diff',
  model_stats: { instance_cost: 0.02, tokens_sent: 500, tokens_received: 40, api_calls: 2 },
}

test('a trajectory becomes these actions and nothing else', () => {
  const file = importValue({
    environment: 'main',
    history: [
      system,
      task,
      answer('c1', 'I look.'),
      result(['c1'], 'a.py\n(Current directory: /testbed)'),
      answer('c2', 'I submit.'),
    ],
    trajectory: [step('I look.', 'a.py'), step('I submit.', 'diff')],
    info,
  })
  expect(file).toMatchObject({ format: 'swe-agent', records: 8, skipped: [], remarks: [] })
  expect(commandIdsOf(file)).toEqual([
    'swe-agent:started',
    ...[1, 2, 3, 4, 5].map((n) => `swe-agent:history:${n}`),
    'swe-agent:info',
  ])
  expect(told(file)).toMatchObject([
    ['messageAdded', { message: { role: 'system' } }],
    ['turnStarted', { turnId: 'history:2' }],
    ['messageAdded', { message: { role: 'user', author: { id: 'user' }, meta: { kind: 'prompt' } } }],
    [
      'messageAdded',
      {
        message: {
          role: 'assistant',
          parts: [text('I look.'), { type: 'tool_call', callId: 'c1', args: { raw: '{"command":"ls"}' } }],
        },
      },
    ],
    ['toolRequested', { messageId: 'history:3', callId: 'c1', name: 'bash' }],
    ['messageAdded', { message: { role: 'tool', parts: [{ callId: 'c1', callMessageId: 'history:3', status: 'ok' }] } }],
    ['toolSucceeded', { messageId: 'history:3', callId: 'c1', resultMessageId: 'history:4', durationMs: 250 }],
    ['messageAdded', {}],
    ['toolRequested', { callId: 'c2' }],
    ['metadataChanged', { set: { exitStatus: 'submitted', environment: 'main', modelCalls: 2 } }],
    ['usageRecorded', { usage: { input: 500, output: 40, costMicros: 20_000 } }],
    ['turnEnded', { turnId: 'history:2', reason: 'submitted' }],
  ])
})

describe('the steps', () => {
  const long = 'I look at everything that there is in this directory.'
  const seen = 'a.py and b.py and also c.py are in the directory here.'
  const issue = { ...task, content: 'Fix the issue that was described at great length.' }
  const history = [
    system,
    issue,
    answer('c1', long, `cat ${'x'.repeat(50)}`),
    result(['c1'], `${seen}\n(Current directory: /testbed)`),
  ]
  const keptOf = (steps: readonly object[]) => {
    const file = importValue({ history, trajectory: steps, info: { exit_status: 'submitted' } })
    const { meta } = file.conversations[0]?.commands[3]?.actions.find(({ type }) => type === 'messageAdded') ?? {}
    return { file, records: (meta as { records: { record: Record<string, unknown> }[] }).records }
  }

  test('that repeat the history are kept beside its answers, with pointers for what they repeat', () => {
    const { records, file } = keptOf([step(long, seen)])
    expect(messagesIn(file)).toHaveLength(4)
    expect(records[1]).toEqual({
      list: 'trajectory',
      line: 1,
      record: {
        action: 'ls',
        observation: { $slice: { of: 'history:4/parts/0/content/0/text', from: 0, to: seen.length } },
        response: { $message: '/parts/0/text' },
        thought: { $message: '/parts/0/text' },
        execution_time: 0.25,
        state: { working_dir: '/testbed' },
      },
    })
    expect(JSON.stringify(file.conversations[0]?.commands).split(seen)).toHaveLength(2)
  })

  test('that hold whole lists of messages do not multiply them', () => {
    const { file } = keptOf([step(long, seen, { query: history, messages: history })])
    const stored = JSON.stringify(file.conversations[0]?.commands)
    for (const words of [long, issue.content, seen]) expect(stored.split(words)).toHaveLength(2)
    expect(messagesIn(file)).toHaveLength(4)
  })

  test('of which the history has no answer are kept raw', () => {
    const { file } = keptOf([step('asked again', 'x'), step(long, seen)])
    expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([
      { recordType: 'step', line: 1, reason: 'a step of which the history has no answer', record: { response: 'asked again' } },
    ])
  })
})

test('old files are text, in which the program is not a person, and demonstrations are no prompts', () => {
  const old = (role: string, content: string, fields: object = {}) => ({ role, content, agent: 'primary', ...fields })
  const file = importValue({
    history: [
      old('system', 'You are a programmer.'),
      old('user', 'Here is a demonstration.', { is_demo: true }),
      old('user', 'Fix it.'),
      old('assistant', 'I look.\n```\nls\n```', { thought: 'I look.\n', action: 'ls\n' }),
      old('user', 'a.py'),
    ],
    trajectory: [step('I look.\n```\nls\n```', 'a.py')],
  })
  expect(messagesIn(file).map(({ role, author, meta }) => [role, (author as { id?: string })?.id, meta])).toEqual([
    ['system', undefined, undefined],
    ['user', 'environment', { kind: 'demonstration' }],
    ['user', 'user', { kind: 'prompt' }],
    ['assistant', undefined, undefined],
    ['user', 'environment', { kind: 'observation' }],
  ])
  expect(typesOf(file)).not.toContain('toolRequested')
  expect(payloadsOf(file, 'turnStarted')).toEqual([{ turnId: 'history:3' }])
})

test('a result may answer several calls, and a file may have only a history', () => {
  const two = {
    ...answer('c1', 'Both.'),
    tool_calls: ['c1', 'c2'].map((id) => ({ id, type: 'function', function: { name: 'bash', arguments: '{}' } })),
  }
  const file = importValue({ history: [task, two, result(['c1', 'c2'], 'x')] })
  expect(file.records).toBe(3)
  expect(stateOf(file).tools).toMatchObject({ requested: 2, succeeded: 2, open: [] })
  expect(messagesIn(file)[2]?.parts).toMatchObject([
    { callId: 'c1', content: [text('x')] },
    { callId: 'c2', content: [] },
  ])
})

test('a run that did not submit is an interrupted turn, and one without counts records none', () => {
  const file = importValue({
    history: [task],
    trajectory: [],
    info: { exit_status: 'exit_cost', model_stats: { tokens_sent: 0, api_calls: 0 } },
  })
  expect(told(file).at(-1)).toEqual(['turnInterrupted', { turnId: 'history:1', reason: 'exit_cost' }])
  expect(typesOf(file)).not.toContain('usageRecorded')
})

test('what stands beside the history is kept, and unknown roles too', () => {
  const file = importValue({ history: [{ role: 'critic', content: 'x', agent: 'main' }], replay_config: { env: 1 } })
  expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([{ recordType: 'critic', line: 1 }])
  expect(actionOf(file, 'metadataChanged')?.meta).toEqual({ records: [{ line: 1, record: { replay_config: { env: 1 } } }] })
})

test('a history that is no list is refused with the field', () => {
  expect(() => importValue({ history: {}, trajectory: [] })).toThrow(
    refusal(1, expect.stringContaining('$.history is not a list')),
  )
})
