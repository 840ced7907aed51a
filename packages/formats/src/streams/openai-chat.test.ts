import { expect, test } from 'vitest'
import { callsOf, decode, only, partsOf, problemsWith, sse, stopOf, textOf } from '../../../../test/formats/streams-decoded.ts'

const chunk = (choices: readonly object[], fields: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'gpt',
  choices,
  ...fields,
})
const say = (delta: object, fields: object = {}) => chunk([{ index: 0, delta, finish_reason: null }], fields)
const finish = (finish_reason: string, fields: object = {}) => chunk([{ index: 0, delta: {}, finish_reason }], fields)
const call = (fields: object, index: number | undefined = 0) =>
  say({ tool_calls: [{ ...(index !== undefined && { index }), ...fields }] })
const named = (id: string, name: string, args?: string | null) => ({ id, type: 'function', function: { name, arguments: args } })
const args = (text: string) => ({ function: { arguments: text } })
const usage = (prompt_tokens: number, completion_tokens: number, fields: object = {}) => ({
  prompt_tokens,
  completion_tokens,
  ...fields,
})
const done = '[DONE]'

function read(...payloads: readonly unknown[]) {
  const decoded = decode('openai-chat', sse(...payloads))
  expect(problemsWith(decoded)).toEqual([])
  return decoded
}

test('an answer grows by its deltas; its reason and the usage come in chunks of their own, before [DONE]', () => {
  const decoded = read(
    say({ role: 'assistant', content: '' }),
    say({ content: 'He' }),
    say({ content: 'y' }),
    finish('stop'),
    chunk([], {
      usage: usage(9, 2, { prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 1 } }),
    }),
    done,
  )
  expect(only(decoded.messages)).toMatchObject({
    id: 'chatcmpl-1',
    role: 'assistant',
    createdAt: 1_700_000_000_000_000,
    parts: [{ type: 'text', text: 'Hey' }],
    model: {
      provider: 'openai',
      api: 'chat',
      id: 'gpt',
      responseId: 'chatcmpl-1',
      stop: { unified: 'end', raw: 'stop' },
      usage: { input: 5, cacheRead: 4, output: 2, reasoning: 1 },
    },
  })
})

test('interleaved choices are answers of their own; the usage of them all is told once', () => {
  const at = (index: number, delta: object, finish_reason: string | null = null) => chunk([{ index, delta, finish_reason }])
  const decoded = read(
    at(0, { content: 'a' }),
    at(1, { content: 'x' }),
    at(0, { content: 'b' }),
    at(1, { content: 'y' }),
    at(1, {}, 'stop'),
    at(0, {}, 'length'),
    chunk([], { usage: usage(1, 4) }),
    done,
  )
  expect(decoded.messages.map(({ id, parts }) => [id, parts])).toMatchObject([
    ['chatcmpl-1', [{ text: 'ab' }]],
    ['chatcmpl-1#1', [{ text: 'xy' }]],
  ])
  expect(stopOf(decoded).map((stop) => stop?.unified)).toEqual(['length', 'end'])
  expect(decoded.messages.map(({ model }) => model?.usage?.output)).toEqual([4, undefined])
})

test('the first chunk may have no id, no model and no choices, as at Azure', () => {
  const decoded = read(chunk([], { id: '', model: '', object: '', created: 0 }), say({ content: 'a' }), finish('stop'), done)
  expect(only(decoded.messages)).toMatchObject({ id: 'chatcmpl-1', createdAt: 1_700_000_000_000_000, model: { id: 'gpt' } })
})

test('a refusal comes instead of content', () => {
  const decoded = read(
    say({ content: null, refusal: '' }),
    say({ refusal: "I'm " }),
    say({ refusal: 'sorry' }),
    finish('stop'),
    done,
  )
  expect(partsOf(decoded)).toEqual([{ type: 'refusal', text: "I'm sorry" }])
  expect(stopOf(decoded)).toEqual([{ unified: 'refusal', raw: 'stop' }])
})

test('id and name come in the first piece of a call; pieces of parallel calls are told apart by index', () => {
  const decoded = read(
    call(named('a', 'f', ''), 0),
    call(args('{"x"'), 0),
    call(named('b', 'g', ''), 1),
    call(args('{}'), 1),
    call(args(':1}'), 0),
    finish('tool_calls'),
    done,
  )
  expect(callsOf(decoded)).toMatchObject([
    { callId: 'a', name: 'f', args: { raw: '{"x":1}', json: { x: 1 }, valid: true }, executor: { kind: 'client' } },
    { callId: 'b', name: 'g', args: { raw: '{}', valid: true } },
  ])
  expect(stopOf(decoded)).toEqual([{ unified: 'tool_calls', raw: 'tool_calls' }])
})

test('the index of calls may start at 1', () => {
  expect(callsOf(read(call(named('a', 'f', ''), 1), call(args('{}'), 1), finish('tool_calls'), done))).toMatchObject([
    { callId: 'a' },
  ])
})

test('the id may be empty, and the name empty or repeated, in later pieces', () => {
  const decoded = read(
    call(named('a', 'f', '')),
    call({ id: '', ...args('{"x"') }),
    call({ function: { name: '', arguments: ':' } }),
    call({ function: { name: 'f', arguments: '1}' } }),
    finish('tool_calls'),
    done,
  )
  expect(callsOf(decoded)).toMatchObject([{ callId: 'a', name: 'f', args: { raw: '{"x":1}', valid: true } }])
})

test('a call that is sent twice, with id, name and whole arguments, is one call', () => {
  const whole = call(named('a', 'f', '{"x":1}'))
  const decoded = read(whole, whole, finish('tool_calls'), done)
  expect(only(callsOf(decoded)).args.raw).toBe('{"x":1}')
  expect(only(decoded.notices)).toMatchObject({ kind: 'repeated' })
})

test('a call that is sent again with more of its arguments grows by what is new', () => {
  const decoded = read(call(named('a', 'f', '{"x"')), call(named('a', 'f', '{"x":1}')), finish('tool_calls'), done)
  expect(only(callsOf(decoded)).args.raw).toBe('{"x":1}')
})

test('id, name and empty arguments first, then all of it again, is one call, as in a recorded stream', () => {
  const decoded = read(call(named('0', 'f', '')), call(named('0', 'f', '{}')), done)
  expect(callsOf(decoded)).toMatchObject([{ callId: '0', args: { raw: '{}', valid: true } }])
})

test('servers that give every call the same index, or none, still make several calls', () => {
  const same = read(call(named('a', 'f', '{}')), call(named('b', 'f', '{"x":1}')), finish('stop'), done)
  expect(callsOf(same).map(({ callId }) => callId)).toEqual(['a', 'b'])
  const none = read(
    call(named('a', 'f', '{}'), undefined),
    call(named('b', 'g', '{'), undefined),
    call(args('}'), undefined),
    done,
  )
  expect(callsOf(none).map(({ callId, args: { raw } }) => [callId, raw])).toEqual([
    ['a', '{}'],
    ['b', '{}'],
  ])
})

test('calls with one index, or none, and no id are told apart by their names and by arguments that have ended', () => {
  const nameless = (name: string, text: string) => ({ id: '', type: 'function', function: { name, arguments: text } })
  for (const index of [0, undefined]) {
    const other = read(
      call(nameless('f', '{"x"'), index),
      call(args(':1}'), index),
      call(nameless('g', ''), index),
      call(nameless('h', '{"y":'), index),
      call(args('2}'), index),
      done,
    )
    expect(callsOf(other).map(({ callId, name, args: { raw } }) => [callId, name, raw])).toEqual([
      ['call_0', 'f', '{"x":1}'],
      ['call_1', 'g', '{}'],
      ['call_2', 'h', '{"y":2}'],
    ])
    const same = read(call(nameless('f', '{"x":1}'), index), call(nameless('f', '{"x":2}'), index), done)
    expect(callsOf(same).map(({ args: { raw } }) => raw)).toEqual(['{"x":1}', '{"x":2}'])
    // Servers repeat the name with each piece.
    const pieces = read(
      call(nameless('f', '{"x":{}'), index),
      call(nameless('f', ''), index),
      call(nameless('f', '}'), index),
      done,
    )
    expect(callsOf(pieces).map(({ args: { raw } }) => raw)).toEqual(['{"x":{}}'])
    const twice = read(call(nameless('f', '{"x":1}'), index), call(nameless('f', '{"x":1}'), index), done)
    expect(only(callsOf(twice)).args.raw).toBe('{"x":1}')
    expect(only(twice.notices).kind).toBe('repeated')
  }
})

test('arguments that come as an object are what the tool is called with, in a delta and in a whole message', () => {
  const given = { id: 'a', type: 'function', function: { name: 'f', arguments: { x: 1, y: ['z'] } } }
  const whole = chunk([{ index: 0, message: { role: 'assistant', tool_calls: [given] }, finish_reason: 'tool_calls' }])
  for (const decoded of [
    read(call(given), finish('tool_calls'), done),
    read(whole, done),
    read(say({ function_call: given.function }), finish('function_call'), done),
  ]) {
    expect(only(callsOf(decoded)).args).toEqual({ raw: '{"x":1,"y":["z"]}', json: { x: 1, y: ['z'] }, valid: true })
    expect(decoded.notices).toEqual([])
  }
})

test.each([[5], [true], [['x']], [[]], [false]])(
  'arguments %j are told, kept as text, and nothing that a tool can be called with',
  (value) => {
    const decoded = read(
      call({ id: 'a', type: 'function', function: { name: 'f', arguments: value } }),
      finish('tool_calls'),
      done,
    )
    expect(only(callsOf(decoded)).args).toEqual({ raw: JSON.stringify(value), valid: false })
    expect(only(decoded.notices).kind).toBe('unreadable')
  },
)

test('an id that changes while the arguments are open does not begin another call', () => {
  const decoded = read(call(named('a', 'f', '{"x"')), call(named('b', 'f', ':1}')), finish('tool_calls'), done)
  expect(callsOf(decoded)).toMatchObject([{ callId: 'a', args: { raw: '{"x":1}' } }])
})

test.each([[null], [''], [undefined]])('arguments %j, and none after, are an empty object', (none) => {
  const decoded = read(call(named('a', 'f', none)), finish('tool_calls'), done)
  expect(only(callsOf(decoded)).args).toEqual({ raw: '{}', json: {}, valid: true })
})

test('a call without an id gets one from its index; so does the older function_call', () => {
  expect(callsOf(read(call({ function: { name: 'f', arguments: '{}' } }, 2), done))).toMatchObject([{ callId: 'call_2' }])
  const legacy = read(
    say({ function_call: { name: 'f', arguments: '{' } }),
    say({ function_call: { arguments: '}' } }),
    finish('function_call'),
    done,
  )
  expect(callsOf(legacy)).toMatchObject([{ callId: 'call_0', name: 'f', args: { raw: '{}' } }])
  expect(stopOf(legacy)).toEqual([{ unified: 'tool_calls', raw: 'function_call' }])
})

test('without a finish_reason, [DONE] ends a whole answer; what it holds says why it stopped', () => {
  expect(stopOf(read(say({ content: 'a' }), done))).toEqual([{ unified: 'end', raw: null }])
  expect(stopOf(read(call(named('a', 'f', '{}')), done))).toEqual([{ unified: 'tool_calls', raw: null }])
})

test('of two finish_reasons the first counts', () => {
  expect(stopOf(read(call(named('a', 'f', '{}')), finish('tool_calls'), finish('stop'), done))).toEqual([
    { unified: 'tool_calls', raw: 'tool_calls' },
  ])
})

test('"stop" beside calls means that the calls are to be made', () => {
  expect(stopOf(read(call(named('a', 'f', '{}')), finish('stop'), done))).toEqual([{ unified: 'tool_calls', raw: 'stop' }])
})

test.each([
  ['length', 'length'],
  ['content_filter', 'content_filter'],
  ['model_length', 'length'],
  ['eos', 'end'],
  ['toString', 'other'],
])('finish_reason %s is %s', (raw, unified) => {
  expect(stopOf(read(say({ content: 'a' }), finish(raw), done))).toEqual([{ unified, raw }])
})

test('a call that is cut by length is kept as text', () => {
  expect(callsOf(read(call(named('a', 'f', '{"x')), finish('length'), done))).toMatchObject([
    { args: { raw: '{"x', valid: false } },
  ])
  expect(callsOf(read(call(named('a', 'f', '')), finish('length'), done))).toMatchObject([{ args: { raw: '', valid: false } }])
})

test.each([['reasoning_content'], ['reasoning']])('reasoning comes under %s, and is one part before the text', (field) => {
  const decoded = read(say({ [field]: 'I ' }), say({ [field]: 'think' }), say({ content: 'Hi' }), finish('stop'), done)
  expect(partsOf(decoded)).toEqual([
    { type: 'reasoning', text: 'I think', redacted: false, origin: { provider: 'openai', api: 'chat' } },
    { type: 'text', text: 'Hi' },
  ])
})

test('reasoning that a server writes under two names is told once', () => {
  expect(partsOf(read(say({ reasoning: 'a', reasoning_content: 'a' }), done))).toMatchObject([{ text: 'a' }])
})

test('reasoning details are joined by type and index, and kept to be sent back', () => {
  const detail = (fields: object) => say({ reasoning: null, reasoning_details: [fields] })
  const decoded = read(
    detail({ type: 'reasoning.text', index: 0, text: 'I ' }),
    detail({ type: 'reasoning.text', index: 0, text: 'think', signature: 'sig' }),
    detail({ type: 'reasoning.encrypted', index: 1, data: 'enc', id: 'rs_1' }),
    done,
  )
  expect(partsOf(decoded)).toEqual([
    {
      type: 'reasoning',
      text: 'I think',
      signature: 'sig',
      encrypted: 'enc',
      redacted: false,
      origin: { provider: 'openai', api: 'chat' },
      providerMetadata: {
        reasoning_details: [
          { type: 'reasoning.text', index: 0, text: 'I think', signature: 'sig' },
          { type: 'reasoning.encrypted', index: 1, data: 'enc', id: 'rs_1' },
        ],
      },
    },
  ])
})

test('encrypted details are never joined, though they have no index', () => {
  const secret = (data: string) => say({ reasoning_details: [{ type: 'reasoning.encrypted', data }] })
  expect(partsOf(read(secret('a'), secret('b'), done))).toMatchObject([
    { providerMetadata: { reasoning_details: [{ data: 'a' }, { data: 'b' }] } },
  ])
})

test('the time of an answer is the first that is not 0', () => {
  const decoded = read(
    say({ content: 'a' }, { created: 0 }),
    say({ content: 'b' }, { created: 5 }),
    finish('stop', { created: 6 }),
    done,
  )
  expect(only(decoded.messages).createdAt).toBe(5_000_000)
})

test('content may be a list of parts, as Mistral writes its thoughts', () => {
  const decoded = read(
    say({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }] }),
    say({
      content: [
        { type: 'text', text: 'Hi' },
        { type: 'hologram', x: 1 },
      ],
    }),
    done,
  )
  expect(partsOf(decoded)).toMatchObject([
    { type: 'reasoning', text: 'hm' },
    { type: 'text', text: 'Hi' },
    { type: 'custom', kind: 'openai.hologram', payload: { type: 'hologram', x: 1 } },
  ])
})

test('usage in every chunk replaces itself and is never added up', () => {
  const decoded = read(
    say({ content: 'a' }, { usage: usage(10, 1) }),
    say({ content: 'b' }, { usage: usage(10, 2) }),
    finish('stop', { usage: usage(10, 3) }),
  )
  expect(only(decoded.messages).model?.usage).toMatchObject({ input: 10, output: 3 })
})

test('usage is found where Groq and DeepSeek put it', () => {
  const groq = read(say({ content: 'a' }), finish('stop', { x_groq: { usage: usage(3, 4) } }))
  expect(only(groq.messages).model?.usage).toMatchObject({ input: 3, output: 4 })
  const deepseek = read(say({ content: 'a' }), finish('stop', { usage: usage(10, 1, { prompt_cache_hit_tokens: 8 }) }))
  expect(only(deepseek.messages).model?.usage).toMatchObject({ input: 2, cacheRead: 8 })
})

test('reasoning that a server counts beside the output is part of ours', () => {
  const details = { completion_tokens_details: { reasoning_tokens: 227 } }
  const xai = read(say({ content: 'a' }), finish('stop', { usage: usage(307, 26, { total_tokens: 560, ...details }) }))
  expect(only(xai.messages).model?.usage).toMatchObject({ output: 253, reasoning: 227 })
  const openai = read(say({ content: 'a' }), finish('stop', { usage: usage(307, 253, { total_tokens: 560, ...details }) }))
  expect(only(openai.messages).model?.usage).toMatchObject({ output: 253, reasoning: 227 })
})

test('costs are millionths of a dollar, from dollars or from ticks', () => {
  const cost = (fields: object) =>
    only(read(say({ content: 'a' }), finish('stop', { usage: usage(1, 1, fields) })).messages).model?.usage?.costMicros
  expect(cost({ cost: 0.0014925 })).toBe(1_493)
  expect(cost({ cost_in_usd_ticks: 1_497_500 })).toBe(150)
  expect(cost({ cost: -1 })).toBeUndefined()
})

test('comment lines, and chat.completion.done instead of [DONE], are read', () => {
  const text = `: OPENROUTER PROCESSING\n\n${sse(say({ content: 'a' }))}: OPENROUTER PROCESSING\n\n${sse(finish('stop', { object: 'chat.completion.done' }))}`
  const decoded = decode('openai-chat', text)
  expect(textOf(decoded)).toBe('a')
  expect(only(decoded.ended).interrupted).toBeUndefined()
})

test('sources that each chunk repeats become parts once, numbered as the text cites them', () => {
  const sources = { citations: ['https://a.example', 'https://b.example'] }
  const decoded = read(
    say({ content: 'a[1]' }, sources),
    finish('stop', { ...sources, search_results: [{ url: 'https://c.example', title: 'C' }] }),
  )
  expect(partsOf(decoded)).toEqual([
    { type: 'text', text: 'a[1]' },
    { type: 'citation_source', sourceId: '1', url: 'https://c.example', title: 'C' },
  ])
  expect(partsOf(read(say({ content: 'a' }, sources), finish('stop', sources))).slice(1)).toMatchObject([
    { sourceId: '1', url: 'https://a.example' },
    { sourceId: '2', url: 'https://b.example' },
  ])
})

test('annotations of the text are citations', () => {
  const url_citation = { url: 'https://a.example', title: 'A', start_index: 0, end_index: 3 }
  const decoded = read(
    say({ content: 'abc' }),
    say({ annotations: [{ type: 'url_citation', url_citation }] }),
    finish('stop'),
    done,
  )
  expect(partsOf(decoded)).toMatchObject([
    { text: 'abc', citations: [{ kind: 'url_citation', url: 'https://a.example', title: 'A', start: 0, end: 3 }] },
  ])
})

test('log probabilities go with the deltas, and are not kept', () => {
  const logprobs = { content: [{ token: 'a', logprob: -0.1 }], refusal: null }
  const decoded = read(chunk([{ index: 0, delta: { content: 'a' }, logprobs }]), done)
  expect(decoded.events).toContainEqual(
    expect.objectContaining({ delta: { kind: 'text', text: 'a', logprobs: logprobs.content } }),
  )
  expect(JSON.stringify(decoded.messages)).not.toContain('logprob')
})

test('event: error in the middle of a 200 ends the answer, with what arrived', () => {
  const error = {
    error: { message: 'Tool call validation failed', type: 'invalid_request_error', code: 'tool_use_failed', status_code: 400 },
  }
  const decoded = decode('openai-chat', `${sse(say({ reasoning: 'hm' }))}event: error\ndata: ${JSON.stringify(error)}\n\n`)
  expect(problemsWith(decoded)).toEqual([])
  expect(only(decoded.errors)).toMatchObject({ kind: 'tool_use', status: 400, code: 'tool_use_failed', raw: error })
  expect(only(decoded.ended)).toMatchObject({ interrupted: true, message: { parts: [{ text: 'hm' }] } })
  expect(stopOf(decoded)).toEqual([{ unified: 'error', raw: null }])
})

test.each([
  ['a chunk with an error', sse({ ...say({ content: '' }), error: { code: 502, message: 'Upstream' } }), 'server'],
  ['a bare line', '{"error":{"message":"Slow down","type":"rate_limit_error"}}\n', 'rate_limit'],
  ['an error object', sse({ object: 'error', message: 'bad', type: 'BadRequestError', code: 400 }), 'invalid_request'],
  ['text', 'event: error\ndata: upstream connect error\n\n', 'unknown'],
  ['a detail', sse({ detail: 'Not found' }), 'unknown'],
])('an error may come as %s', (_, text, kind) => {
  const decoded = decode('openai-chat', sse(say({ content: 'a' })) + text)
  expect(problemsWith(decoded)).toEqual([])
  expect(only(decoded.errors)).toMatchObject({ kind })
  expect(only(decoded.ended).interrupted).toBe(true)
})

test('a stream that is cut ends each open choice as interrupted, and no other', () => {
  const at = (index: number, delta: object, finish_reason: string | null = null) => chunk([{ index, delta, finish_reason }])
  const decoded = read(at(0, { content: 'a' }), at(1, { content: 'b' }), at(0, {}, 'stop'))
  expect(decoded.ended.map(({ interrupted }) => interrupted)).toEqual([undefined, true])
})

test('several responses in one file of payloads: another id with content begins the next', () => {
  const other = { id: 'chatcmpl-2' }
  const decoded = read(
    say({ content: 'a' }),
    finish('stop'),
    chunk([], { usage: usage(1, 1) }),
    say({ role: 'assistant', content: '' }, other),
    say({ content: 'b' }, other),
    finish('stop', other),
  )
  expect(decoded.messages.map(({ id, parts }) => [id, parts])).toMatchObject([
    ['chatcmpl-1', [{ text: 'a' }]],
    ['chatcmpl-2', [{ text: 'b' }]],
  ])
})

test('an id that changes inside an answer, or with its usage, does not begin another', () => {
  const last = say({ role: 'assistant', content: '' }, { id: 'z', usage: usage(1, 1) })
  const decoded = read(say({ content: 'a' }), say({ content: 'b' }, { id: 'x' }), finish('stop', { id: 'y' }), last, done)
  expect(textOf(decoded)).toBe('ab')
  expect(only(decoded.messages)).toMatchObject({ id: 'chatcmpl-1', model: { usage: { output: 1 } } })
})

test('a server that ends with the whole message does not say it twice', () => {
  const message = { role: 'assistant', content: 'ab' }
  const whole = chunk([{ index: 0, message, finish_reason: 'stop' }])
  expect(textOf(read(say({ content: 'ab' }), whole, done))).toBe('ab')
  expect(textOf(read(whole, done))).toBe('ab')
})

test('a field of a delta that we do not know is told, once', () => {
  const decoded = read(say({ content: 'a', channel: 'analysis' }), say({ content: 'b', channel: 'analysis' }), done)
  expect(only(decoded.notices)).toMatchObject({ kind: 'unknown', problem: expect.stringContaining('"channel"') as string })
})

test('an event that is no chunk is told', () => {
  expect(only(read(say({ content: 'a' }), { hello: 1 }, done).notices)).toMatchObject({ kind: 'unknown', raw: { hello: 1 } })
})

test('events without a blank line between them are read one by one', () => {
  const text = sse(say({ content: 'a' }), say({ content: 'b' }), done).replaceAll('\n\n', '\n')
  expect(textOf(decode('openai-chat', text))).toBe('ab')
})
