/** A short transcript of each agent program, with one of everything that it writes. */

const at = (second: number) => new Date(Date.UTC(2026, 2, 1, 9, 0, second)).toISOString()
const text = (words: string) => ({ type: 'text', text: words })
const image = Buffer.from('not really a picture').toString('base64')
const chatCall = (id: string) => ({ id, type: 'function', function: { name: 'bash', arguments: '{"command":"ls"}' } })

const session = { session_id: 's1' }
const claudeCodeSdkSample = [
  { type: 'system', subtype: 'init', ...session, cwd: '/work', model: 'm' },
  {
    type: 'assistant',
    ...session,
    message: {
      id: 'a1',
      model: 'm',
      content: [text('x'), { type: 'tool_use', id: 'c1', name: 'Task', input: { prompt: 'p' } }],
      usage: { output_tokens: 2 },
    },
  },
  { type: 'user', ...session, parent_tool_use_id: 'c1', message: { content: 'p' } },
  { type: 'user', ...session, message: { content: [{ type: 'tool_result', tool_use_id: 'c1', content: 'y', is_error: true }] } },
  { type: 'stream_event', ...session, event: { type: 'message_start', message: { id: 'a1' } } },
  { type: 'system', subtype: 'compact_boundary', ...session },
  { type: 'user', ...session, isSynthetic: true, message: { content: 'summary' } },
  { type: 'result', subtype: 'error_max_turns', ...session, total_cost_usd: 0.1, is_error: true },
]

const rollout = (type: string, payload: object) => ({ timestamp: at(1), type, payload })
const item = (type: string, fields: object) => rollout('response_item', { type, ...fields })
const prompt = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'go' }] }
const counts = { input_tokens: 9, cached_input_tokens: 3, output_tokens: 2, reasoning_output_tokens: 1 }
const codexSample = [
  rollout('session_meta', { id: 'r1', cwd: '/work', base_instructions: { text: 'rules' }, git: { branch: 'main' } }),
  rollout('event_msg', { type: 'task_started', turn_id: 't1', model_context_window: 9 }),
  rollout('response_item', prompt),
  rollout('event_msg', { type: 'user_message', message: 'go' }),
  rollout('turn_context', { turn_id: 't1', cwd: '/work', model: 'm', sandbox_policy: { type: 'x' } }),
  item('reasoning', { summary: [{ type: 'summary_text', text: 's' }], encrypted_content: 'e' }),
  item('function_call', { name: 'f', arguments: '{"a":1}', call_id: 'c1' }),
  item('web_search_call', { status: 'completed' }),
  rollout('event_msg', { type: 'token_count', info: { total_token_usage: counts, last_token_usage: counts } }),
  item('function_call_output', { call_id: 'c1', output: [{ type: 'input_image', image_url: `data:image/png;base64,${image}` }] }),
  rollout('compacted', { message: 's', replacement_history: [prompt, { type: 'compaction', encrypted_content: 'e' }] }),
  rollout('event_msg', { type: 'turn_aborted', reason: 'interrupted' }),
]

const entry = (role: string, fields: object) => ({ type: 'message', timestamp: at(1), message: { role, ...fields } })
const piSample = [
  { type: 'session', id: 's1', timestamp: at(0), cwd: '/work', provider: 'p', modelId: 'm' },
  entry('user', { content: [text('go'), { type: 'image', data: image, mimeType: 'image/png' }] }),
  entry('assistant', {
    content: [
      { type: 'thinking', thinking: 't', thinkingSignature: 's' },
      { type: 'toolCall', id: 'c1', name: 'f', arguments: { a: 1 } },
    ],
    provider: 'p',
    model: 'm',
    stopReason: 'toolUse',
    usage: { input: 1, output: 2, cost: { total: 0.1 } },
  }),
  entry('toolResult', { toolCallId: 'c1', content: [text('x')], isError: true }),
  entry('bashExecution', { command: 'ls', output: 'a' }),
  { type: 'compaction', timestamp: at(2), summary: 's', firstKeptEntryIndex: 3 },
  { type: 'model_change', timestamp: at(2), provider: 'p', modelId: 'n' },
]

const geminiCliSample = {
  sessionId: 's1',
  projectHash: 'h',
  startTime: at(0),
  lastUpdated: at(9),
  summary: 'title',
  messages: [
    {
      id: 'm1',
      timestamp: at(1),
      type: 'user',
      content: [{ text: 'go' }, { inlineData: { mimeType: 'image/png', data: image } }],
    },
    {
      id: 'm2',
      timestamp: at(2),
      type: 'gemini',
      content: 'x',
      model: 'm',
      thoughts: [{ subject: 's', description: 'd' }],
      tokens: { input: 9, output: 2, cached: 3, thoughts: 1, tool: 0 },
      toolCalls: [
        {
          id: 'c1',
          name: 'f',
          args: { a: 1 },
          status: 'success',
          result: [{ functionResponse: { id: 'c1', response: { output: 'y' } } }],
        },
        { id: 'c2', name: 'f', args: {}, status: 'cancelled', result: [] },
      ],
    },
    { id: 'm3', timestamp: at(3), type: 'error', content: 'quota' },
  ],
}

const event = (id: number, source: string, fields: object) => ({ id, timestamp: '2025-01-27T22:00:00.5', source, ...fields })
const completion = {
  id: 'r1',
  model: 'm',
  choices: [
    { finish_reason: 'tool_calls', message: { role: 'assistant', content: 'x', tool_calls: [chatCall('c1'), chatCall('c2')] } },
  ],
  usage: { prompt_tokens: 9, completion_tokens: 2, cache_creation_input_tokens: 3 },
}
const called = (callId: string) => ({
  tool_call_metadata: { function_name: 'bash', tool_call_id: callId, model_response: completion },
})
const openHandsEventsSample = [
  event(0, 'user', { action: 'message', args: { content: 'go', image_urls: [`data:image/png;base64,${image}`] } }),
  event(1, 'agent', { action: 'run', args: { command: 'ls', thought: 't' }, ...called('c1') }),
  event(2, 'agent', { observation: 'run', cause: 1, content: 'x', extras: { metadata: { exit_code: 1 } } }),
  event(3, 'agent', { action: 'run', args: {}, ...called('c2') }),
  event(4, 'environment', { observation: 'agent_state_changed', extras: { agent_state: 'error', reason: 'r' } }),
  event(5, 'agent', { action: 'read', args: { path: 'p', thought: 't' } }),
  event(6, 'agent', { action: 'condensation', args: { forgotten_event_ids: [1, 2], summary: 's' } }),
  event(7, 'agent', { observation: 'null', cause: 0, content: '', extras: {} }),
]

const openHandsRunSample = [
  {
    instruction: 'go',
    git_patch: 'diff',
    metrics: { accumulated_cost: 0.1 },
    success: true,
    error: 'e',
    issue: { title: 't' },
    history: [
      { action: 'message', content: 'go' },
      { action: 'run', command: 'ls', thought: 't' },
      { observation: 'run', content: 'x', exit_code: 0 },
      { action: 'finish', outputs: {}, thought: 'done' },
    ],
  },
]

const sdkEvent = (id: string, kind: string, source: string, fields: object) => ({
  id,
  kind,
  source,
  timestamp: '2026-06-16T05:39:18.8',
  ...fields,
})
const metrics = {
  model_name: 'm',
  accumulated_cost: 0.1,
  accumulated_token_usage: { prompt_tokens: 9, completion_tokens: 2, cache_read_tokens: 3 },
}
const openHandsSdkSample = [
  sdkEvent('e1', 'MessageEvent', 'user', {
    llm_message: { role: 'user', content: [text('go'), { type: 'image', image_urls: ['https://x'] }] },
  }),
  sdkEvent('e2', 'ConversationStateUpdateEvent', 'environment', {
    key: 'stats',
    value: { usage_to_metrics: { default: metrics } },
  }),
  sdkEvent('e3', 'ActionEvent', 'agent', {
    thought: [text('t')],
    thinking_blocks: [{ type: 'thinking', thinking: 't', signature: 's' }],
    tool_name: 'bash',
    tool_call_id: 'c1',
    tool_call: { id: 'c1', name: 'bash', arguments: '{"a":1}' },
    llm_response_id: 'r1',
  }),
  sdkEvent('e4', 'ObservationEvent', 'environment', {
    tool_call_id: 'c1',
    action_id: 'e3',
    observation: { content: [text('x')], is_error: false, exit_code: 1 },
  }),
  sdkEvent('e5', 'Condensation', 'environment', { forgotten_event_ids: ['e3', 'e4'], summary: 's' }),
  sdkEvent('e6', 'ConversationStateUpdateEvent', 'environment', { key: 'execution_status', value: 'finished' }),
]

const sweAgentSample = {
  environment: 'main',
  history: [
    { role: 'system', content: 'rules', agent: 'main' },
    { role: 'user', content: 'go', agent: 'main' },
    {
      role: 'assistant',
      content: [text('x')],
      thought: 'x',
      action: 'ls',
      agent: 'main',
      tool_calls: [chatCall('c1'), chatCall('c2')],
    },
    { role: 'tool', content: 'y', agent: 'main', tool_call_ids: ['c1', 'c2'] },
  ],
  trajectory: [
    {
      action: 'ls',
      observation: 'y',
      response: 'x',
      thought: 'x',
      execution_time: 0.5,
      state: {},
      query: [{ role: 'user', content: 'go' }],
    },
  ],
  info: {
    exit_status: 'submitted',
    submission: 'diff',
    model_stats: { tokens_sent: 9, tokens_received: 2, instance_cost: 0.1, api_calls: 1 },
  },
}

const miniSweAgentSample = {
  info: { exit_status: 'Submitted', config: { model: { model_name: 'p/m' } }, mini_version: '2' },
  messages: [
    { role: 'system', content: 'rules' },
    { role: 'user', content: 'go' },
    {
      role: 'assistant',
      content: 'x',
      tool_calls: [chatCall('c1')],
      extra: {
        response: { id: 'r1', model: 'm', choices: [], usage: { prompt_tokens: 9, completion_tokens: 2 } },
        cost: 0.1,
        timestamp: 1_772_355_602.5,
      },
    },
    { role: 'tool', tool_call_id: 'c1', content: '<returncode>1</returncode>', extra: { returncode: 1, raw_output: 'y' } },
    { role: 'exit', content: 'diff', extra: { exit_status: 'Submitted' } },
  ],
  trajectory_format: 'mini-swe-agent-1.1',
}

/** The formats that are lists of records, which stand in files as lines or as one list. */
export const agentLists: readonly (readonly object[])[] = [
  claudeCodeSdkSample,
  codexSample,
  piSample,
  openHandsEventsSample,
  openHandsRunSample,
  openHandsSdkSample,
]
export const agentDocuments: readonly object[] = [...agentLists, geminiCliSample, sweAgentSample, miniSweAgentSample]
