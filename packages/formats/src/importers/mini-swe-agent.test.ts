import { expect, test } from 'vitest'
import {
  actionOf,
  commandIdsOf,
  importText,
  importValue,
  messagesIn,
  payloadsOf,
  refusal,
  stateOf,
  told,
  typesOf,
} from '../../../../test/formats/told.ts'

const text = (words: string) => ({ type: 'text', text: words })
const system = { role: 'system', content: 'You are an assistant.' }
const task = { role: 'user', content: 'Fix the bug.' }
const toolCall = (id: string, command = 'ls') => ({
  index: 0,
  id,
  type: 'function',
  function: { name: 'bash', arguments: JSON.stringify({ command }) },
})

const answer = (id: string, words: string, cost = 0.0005) => ({
  content: words,
  role: 'assistant',
  tool_calls: [toolCall(id)],
  function_call: null,
  extra: {
    actions: [{ command: 'ls', tool_call_id: id }],
    response: {
      id: `r-${id}`,
      model: 'deepseek-chat',
      choices: [
        { finish_reason: 'tool_calls', index: 0, message: { role: 'assistant', content: words, tool_calls: [toolCall(id)] } },
      ],
      usage: { prompt_tokens: 100, completion_tokens: 9, prompt_tokens_details: { cached_tokens: 60 } },
    },
    cost,
    timestamp: 1_772_355_602.25,
  },
})
const result = (id: string, output: string, extra: object = {}) => ({
  role: 'tool',
  tool_call_id: id,
  content: `<returncode>0</returncode>\n<output>\n${output}\n</output>`,
  extra: { raw_output: output, returncode: 0, timestamp: 1_772_355_603.5, exception_info: '', ...extra },
})
const exit = { role: 'exit', content: 'diff --git', extra: { exit_status: 'Submitted', submission: 'diff --git' } }
const trajectory = (messages: unknown, info: object = {}) => ({
  info: {
    model_stats: { instance_cost: 0.001, api_calls: 2 },
    config: { model: { model_name: 'deepseek/deepseek-chat' } },
    mini_version: '2.2.7',
    exit_status: 'Submitted',
    ...info,
  },
  messages,
  trajectory_format: 'mini-swe-agent-1.1',
  instance_id: 'repo__bug-1',
})

test('a trajectory becomes these actions and nothing else', () => {
  const file = importValue(
    trajectory([system, task, answer('c1', 'I look.'), result('c1', 'a.py'), answer('c2', 'I submit.'), exit]),
  )
  expect(file).toMatchObject({ format: 'mini-swe-agent', records: 7, skipped: [], remarks: [] })
  expect(file.conversations[0]?.conversationId).toMatch(/^mini-swe-agent-[0-9a-f]{16}$/)
  expect(commandIdsOf(file)).toEqual([
    'mini-swe-agent:started',
    ...[1, 2, 3, 4, 5, 6].map((n) => `mini-swe-agent:messages:${n}`),
    'mini-swe-agent:info',
  ])
  expect(file.conversations[0]?.commands[3]?.occurredAt).toBe(1_772_355_602_250_000)
  expect(told(file)).toMatchObject([
    ['messageAdded', { message: { role: 'system' } }],
    ['turnStarted', { turnId: 'messages:2' }],
    ['messageAdded', { message: { role: 'user', author: { id: 'user' }, meta: { kind: 'prompt' } } }],
    [
      'messageAdded',
      {
        message: {
          role: 'assistant',
          author: { id: 'deepseek-chat' },
          model: { provider: 'deepseek', api: 'chat', id: 'deepseek-chat', responseId: 'r-c1', stop: { unified: 'tool_calls' } },
          parts: [text('I look.'), { type: 'tool_call', callId: 'c1', name: 'bash', args: { raw: '{"command":"ls"}' } }],
        },
      },
    ],
    ['toolRequested', { callId: 'c1' }],
    ['usageRecorded', { usage: { input: 40, output: 9, cacheRead: 60, costMicros: 500 }, messageId: 'messages:3' }],
    ['messageAdded', { message: { role: 'tool', parts: [{ callId: 'c1', status: 'ok' }] } }],
    ['toolSucceeded', { messageId: 'messages:3', callId: 'c1' }],
    ['messageAdded', {}],
    ['toolRequested', { callId: 'c2' }],
    ['usageRecorded', {}],
    ['turnEnded', { turnId: 'messages:2', reason: 'Submitted' }],
    ['metadataChanged', { set: { exitStatus: 'Submitted', miniVersion: '2.2.7', instanceId: 'repo__bug-1' } }],
  ])
  expect(stateOf(file).tools.open).toMatchObject([{ callId: 'c2' }])
})

test('what the raw completion and the raw output repeat is not stored twice', () => {
  const words = 'These words are long enough to be worth a pointer.'
  const file = importValue(trajectory([task, answer('c1', words), result('c1', `${words} Indeed.`)]))
  const stored = JSON.stringify(file.conversations[0]?.commands)
  expect(stored.split(words)).toHaveLength(3)
  expect(stored).toContain('"$slice":{"of":"/parts/0/content/0/text","from":36,"to":94}')
})

test.each([
  ['a return code', { returncode: 1 }],
  ['an exception', { exception_info: 'TimeoutError' }],
])('a tool with %s failed', (_, extra) => {
  const file = importValue(trajectory([task, answer('c1', 'x'), result('c1', 'y', extra)]))
  expect(payloadsOf(file, 'toolFailed')).toMatchObject([{ callId: 'c1', kind: 'error' }])
})

test('a run that ended otherwise is an interrupted turn', () => {
  const file = importValue(trajectory([task, answer('c1', 'x')], { exit_status: 'LimitsExceeded' }))
  expect(told(file).at(-1)).toEqual(['turnInterrupted', { turnId: 'messages:1', reason: 'LimitsExceeded' }])
})

test('the list of messages of the first versions is text, in which the program is not a person', () => {
  const said = (command: string) => ({ role: 'assistant', content: `THOUGHT\n\n\`\`\`bash\n${command}\n\`\`\`` })
  const messages = [
    system,
    task,
    said('ls'),
    { role: 'user', content: '<returncode>0</returncode>\n<output>\na.py\n</output>' },
    said('echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT'),
    { role: 'user', content: '' },
  ]
  const file = importValue(messages)
  expect(file).toMatchObject({ format: 'mini-swe-agent', records: 6 })
  expect(messagesIn(file).map(({ role, author, meta }) => [role, author, meta])).toEqual([
    ['system', undefined, undefined],
    ['user', { id: 'user' }, { kind: 'prompt' }],
    ['assistant', undefined, undefined],
    ['user', { id: 'environment' }, { kind: 'observation' }],
    ['assistant', undefined, undefined],
    ['user', { id: 'environment' }, { kind: 'observation' }],
  ])
  expect(typesOf(file)).not.toContain('toolRequested')
  expect(payloadsOf(file, 'turnEnded')).toEqual([{ turnId: 'messages:2', reason: 'submitted' }])
})

test('unknown roles are kept raw, and an end without a turn too', () => {
  const file = importValue(trajectory([{ role: 'critic', content: 'x' }, 7, exit]))
  expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([
    { recordType: 'critic', line: 1 },
    { recordType: 'unknown', line: 2, record: 7 },
    { recordType: 'exit', line: 3 },
  ])
})

test('messages that are no list are refused with the field', () => {
  expect(() => importValue(trajectory('none'))).toThrow(refusal(1, expect.stringContaining('$.messages is not a list')))
})

test('an odd number is kept as text where it stands', () => {
  const json = JSON.stringify(trajectory([task, answer('c1', 'x')])).replace('"prompt_tokens":100', '"prompt_tokens":1e400')
  const file = importText(json)
  expect(file.remarks[0]?.remark).toContain('$.messages[1].extra.response.usage.prompt_tokens holds the number 1e400')
  expect(JSON.stringify(actionOf(file, 'usageRecorded')?.payload)).toContain('1e400')
})

test('another run is another conversation, the same run is the same', () => {
  const id = (value: unknown) => importValue(value).conversations[0]?.conversationId
  expect(id(trajectory([task]))).toBe(id(trajectory([task])))
  expect(id(trajectory([task]))).not.toBe(id(trajectory([task, answer('c1', 'x')])))
})
