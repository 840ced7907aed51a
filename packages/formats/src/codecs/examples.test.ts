/** Whole examples: what becomes of requests that were refused (recorded in ../shared/data/streams/errors), and of what is hard to translate. */
import type { Message, Part } from '@colloquy/core'
import { expect, test } from 'vitest'
import { checks } from '../../../../test/formats/codecs-acceptable.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { aiSdkModel } from './ai-sdk-model.ts'
import { aiSdkUi } from './ai-sdk-ui.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import type { Codec } from './codec.ts'
import { sameJson } from './fields.ts'
import { geminiContents } from './gemini-contents.ts'
import { langChain } from './langchain-messages.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiResponses } from './openai-responses.ts'

function decode(codec: Codec<unknown>, foreign: unknown): readonly Message[] {
  let made = 0
  return codec.decode(foreign, { ids: () => `m${++made}`, sha256 }).messages
}

const said = (messages: readonly Message[], kind: string) =>
  messages.flatMap(({ parts }) => parts).filter(({ type }) => type === kind)

/** deepseek-missing-tool-output.yaml: 400 `No tool output found for tool call call-a.` */
const callsApart = {
  input: [
    { content: '<think>\ninspect inputs\n</think>', role: 'assistant' },
    { arguments: '{"path":"a"}', call_id: 'call-a', name: 'read', type: 'function_call' },
    { content: '<think>\ninspect views\n</think>', role: 'assistant' },
    { arguments: '{"path":"b"}', call_id: 'call-b', name: 'view', type: 'function_call' },
    { call_id: 'call-a', output: 'contents', type: 'function_call_output' },
    { call_id: 'call-b', output: 'rendered', type: 'function_call_output' },
    { content: 'Reply exactly: done', role: 'user' },
  ],
}

test('a result that came after other words moves to its call', () => {
  expect(checks['openai.responses']?.(callsApart)).toEqual(['input.2: no tool output found for call-a'])
  const { body, losses } = openaiResponses.encode(decode(openaiResponses, callsApart))
  const [thoughtA, callA, thoughtB, callB, outputA, outputB, question] = callsApart.input
  expect(body.input).toEqual([thoughtA, callA, outputA, thoughtB, callB, outputB, question])
  expect(losses).toEqual([
    { kind: 'message_split', messageId: 'm1' },
    { kind: 'result_moved', messageId: 'm2', part: 0 },
  ])
})

/** openai-reasoning-without-following-item.yaml: 400 `Item 'rs_...' of type 'reasoning' was provided without its required following item.` */
const answerRewritten = {
  input: [
    { content: 'What is the meaning of life?', role: 'user' },
    { encrypted_content: 'gAAAA', id: 'rs_68c4', summary: [{ text: 'Considering', type: 'summary_text' }], type: 'reasoning' },
    { content: 'The meaning of life is 42', role: 'assistant' },
    { content: 'Anything to add?', role: 'user' },
  ],
}

test('reasoning whose answer was written anew stays out', () => {
  expect(checks['openai.responses']?.(answerRewritten)).toEqual([
    'input.1: reasoning was provided without its required following item',
  ])
  const { body, losses } = openaiResponses.encode(decode(openaiResponses, answerRewritten))
  expect(body.input).toEqual(answerRewritten.input.filter(({ type }) => type !== 'reasoning'))
  expect(losses).toEqual([{ kind: 'reasoning_dropped', messageId: 'm2', part: 0 }])
})

test('reasoning stays with the answer that the API knows', () => {
  const known = { ...answerRewritten.input[2], id: 'msg_68c4', type: 'message' }
  const input = answerRewritten.input.map((item) => (item.role === 'assistant' ? known : item))
  expect(openaiResponses.encode(decode(openaiResponses, { input }))).toEqual({ body: { input }, losses: [] })
})

const parallel = {
  messages: [
    { role: 'user', content: 'Both, please.' },
    {
      role: 'assistant',
      content: null,
      tool_calls: ['a:0', 'a:0_2', 'b'].map((id) => ({
        id,
        type: 'function',
        function: { name: 'get.it', arguments: '{"n": 1.0}' },
      })),
    },
    { role: 'tool', tool_call_id: 'b', content: 'B' },
    { role: 'user', content: 'And?' },
    { role: 'tool', tool_call_id: 'a:0', content: 'A' },
  ],
}

test('Anthropic gets parallel results in one message, directly after the calls, under ids that it takes', () => {
  const { body, losses } = anthropicMessages.encode(decode(openaiChat, parallel))
  expect(body.messages).toEqual([
    { role: 'user', content: [{ type: 'text', text: 'Both, please.' }] },
    {
      role: 'assistant',
      content: ['a_0', 'a_0_2', 'b'].map((id) => ({ type: 'tool_use', id, name: 'get_it', input: { n: 1 } })),
    },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'text', text: 'B' }] },
        { type: 'tool_result', tool_use_id: 'a_0', content: [{ type: 'text', text: 'A' }] },
        {
          type: 'tool_result',
          tool_use_id: 'a_0_2',
          content: [{ type: 'text', text: 'No result was recorded for this call.' }],
          is_error: true,
        },
        { type: 'text', text: 'And?' },
      ],
    },
  ])
  expect(losses.map(({ kind }) => kind)).toEqual([
    'call_closed',
    'result_moved',
    'call_id_changed',
    'tool_name_changed',
    'call_id_changed',
    'tool_name_changed',
    'tool_name_changed',
    'messages_merged',
    'messages_merged',
    'messages_merged',
  ])
})

test('the text of arguments is kept as the model wrote it', () => {
  const { body } = openaiChat.encode(decode(openaiChat, parallel), { purpose: 'transcript' })
  expect(body).toEqual(parallel)
})

test('calls of one id in one conversation each keep their own result', () => {
  const ask = (answer: string) => [
    { role: 'assistant', content: '', tool_calls: [{ id: '0', type: 'function', function: { name: 'f', arguments: '{}' } }] },
    { role: 'tool', tool_call_id: '0', content: answer },
  ]
  const messages = [{ role: 'user', content: 'Go.' }, ...ask('first'), ...ask('second')]
  const { body } = anthropicMessages.encode(decode(openaiChat, { messages }))
  expect(body.messages.flatMap(({ content }) => content as object[]).filter((block) => 'tool_use_id' in block)).toEqual([
    { type: 'tool_result', tool_use_id: '0', content: [{ type: 'text', text: 'first' }] },
    { type: 'tool_result', tool_use_id: '0_2', content: [{ type: 'text', text: 'second' }] },
  ])
})

const call = (extra: Partial<Extract<Part, { type: 'tool_call' }>> = {}): Part => ({
  type: 'tool_call',
  callId: 'c',
  name: 'rm',
  args: { raw: '{}', json: {}, valid: true },
  executor: { kind: 'client' },
  ...extra,
})
const conversation = (...answers: Part[][]): Message[] => [
  { v: 1, id: 'q', role: 'user', parts: [{ type: 'text', text: 'Do it.' }] },
  ...answers.map((parts, i): Message => ({ v: 1, id: `a${i}`, role: 'assistant', parts })),
]

const result = (text: string, extra: Partial<Extract<Part, { type: 'tool_result' }>> = {}): Part => ({
  type: 'tool_result',
  callId: 'c',
  status: 'ok',
  content: [{ type: 'text', text }],
  ...extra,
})

test('what an answer says after a result is another answer', () => {
  const { body, losses } = anthropicMessages.encode(conversation([call(), result('gone'), { type: 'text', text: 'Done.' }]))
  expect(body.messages.slice(1)).toEqual([
    { role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'rm', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c', content: [{ type: 'text', text: 'gone' }] }] },
    { role: 'assistant', content: [{ type: 'text', text: 'Done.' }] },
  ])
  expect(losses).toEqual([{ kind: 'message_split', messageId: 'a0' }])
})

test('a result belongs to the nearest call of its id, unless it names the message of another', () => {
  const resultsOf = (answer: Part) =>
    openaiChat
      .encode([...conversation([call()], [call()]), { v: 1, id: 'r', role: 'tool', parts: [answer] }])
      .body.messages.filter(({ role }) => role === 'tool')
      .map(({ content }) => content)
  expect(resultsOf(result('R'))).toEqual(['No result was recorded for this call.', 'R'])
  expect(resultsOf(result('R', { callMessageId: 'a0' }))).toEqual(['R', 'No result was recorded for this call.'])
})

test('a tool that takes free text gets its result as one of those, also when we ran it', () => {
  const [answer] = decode(openaiResponses, [{ type: 'custom_tool_call', call_id: 'c', name: 'patch', input: '*** Begin' }])
  const { body } = openaiResponses.encode([answer as Message, { v: 1, id: 'r', role: 'tool', parts: [result('ok')] }])
  expect(body.input).toEqual([
    { type: 'custom_tool_call', call_id: 'c', name: 'patch', input: '*** Begin' },
    { type: 'custom_tool_call_output', call_id: 'c', output: 'ok' },
  ])
})

test('two message items of one answer stay two, even when a part of them is left out', () => {
  const item = (id: string, ...texts: string[]) => ({
    type: 'message',
    id,
    role: 'assistant',
    content: texts.map((text) => ({ type: 'output_text', text, annotations: [] })),
  })
  const [answer] = decode(openaiResponses, [item('msg_1', 'one'), item('msg_2', 'two', 'three')])
  const pruned = { ...(answer as Message), parts: (answer as Message).parts.filter((_, i) => i !== 1) }
  expect(openaiResponses.encode([pruned]).body.input).toEqual([item('msg_1', 'one'), item('msg_2', 'three')])
})

test('answers and results up to the next question are one UI message, a step each', () => {
  const messages = [...conversation([call()]), { v: 1 as const, id: 'r', role: 'tool' as const, parts: [result('gone')] }]
  const { body, losses } = aiSdkUi.encode([
    ...messages,
    { v: 1, id: 'a1', role: 'assistant', parts: [{ type: 'text', text: 'Done.' }] },
  ])
  expect(body.messages[1]).toEqual({
    id: 'a0',
    role: 'assistant',
    parts: [
      { type: 'step-start' },
      { type: 'dynamic-tool', toolName: 'rm', toolCallId: 'c', input: {}, state: 'output-available', output: 'gone' },
      { type: 'step-start' },
      { type: 'text', text: 'Done.' },
    ],
  })
  expect(losses).toEqual([])
})

test('a UI call that goes on after it was stored keeps its title and gets its new state', () => {
  const part = { type: 'tool-rm', toolCallId: 'c', state: 'input-streaming', input: {}, title: 'Remove' }
  const stored = decode(aiSdkUi, [{ id: 'a1', role: 'assistant', parts: [part] }])
  expect(aiSdkUi.encode(stored, { purpose: 'transcript' }).body.messages).toEqual([
    { id: 'a1', role: 'assistant', parts: [part] },
  ])
  const { body } = aiSdkUi.encode([...stored, { v: 1, id: 'r', role: 'tool', parts: [result('gone')] }])
  expect(body.messages[0]?.parts).toEqual([{ ...part, state: 'output-available', output: 'gone' }])
})

test('what LangChain counted inside of its input is counted apart', () => {
  const usage_metadata = {
    input_tokens: 10,
    output_tokens: 2,
    input_token_details: { cache_read: 4, cache_creation: 3, ephemeral_5m_input_tokens: 2 },
  }
  const response_metadata = { model_name: 'claude', model_provider: 'anthropic', stop_reason: 'tool_use' }
  const [message] = decode(langChain, [{ type: 'ai', content: 'Hi', usage_metadata, response_metadata }])
  expect(message?.model).toEqual({
    provider: 'anthropic',
    id: 'claude',
    stop: { unified: 'tool_calls', raw: 'tool_use' },
    usage: { input: 3, output: 2, cacheRead: 4, cacheWrite: { ttl5m: 2, ttl1h: 0, other: 1 }, reasoning: 0, raw: usage_metadata },
  })
})

test('JSON is the same whatever the order of its keys, and not when a list is longer', () => {
  expect(sameJson({ a: [1, { b: null, c: 2 }] }, { a: [1, { c: 2, b: null }] })).toBe(true)
  expect(sameJson([1], [1, 2])).toBe(false)
  expect(sameJson([], {})).toBe(false)
  expect(sameJson({ a: 1 }, { b: 1 })).toBe(false)
})

test('a call that was denied says so where approvals have no place, and leaves it to the AI SDK where they have', () => {
  const messages = conversation([
    call(),
    { type: 'approval', approvalId: 'p', callId: 'c', decision: 'denied', reason: 'too risky' },
  ])
  const chat = openaiChat.encode(messages)
  expect(chat.body.messages.at(-1)).toEqual({ role: 'tool', tool_call_id: 'c', content: 'Denied: too risky' })
  expect(chat.losses.map(({ kind }) => kind)).toEqual(['approval_dropped', 'call_closed'])

  const sdk = aiSdkModel.encode(messages)
  expect(sdk.body.messages.slice(1)).toEqual([
    {
      role: 'assistant',
      content: [
        { type: 'tool-call', toolCallId: 'c', toolName: 'rm', input: {} },
        { type: 'tool-approval-request', approvalId: 'p', toolCallId: 'c' },
      ],
    },
    { role: 'tool', content: [{ type: 'tool-approval-response', approvalId: 'p', approved: false, reason: 'too risky' }] },
  ])
  expect(sdk.losses).toEqual([])
})

test("Gemini gets the first of another model's calls signed as Google says, and its own as they were", () => {
  const signed = (messages: readonly Message[]) =>
    geminiContents
      .encode(messages)
      .body.contents.flatMap(({ parts }) =>
        (parts as { functionCall?: object; thoughtSignature?: string }[])
          .filter(({ functionCall }) => functionCall)
          .map(({ thoughtSignature }) => thoughtSignature),
      )
  expect(signed(conversation([call(), call({ callId: 'd' })]))).toEqual(['skip_thought_signature_validator', undefined])
  const own = {
    contents: [
      { role: 'user', parts: [{ text: 'Go' }] },
      { role: 'model', parts: [{ functionCall: { name: 'rm', args: {} }, thoughtSignature: 'c2ln' }] },
    ],
  }
  const decoded = decode(geminiContents, own)
  expect(signed(decoded)).toEqual(['c2ln'])
  expect(geminiContents.encode(decoded).body.contents.slice(0, 2)).toEqual(own.contents)
  expect(decoded[1]?.parts[0]?.raw).toBeUndefined()
})

test('thinking goes back with its signature, to no one else, and never at the end of an answer', () => {
  const thinking = { type: 'thinking', thinking: 'hm', signature: 'c2ln' }
  const messages = decode(anthropicMessages, [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: [thinking, { type: 'text', text: 'Hello' }] },
  ])
  expect(anthropicMessages.encode(messages)).toMatchObject({ body: { messages: [{}, { content: [thinking, {}] }] }, losses: [] })
  for (const other of [openaiChat, openaiResponses, geminiContents]) {
    const { body, losses } = other.encode(messages)
    expect(JSON.stringify(body)).not.toContain('c2ln')
    expect(losses).toEqual([{ kind: 'reasoning_dropped', messageId: 'm2', part: 0 }])
  }
  const unfinished = decode(anthropicMessages, [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: [thinking] },
  ])
  expect(anthropicMessages.encode(unfinished).body.messages).toHaveLength(1)
})

test('a server tool that paused may go on in the last answer only', () => {
  const use = { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} }
  const answer = { role: 'assistant', content: [{ type: 'text', text: 'I look.' }, use] }
  const paused = [{ role: 'user', content: 'Look' }, answer]
  expect(anthropicMessages.encode(decode(anthropicMessages, paused)).losses).toEqual([])
  const left = [...paused, { role: 'user', content: 'Never mind' }, { role: 'assistant', content: 'Fine' }]
  expect(anthropicMessages.encode(decode(anthropicMessages, left)).losses).toEqual([
    { kind: 'server_tool_dropped', messageId: 'm2', part: 1 },
  ])
})

test('results of server tools come back as the importers of sessions keep them', () => {
  const payload = {
    type: 'web_search_tool_result',
    tool_use_id: 's1',
    content: [{ type: 'web_search_result', encrypted_content: 'e' }],
  }
  const origin = { provider: 'anthropic', api: 'messages' }
  const messages = conversation([
    call({ callId: 's1', name: 'web_search', executor: { kind: 'provider' }, origin }),
    {
      type: 'tool_result',
      callId: 's1',
      status: 'ok',
      content: [{ type: 'custom', kind: 'anthropic.web_search_tool_result', payload }],
      origin,
    },
    { type: 'text', text: 'Found.' },
  ])
  expect(anthropicMessages.encode(messages).body.messages[1]).toEqual({
    role: 'assistant',
    content: [{ type: 'server_tool_use', id: 's1', name: 'web_search', input: {} }, payload, { type: 'text', text: 'Found.' }],
  })
})

test('a call without an id is kept, and left out of requests', () => {
  const messages = [{ role: 'assistant', content: [{ type: 'tool_use', id: '', name: 'f', input: {} }] }]
  const decoded = decode(anthropicMessages, messages)
  expect(said(decoded, 'custom')).toHaveLength(1)
  expect(anthropicMessages.encode(decoded, { purpose: 'transcript' }).body.messages).toEqual(messages)
  expect(checks['anthropic.messages']?.(anthropicMessages.encode(decoded).body as never)).toEqual([])
})
