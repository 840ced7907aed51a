/** One small file of each format of apps and logs, with the oddities that real ones have; tests change what they are about. */

const sentence = 'a sentence that is long enough not to be stored a second time'

interface GptPlace {
  readonly parent?: string | null
  readonly children?: readonly string[]
  readonly at?: number | null
  readonly [field: string]: unknown
}

/** A node of a ChatGPT tree; `fields` go into the message. */
export function gptNode(id: string, role: string, text: string, { parent = null, children = [], at = 0, ...fields }: GptPlace) {
  return {
    id,
    message: {
      id,
      author: { role, name: null, metadata: {} },
      create_time: at === null ? null : 1_700_000_000.25 + at,
      content: { content_type: 'text', parts: [text] },
      status: 'finished_successfully',
      weight: 1,
      metadata: role === 'assistant' ? { model_slug: 'gpt-test', finish_details: { type: 'stop' } } : {},
      recipient: 'all',
      ...fields,
    },
    parent,
    children,
  }
}

export function gptConversation(nodes: readonly { readonly id: string }[], fields: object = {}) {
  return {
    id: '11111111-2222-4333-8444-555555555555',
    title: 'A talk',
    create_time: 1_700_000_000.25,
    update_time: 1_700_000_100,
    mapping: Object.fromEntries(nodes.map((node) => [node.id, node])),
    current_node: nodes.at(-1)?.id,
    ...fields,
  }
}

/** A question that was answered twice, with a call to a plugin in the first answer. */
export const gptTree = gptConversation([
  { id: 'root', message: null, parent: null, children: ['s'] } as { id: string },
  gptNode('s', 'system', '', { parent: 'root', children: ['u1'], at: null }),
  gptNode('u1', 'user', 'Draw it', { parent: 's', children: ['a1', 'b1'] }),
  gptNode('a1', 'assistant', '{"graph":"A-->B"}', { parent: 'u1', children: ['t1'], at: 1, recipient: 'draw.graph' }),
  gptNode('t1', 'tool', 'drawn', {
    parent: 'a1',
    children: ['a2'],
    at: 2,
    author: { role: 'tool', name: 'draw.graph', metadata: {} },
  }),
  gptNode('a2', 'assistant', `Done: ${sentence}`, { parent: 't1', at: 3 }),
  gptNode('b1', 'assistant', 'I cannot draw.', { parent: 'u1', at: 60, metadata: { model_slug: 'gpt-other' } }),
])

const call = (id: string, name: string, args: string) => ({ id, type: 'function', function: { name, arguments: args } })

/** A tau-bench run: one id for two calls, empty and missing contents. */
export const tauRun = [
  {
    task_id: 1,
    trial: 0,
    reward: 0.5,
    traj: [
      { role: 'system', content: `Be polite. ${sentence}` },
      { role: 'user', content: 'Two, please' },
      { role: 'assistant', content: null, tool_calls: [call('call_1', 'book', '{"n": 1}')] },
      { role: 'tool', tool_call_id: 'call_1', name: 'book', content: 'booked 1' },
      { role: 'assistant', content: '', tool_calls: [call('call_1', 'book', '{"n": 2')] },
      { role: 'tool', tool_call_id: 'call_1', name: 'book', content: 'Error: bad arguments' },
      { role: 'assistant', content: 'One is booked.' },
    ],
  },
]

/** A tau2 run: the assistant begins, calls have objects and results are linked by `id`, the user is a model. */
export const tau2Run = {
  tasks: [{ id: 't' }],
  simulations: [
    {
      id: 'aaaaaaaa-2222-4333-8444-555555555555',
      reward_info: { reward: 1 },
      messages: [
        { role: 'assistant', content: 'Hello!', tool_calls: null, turn_idx: 0, timestamp: '2026-01-01T01:00:00.5', usage: null },
        {
          role: 'user',
          content: 'Look it up',
          turn_idx: 1,
          timestamp: '2026-01-01T01:00:01.5',
          cost: 0.0015,
          usage: { completion_tokens: 5, prompt_tokens: 40 },
          raw_data: {
            id: 'chatcmpl-1',
            created: 1_767_225_600,
            model: 'gpt-test',
            choices: [{ finish_reason: 'stop' }],
            usage: { completion_tokens: 5, prompt_tokens: 40, prompt_tokens_details: { cached_tokens: 30 } },
          },
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'get_0', name: 'get', arguments: { x: 1 }, requestor: 'assistant' }],
        },
        { id: 'get_0', role: 'tool', content: 'nothing', requestor: 'assistant', error: true },
      ],
    },
  ],
}

/** A log of one call with tools as text: what was sent, and the same with calls. */
export const openHandsLog = {
  messages: [{ role: 'user', content: 'run it as <function=run>' }],
  raw_messages: [{ role: 'user', content: [{ type: 'text', text: 'run it' }] }],
  response: {
    id: 'chatcmpl-9',
    created: 1_700_000_005,
    model: 'proxy/model',
    choices: [
      {
        finish_reason: 'tool_calls',
        index: 0,
        message: { role: 'assistant', content: '', tool_calls: [call('c1', 'run', '{}')] },
      },
    ],
    usage: { prompt_tokens: 10, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } },
  },
  cost: 0.002,
  timestamp: 1_700_000_006.5,
}

const weather = { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Bonn' } }
const asked = { role: 'user', content: [{ type: 'text', text: 'Weather in Bonn?' }] }
const anthropicAnswer = (id: string, content: readonly unknown[], stop: string, fields: object = {}) => ({
  id,
  type: 'message',
  role: 'assistant',
  model: 'claude-test',
  content,
  stop_reason: stop,
  usage: { input_tokens: 10, output_tokens: 4, cache_read_input_tokens: 7 },
  ...fields,
})
const anthropicCall = (messages: readonly unknown[], response: unknown, status = 200) => ({
  uri: 'https://api.anthropic.com/v1/messages',
  status,
  request: { model: 'claude-test', system: 'Be brief.', messages, tools: [{ name: 'weather' }] },
  response,
})
const thought = { type: 'thinking', thinking: 'I look it up.', signature: 'c2ln' }
const weatherResult = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'Rain' }] }
const resent = { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Bonn' } }] }

/** Three calls that are one conversation: to Anthropic, again with the result, then to OpenAI with a summary of the provider. */
export const exchangeList = [
  anthropicCall([asked], anthropicAnswer('msg_1', [thought, { ...weather, caller: { type: 'direct' } }], 'tool_use')),
  anthropicCall(
    [asked, resent, weatherResult],
    anthropicAnswer('msg_2', [{ type: 'text', text: `It rains. ${sentence}` }], 'end_turn'),
  ),
  {
    uri: 'https://api.openai.com/v1/responses',
    status: 200,
    request: {
      model: 'gpt-test',
      instructions: 'Be brief.',
      input: [
        { role: 'user', content: 'Weather in Bonn?' },
        { type: 'function_call', call_id: 'toolu_1', name: 'weather', arguments: '{"city":  "Bonn"}' },
        { type: 'function_call_output', call_id: 'toolu_1', output: 'Rain' },
        { role: 'assistant', content: `It rains. ${sentence}` },
        { role: 'user', content: 'And tomorrow?' },
      ],
    },
    response: {
      id: 'resp_3',
      object: 'response',
      created_at: 1_700_000_000,
      completed_at: 1_700_000_002,
      status: 'completed',
      model: 'gpt-test-1',
      output: [
        {
          id: 'msg_a',
          type: 'message',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'Sun.', annotations: [] }],
        },
        { id: 'cmp_1', type: 'compaction', encrypted_content: 'b3BhcXVl' },
      ],
      usage: {
        input_tokens: 50,
        input_tokens_details: { cached_tokens: 20 },
        output_tokens: 9,
        output_tokens_details: { reasoning_tokens: 3 },
      },
    },
  },
]

/** A request of the Messages API alone, as it is exported too. */
export const messagesRequest = {
  model: 'claude-test',
  system: 'Be brief, and say where you looked it up.',
  messages: [
    asked,
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'I look it up.', signature: 'sig' },
        { type: 'text', text: 'One moment.' },
        weather,
      ],
    },
    weatherResult,
    { role: 'assistant', content: 'Rain, the tool says.' },
  ],
}
export const anthropic = { asked, anthropicCall, anthropicAnswer, resent, weatherResult }

/** A LangGraph thread: a program answers in the model's place, reasoning stands beside the content, an id is used twice. */
export const langGraphThread = {
  values: {
    title: 'A page',
    todos: [],
    messages: [
      { type: 'human', id: 'h1', content: [{ type: 'text', text: 'Make a page' }], additional_kwargs: {}, response_metadata: {} },
      { type: 'system', id: 's1', content: 'No files were uploaded.', additional_kwargs: {} },
      {
        type: 'ai',
        id: 'run-1',
        content: '',
        additional_kwargs: { reasoning_content: 'A page needs a title.' },
        response_metadata: { finish_reason: 'tool_calls', model_name: 'kimi', model_provider: 'openai' },
        tool_calls: [{ name: 'write', args: { path: 'a.html', text: sentence }, id: 'write:0', type: 'tool_call' }],
        invalid_tool_calls: [],
        usage_metadata: null,
      },
      { type: 'tool', id: 't1', name: 'write', content: 'OK', tool_call_id: 'write:0', status: 'success', artifact: null },
      {
        type: 'ai',
        id: 'run-2',
        content: '',
        additional_kwargs: null,
        tool_calls: [{ name: 'write', args: {}, id: 'write:0', type: 'tool_call' }],
        invalid_tool_calls: [{ name: 'write', args: '{"path', id: 'bad', error: 'cut' }],
        usage_metadata: { input_tokens: 100, output_tokens: 5, input_token_details: { cache_read: 60, cache_creation: 10 } },
      },
      { type: 'tool', id: 't2', name: 'write', content: 'no', tool_call_id: 'write:0', status: 'error' },
      { type: 'ai', id: 'm3', content: 'Done.', tool_calls: [] },
    ],
  },
  metadata: { thread_id: 'bbbbbbbb-2222-4333-8444-555555555555', step: 7 },
  created_at: '2026-01-28T04:13:14.394777+00:00',
}

const lc = (name: string, kwargs: object) => ({
  lc: 1,
  type: 'constructor',
  id: ['langchain', 'schema', 'messages', name],
  kwargs,
})

/** The same library's messages as their constructors, with Anthropic's blocks in the content. */
export const langChainList = [
  lc('HumanMessage', { content: 'Read it', id: 'h1', type: 'human' }),
  lc('AIMessage', {
    content: [
      { type: 'text', text: 'I read.' },
      { type: 'tool_use', id: 'toolu_1', name: 'read', input: { path: '/a' } },
    ],
    id: 'run-1',
    type: 'ai',
    tool_calls: [{ name: 'read', args: { path: '/a' }, id: 'toolu_1', type: 'tool_call' }],
    response_metadata: { id: 'msg_1', model_name: 'claude-test', model_provider: 'anthropic', stop_reason: 'tool_use' },
    usage_metadata: {
      input_tokens: 30,
      output_tokens: 6,
      input_token_details: { cache_creation: 20, cache_read: 0, ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 0 },
    },
  }),
  lc('ToolMessage', { content: 'words', id: 't1', type: 'tool', name: 'read', tool_call_id: 'toolu_1', status: 'success' }),
]

/** Training data: calls without ids, two answers to one call, tools as text. */
export const shareGptList = [
  {
    id: 'identity_0',
    conversations: [
      { from: 'system', value: 'You help.' },
      { from: 'human', value: 'Search twice' },
      { from: 'function_call', value: '{"name": "search", "arguments": {"q": "a"}}' },
      { from: 'observation', value: 'first' },
      { from: 'observation', value: 'second' },
      { from: 'gpt', value: `Found. ${sentence}` },
    ],
    tools: '[{"name": "search"}]',
  },
  {
    messages: [
      { role: 'user', content: '<image>Who are <image>they?' },
      { role: 'assistant', content: 'Players.' },
    ],
    images: ['1.jpg', '2.jpg', '3.jpg'],
  },
  {
    messages: [
      { role: 'user', content: [{ type: 'text', value: 'Both' }] },
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', value: 'Two calls.' },
          { type: 'tool_call', value: '{"name": "area", "arguments": {"r": 1}}' },
          { type: 'tool_call', value: '{"name": "area", "arguments": {"r": 2}}' },
        ],
      },
      {
        role: 'tool',
        content: [{ type: 'text', value: '[{"name": "area", "content": "3.1"}, {"name": "area", "content": {"area": 12.6}}]' }],
      },
    ],
    tools: '[]',
  },
]

/** An Inspect log: attachments, a grader that calls a model too, usage in the events only. */
export const inspectLog = {
  version: 2,
  status: 'success',
  eval: { task: 'quiz', eval_id: 'ev1', run_id: 'r1' },
  samples: [
    {
      id: 1,
      epoch: 1,
      uuid: 'sampleOne',
      input: 'attachment://aaaa',
      messages: [
        { id: 'm1', role: 'system', content: 'attachment://aaaa' },
        { id: 'm2', role: 'user', content: 'Well?', source: 'input' },
        {
          id: 'm3',
          role: 'assistant',
          content: [
            { type: 'reasoning', reasoning: 'Hm.', signature: 'sig', redacted: false },
            { type: 'text', text: 'Yes' },
          ],
          model: 'gpt-test',
          tool_calls: [{ id: 'k1', function: 'check', arguments: { a: 1 }, type: 'function' }],
        },
        {
          id: 'm4',
          role: 'tool',
          tool_call_id: 'k1',
          function: 'check',
          content: 'bad',
          error: { type: 'timeout', message: 'bad' },
        },
      ],
      events: [
        { event: 'sample_init', timestamp: '2025-05-12T20:28:13.296345-04:00' },
        {
          event: 'model',
          timestamp: '2025-05-12T20:28:14-04:00',
          completed: '2025-05-12T20:28:15-04:00',
          output: {
            model: 'gpt-test',
            choices: [{ message: { id: 'm3', role: 'assistant', content: 'Yes' }, stop_reason: 'stop' }],
            usage: { input_tokens: 60, output_tokens: 2, input_tokens_cache_read: 4, reasoning_tokens: 1 },
          },
        },
        {
          event: 'model',
          timestamp: '2025-05-12T20:28:16-04:00',
          output: {
            model: 'grader',
            choices: [{ message: { id: 'zz', content: 'C' } }],
            usage: { input_tokens: 900, output_tokens: 90 },
          },
        },
      ],
      attachments: { aaaa: `You know. ${sentence}` },
    },
  ],
}

/** A chat bot's file. Its guild's id has more digits than JavaScript holds, so this is its text. */
export const chatBotText = `{
  "created_at": "2026-03-01T09:00:00Z",
  "updated_at": "2026-03-01T09:05:00.5Z",
  "summary": "About cats",
  "guild_id": 123456789012345678901,
  "guild_name": "Cats & <co>",
  "requester": {"id": "42", "name": "Ada"},
  "participants": [{"id": "42", "name": "Ada"}, {"id": "43", "name": "Bob"}],
  "history": [
    {"created_at": "2026-03-01T09:00:00Z", "message_type": "chat", "message_content": "What is a cat? ${sentence}", "meta": {"tools": [], "requester": "42"}},
    {"created_at": "2026-03-01T09:00:01Z", "message_type": "thinking", "message_content": "I look it up.", "meta": {"tools": ["search"], "requester": null}},
    {"created_at": "2026-03-01T09:00:02Z", "message_type": "tool_call", "message_content": {"name": "search", "arguments": {"q": "cat"}}, "meta": {"tools": ["search"]}},
    {"created_at": "2026-03-01T09:00:03Z", "message_type": "tool_call_response", "message_content": "an animal", "meta": {"tools": ["search"], "requester": null, "cost": 1.50}},
    {"created_at": "2026-03-01T09:00:04Z", "message_type": "chat", "message_content": "An animal.", "meta": {"tools": [], "requester": null}},
    {"created_at": "2026-03-01T09:05:00.5Z", "message_type": "chat", "message_content": "Thanks", "meta": {"tools": [], "requester": 43}}
  ]
}`
