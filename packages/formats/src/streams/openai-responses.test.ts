import { expect, test } from 'vitest'
import {
  callsOf,
  decode,
  decodedFrom,
  only,
  partsOf,
  problemsWith,
  sse,
  stopOf,
  textOf,
} from '../../../../test/formats/streams-decoded.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { createOpenAIResponsesDecoder } from './openai-responses.ts'

/** Events of one response, numbered in their order. */
function numbered(...events: readonly object[]): object[] {
  return events.map((event, sequence_number) => ({ ...event, sequence_number }))
}
const created = (fields: object = {}) => ({
  type: 'response.created',
  response: { id: 'resp_1', model: 'gpt', status: 'in_progress', output: [], created_at: 1_700_000_000, ...fields },
})
const usage = {
  input_tokens: 10,
  input_tokens_details: { cached_tokens: 4 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 2 },
}
const completed = (fields: object = {}, verb = 'completed') => ({
  type: `response.${verb}`,
  response: { id: 'resp_1', model: 'gpt', status: verb, output: [], usage, ...fields },
})
const added = (output_index: number, item: object) => ({ type: 'response.output_item.added', output_index, item })
const itemDone = (output_index: number, item: object) => ({ type: 'response.output_item.done', output_index, item })
const event = (type: string, output_index: number, fields: object) => ({ type: `response.${type}`, output_index, ...fields })
const said = (text: string, fields: object = {}) => ({ type: 'output_text', text, annotations: [], ...fields })
const message = (content: readonly object[], fields: object = {}) => ({
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  content,
  ...fields,
})
const text = (output_index: number, delta: string, content_index = 0) =>
  event('output_text.delta', output_index, { content_index, delta })
const call = (fields: object = {}) => ({
  type: 'function_call',
  id: 'fc_1',
  call_id: 'call_1',
  name: 'f',
  arguments: '',
  ...fields,
})
const args = (output_index: number, delta: string) => event('function_call_arguments.delta', output_index, { delta })

function read(...payloads: readonly unknown[]) {
  const decoded = decode('openai-responses', sse(...payloads))
  expect(problemsWith(decoded)).toEqual([])
  return decoded
}

test('an answer grows by the deltas of its items and ends with what they say whole', () => {
  const decoded = read(
    ...numbered(
      created(),
      added(0, message([])),
      event('content_part.added', 0, { content_index: 0, part: said('') }),
      text(0, 'He'),
      text(0, 'y'),
      event('output_text.done', 0, { content_index: 0, text: 'Hey' }),
      event('content_part.done', 0, { content_index: 0, part: said('Hey') }),
      itemDone(0, message([said('Hey')], { phase: 'final_answer' })),
      completed(),
    ),
  )
  expect(decoded.notices).toEqual([])
  expect(only(decoded.messages)).toEqual({
    v: 1,
    id: 'resp_1',
    role: 'assistant',
    createdAt: 1_700_000_000_000_000,
    parts: [{ type: 'text', id: 'msg_1', text: 'Hey', providerMetadata: { phase: 'final_answer' } }],
    model: {
      provider: 'openai',
      api: 'responses',
      id: 'gpt',
      responseId: 'resp_1',
      stop: { unified: 'end', raw: 'completed' },
      usage: {
        input: 6,
        output: 7,
        cacheRead: 4,
        cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
        reasoning: 2,
        raw: usage,
      },
    },
  })
})

test('arguments.done repeats the whole, and brings it where no delta came', () => {
  const whole = call({ arguments: '{"x":1}' })
  const done = event('function_call_arguments.done', 0, { arguments: '{"x":1}' })
  for (const deltas of [[], [args(0, '{"x"')], [args(0, '{"x"'), args(0, ':1}')]]) {
    const decoded = read(...numbered(created(), added(0, call()), ...deltas, done, itemDone(0, whole), completed()))
    expect(callsOf(decoded)).toMatchObject([
      {
        id: 'fc_1',
        callId: 'call_1',
        name: 'f',
        args: { raw: '{"x":1}', json: { x: 1 }, valid: true },
        executor: { kind: 'client' },
      },
    ])
    expect(stopOf(decoded)).toEqual([{ unified: 'tool_calls', raw: 'completed' }])
  }
})

test('ids that change between added, delta and done are of one item, by its output_index', () => {
  const decoded = read(
    created({ id: 'a' }),
    { type: 'response.in_progress', response: { id: 'b' } },
    added(0, { type: 'reasoning', id: 'c', summary: [] }),
    event('reasoning_summary_text.delta', 0, { item_id: 'd', summary_index: 0, delta: 'hm' }),
    itemDone(0, { type: 'reasoning', id: 'e', summary: [{ type: 'summary_text', text: 'hm' }] }),
    added(1, message([], { id: 'f' })),
    { ...text(1, 'Hi'), item_id: 'g' },
    itemDone(1, message([said('Hi')], { id: 'h' })),
    completed({ id: 'i', output: [{ type: 'reasoning', id: 'j', summary: [] }, message([said('Hi')], { id: 'k' })] }),
  )
  expect(only(decoded.messages)).toMatchObject({
    model: { responseId: 'a' },
    parts: [
      { type: 'reasoning', id: 'e', summary: ['hm'] },
      { type: 'text', id: 'h', text: 'Hi' },
    ],
  })
})

test('events without an output_index are joined by the id of their item', () => {
  const decoded = read(
    created(),
    added(0, call({ id: 'fc_1' })),
    added(1, call({ id: 'fc_2', call_id: 'call_2' })),
    { type: 'response.function_call_arguments.delta', item_id: 'fc_1', delta: '{}' },
    { type: 'response.function_call_arguments.delta', item_id: 'fc_2', delta: '{"y":2}' },
  )
  expect(callsOf(decoded).map(({ args: { raw } }) => raw)).toEqual(['{}', '{"y":2}'])
})

test('items end in any order, and stand in that of their output_index', () => {
  const reasoning = { type: 'reasoning', id: 'rs', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] }
  const decoded = read(
    created(),
    added(0, { type: 'reasoning', id: 'rs', summary: [] }),
    event('content_part.added', 0, { content_index: 0, part: { type: 'reasoning_text', text: '' } }),
    event('reasoning_text.delta', 0, { content_index: 0, delta: 'hm' }),
    added(1, message([])),
    text(1, 'Hi'),
    itemDone(1, message([said('Hi')])),
    event('reasoning_text.done', 0, { content_index: 0, text: 'hm' }),
    itemDone(0, reasoning),
    completed({ output: [reasoning, message([said('Hi')])] }),
  )
  expect(partsOf(decoded)).toMatchObject([{ type: 'reasoning', text: 'hm' }, { type: 'text' }])
})

test('contents of one message are parts of their own: text, with annotations, and refusal', () => {
  const annotation = { type: 'url_citation', url: 'https://a.example', title: 'A', start_index: 0, end_index: 1 }
  const refusal = { type: 'refusal', refusal: 'No' }
  const decoded = read(
    created(),
    added(0, message([])),
    event('content_part.added', 0, { content_index: 0, part: said('') }),
    text(0, 'a', 0),
    event('output_text.annotation.added', 0, { content_index: 0, annotation_index: 0, annotation }),
    event('content_part.added', 0, { content_index: 1, part: { type: 'refusal', refusal: '' } }),
    event('refusal.delta', 0, { content_index: 1, delta: 'No' }),
    event('refusal.done', 0, { content_index: 1, refusal: 'No' }),
    itemDone(0, message([said('a', { annotations: [annotation] }), refusal])),
    completed(),
  )
  expect(partsOf(decoded)).toMatchObject([
    { type: 'text', text: 'a', citations: [{ kind: 'url_citation', url: 'https://a.example', start: 0, end: 1 }] },
    { type: 'refusal', text: 'No' },
  ])
  expect(stopOf(decoded)).toEqual([{ unified: 'refusal', raw: 'completed' }])
})

test('encrypted reasoning is that of the finished item', () => {
  const decoded = read(
    created(),
    added(0, { type: 'reasoning', id: 'rs', summary: [], encrypted_content: 'short' }),
    itemDone(0, { type: 'reasoning', id: 'rs', summary: [], encrypted_content: 'whole' }),
    completed(),
  )
  expect(partsOf(decoded)).toMatchObject([{ type: 'reasoning', encrypted: 'whole', redacted: false }])
})

test('the input of a custom tool is text, and the value', () => {
  const item = { type: 'custom_tool_call', id: 'ct', call_id: 'call_1', name: 'sql', input: '' }
  const decoded = read(
    created(),
    added(0, item),
    event('custom_tool_call_input.delta', 0, { delta: 'SELECT' }),
    itemDone(0, { ...item, input: 'SELECT 1' }),
    completed(),
  )
  expect(callsOf(decoded)).toMatchObject([{ name: 'sql', args: { raw: 'SELECT 1', json: 'SELECT 1', valid: true } }])
})

test('an MCP call and its output are a call and its result; one that waits for approval pauses the answer', () => {
  const mcp = {
    type: 'mcp_call',
    id: 'mcp_1',
    name: 'ask',
    server_label: 'wiki',
    arguments: '{"q":1}',
    output: null,
    error: null,
  }
  const failed = { ...mcp, id: 'mcp_2', error: 'no route' }
  const request = { type: 'mcp_approval_request', id: 'mcpr_1', name: 'ask', server_label: 'wiki', arguments: '{}' }
  const decoded = read(created(), itemDone(0, { ...mcp, output: 'yes' }), itemDone(1, failed), itemDone(2, request), completed())
  expect(partsOf(decoded)).toMatchObject([
    { type: 'tool_call', callId: 'mcp_1', executor: { kind: 'mcp', server: 'wiki' }, args: { json: { q: 1 } } },
    { type: 'tool_result', callId: 'mcp_1', status: 'ok', content: [{ text: 'yes' }] },
    { type: 'tool_call', callId: 'mcp_2' },
    { type: 'tool_result', callId: 'mcp_2', status: 'error', content: [{ text: 'no route' }] },
    { type: 'tool_call', callId: 'mcpr_1', executor: { kind: 'mcp', server: 'wiki' } },
    { type: 'approval', approvalId: 'mcpr_1', callId: 'mcpr_1' },
  ])
  expect(stopOf(decoded)).toEqual([{ unified: 'pause', raw: 'completed' }])
})

test('built-in tools that the client runs are calls to it, those of the provider are not; both keep their item', () => {
  const shell = { type: 'local_shell_call', id: 'lsh', call_id: 'call_1', action: { type: 'exec', command: ['ls'] } }
  const search = { type: 'web_search_call', id: 'ws', status: 'completed', action: { type: 'search', query: 'q' } }
  const hosted = { type: 'tool_search_call', id: 'ts', call_id: 'call_2', execution: 'server', arguments: { goal: 'g' } }
  const output = { type: 'tool_search_output', id: 'to', call_id: 'call_2', tools: [] }
  const decoded = read(created(), ...[shell, search, hosted, output].map((item, i) => itemDone(i, item)), completed())
  expect(partsOf(decoded)).toMatchObject([
    {
      callId: 'call_1',
      name: 'local_shell',
      executor: { kind: 'client' },
      args: { json: shell.action, valid: true },
      raw: shell,
    },
    { callId: 'ws', name: 'web_search', executor: { kind: 'provider' }, args: { json: search.action }, raw: search },
    { callId: 'call_2', name: 'tool_search', executor: { kind: 'provider' }, args: { json: { goal: 'g' } } },
    { type: 'tool_result', callId: 'call_2', content: [{ type: 'custom', payload: output }] },
  ])
})

test('the diff of a patch and the code of an interpreter are streamed, and kept when the stream is cut', () => {
  const patch = { type: 'apply_patch_call', id: 'ap', call_id: 'call_1', operation: { type: 'create_file', path: 'a', diff: '' } }
  const code = { type: 'code_interpreter_call', id: 'ci', container_id: 'c', code: '' }
  const decoded = read(
    created(),
    added(0, patch),
    event('apply_patch_call_operation_diff.delta', 0, { delta: '+a' }),
    added(1, code),
    event('code_interpreter_call_code.delta', 1, { delta: 'print(' }),
  )
  expect(callsOf(decoded)).toMatchObject([
    { name: 'apply_patch', args: { raw: JSON.stringify({ ...patch.operation, diff: '+a' }), valid: false } },
    { name: 'code_interpreter', args: { raw: JSON.stringify({ code: 'print(', container_id: 'c' }), valid: false } },
  ])
  expect(decoded.events).toContainEqual(expect.objectContaining({ delta: { kind: 'input', text: '+a' } }))
})

test('a generated image becomes a file beside the message; what is no canonical base64 stays in the item', () => {
  const image = { type: 'image_generation_call', id: 'ig', output_format: 'webp', result: 'aGVsbG8=' }
  const decoded = read(created(), itemDone(0, image), itemDone(1, { ...image, id: 'ig_2', result: 'cut...off' }), completed())
  const { media, message: ended } = only(decoded.ended)
  const file = only(media)
  expect([file.mediaType, new TextDecoder().decode(file.bytes)]).toEqual(['image/webp', 'hello'])
  expect(ended.parts).toMatchObject([
    { type: 'tool_call', callId: 'ig', executor: { kind: 'provider' }, raw: { result: { $media: file.hash, bytes: 5 } } },
    { type: 'tool_result', callId: 'ig', content: [{ type: 'media', kind: 'image', source: { kind: 'hash', hash: file.hash } }] },
    { type: 'tool_call', callId: 'ig_2', raw: { result: 'cut...off' } },
    { type: 'tool_result', callId: 'ig_2', content: [{ type: 'custom' }] },
  ])
})

test('items that we do not know are kept whole, compactions are opaque', () => {
  const program = { type: 'program', id: 'cm', code: 'x' }
  const compaction = { type: 'compaction', id: 'cp', encrypted_content: 'enc' }
  expect(partsOf(read(created(), itemDone(0, program), itemDone(1, compaction), completed()))).toMatchObject([
    { type: 'custom', kind: 'openai.program', payload: program },
    { type: 'compaction', opaque: 'enc' },
  ])
})

test('an error and the response.failed that repeats it are one error', () => {
  const error = { type: 'insufficient_quota', code: 'insufficient_quota', message: 'You exceeded', param: null }
  const failed = completed({ error: { code: error.code, message: error.message }, usage: null }, 'failed')
  const decoded = read(...numbered(created(), { type: 'error', error }, failed))
  expect(only(decoded.errors)).toMatchObject({ kind: 'quota', retryable: false, code: 'insufficient_quota' })
  expect(only(decoded.ended).interrupted).toBe(true)
  expect(stopOf(decoded)).toEqual([{ unified: 'error', raw: 'failed' }])
})

test('an error without response.failed ends the answer with the connection', () => {
  const flat = { type: 'error', code: 'server_error', message: 'The server had an error', param: null }
  const decoded = read(...numbered(created(), added(0, message([])), text(0, 'par'), flat))
  expect(only(decoded.errors)).toMatchObject({ kind: 'server', retryable: true })
  expect(only(decoded.ended)).toMatchObject({ interrupted: true, message: { parts: [{ text: 'par' }] } })
  expect(stopOf(decoded)).toEqual([{ unified: 'error', raw: null }])
})

test.each([
  ['max_output_tokens', 'length'],
  ['content_filter', 'content_filter'],
  ['valueOf', 'other'],
])('an incomplete response for %s stops with %s; its call is kept as text', (reason, unified) => {
  const cut = call({ arguments: '{"x', status: 'incomplete' })
  const end = completed({ incomplete_details: { reason } }, 'incomplete')
  const decoded = read(...numbered(created(), added(0, call()), args(0, '{"x'), itemDone(0, cut), end))
  expect(stopOf(decoded)).toEqual([{ unified, raw: reason }])
  expect(callsOf(decoded)).toMatchObject([{ args: { raw: '{"x', valid: false } }])
  expect(only(decoded.ended).interrupted).toBeUndefined()
})

test('a call that is incomplete before its arguments is no call without arguments', () => {
  const cut = itemDone(0, call({ status: 'incomplete' }))
  expect(callsOf(read(created(), added(0, call()), cut, completed({}, 'incomplete')))).toMatchObject([
    { args: { raw: '', valid: false } },
  ])
})

test('a stream that is cut keeps what arrived of each item', () => {
  const decoded = read(
    ...numbered(
      created(),
      added(0, { type: 'reasoning', id: 'rs', summary: [] }),
      event('reasoning_summary_part.added', 0, { summary_index: 0, part: {} }),
      event('reasoning_summary_text.delta', 0, { summary_index: 0, delta: 'one' }),
      event('reasoning_summary_text.delta', 0, { summary_index: 1, delta: 'two' }),
      added(1, message([])),
      text(1, 'Hi', 1),
      added(2, call()),
      args(2, '{"x'),
    ),
  )
  expect(only(decoded.ended).interrupted).toBe(true)
  expect(partsOf(decoded)).toMatchObject([
    { type: 'reasoning', summary: ['one', 'two'] },
    { type: 'text', text: 'Hi' },
    { type: 'tool_call', args: { raw: '{"x', valid: false } },
  ])
})

test('gateways may end with [DONE], after response.completed or instead of it', () => {
  const whole = [created(), added(0, message([])), itemDone(0, message([said('Hi')]))]
  expect(read(...numbered(...whole, completed()), '[DONE]').messages).toHaveLength(1)
  const without = read(...numbered(...whole), '[DONE]')
  expect(stopOf(without)).toEqual([{ unified: 'end', raw: 'completed' }])
  expect(only(without.ended).interrupted).toBeUndefined()
  expect(only(read(created(), added(0, message([])), text(0, 'H'), '[DONE]').ended).interrupted).toBe(true)
})

test('several responses in one file begin at response.created, and number their events anew', () => {
  const one = (id: string, words: string) =>
    numbered(created({ id }), added(0, message([])), text(0, words), itemDone(0, message([said(words)])), completed({ id }))
  const decoded = read(...one('resp_1', 'a'), ...one('resp_2', 'b'))
  expect(decoded.messages.map(({ id, parts }) => [id, parts])).toMatchObject([
    ['resp_1', [{ text: 'a' }]],
    ['resp_2', [{ text: 'b' }]],
  ])
  expect(decoded.notices).toEqual([])
})

test('a response.created of another response ends the one that is open as interrupted', () => {
  const decoded = read(created(), added(0, message([])), text(0, 'a'), created({ id: 'resp_2' }), completed({ id: 'resp_2' }))
  expect(decoded.ended.map(({ interrupted }) => interrupted)).toEqual([true, undefined])
})

test('a connection that is opened again repeats events: those with a known number are dropped', () => {
  const events = numbered(
    created(),
    added(0, message([])),
    text(0, 'He'),
    text(0, 'y'),
    itemDone(0, message([said('Hey')])),
    completed(),
  )
  const decoder = createOpenAIResponsesDecoder({ sha256 })
  const first = decoder.push(`${sse(...events.slice(0, 3))}data: {"type":"response.output_te`)
  decoder.reopen()
  const decoded = decodedFrom([...first, ...decoder.push(sse(...events.slice(1))), ...decoder.end()])
  expect(problemsWith(decoded)).toEqual([])
  expect(textOf(decoded)).toBe('Hey')
  expect(only(decoded.ended).interrupted).toBeUndefined()
  expect(decoded.notices.map(({ kind }) => kind)).toEqual(['repeated', 'repeated'])
})

test('known numbers are dropped also where a gateway gives the repeated events new ids', () => {
  const progress = { type: 'response.in_progress', response: { id: 'other' } }
  const events = numbered(created(), progress, added(0, message([])), text(0, 'a'), text(0, 'b'), completed())
  const decoded = read(...events.slice(0, 4), ...events.slice(1))
  expect(textOf(decoded)).toBe('ab')
})

test('events of a response that has ended make no other one; numbers with gaps are all taken', () => {
  const events = [created(), added(0, message([])), text(0, 'a'), itemDone(0, message([said('a')])), completed()]
  const gaps = events.map((value, i) => ({ ...value, sequence_number: 3 * i }))
  const decoded = read(...gaps, ...gaps)
  expect(decoded.messages).toHaveLength(1)
  expect(decoded.notices.map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => 'repeated'))
})

test('old streams without numbers are read; the same response.created again is dropped', () => {
  const decoded = read(
    created(),
    created(),
    added(0, message([])),
    text(0, 'a'),
    text(0, 'a'),
    itemDone(0, message([said('aa')])),
    completed(),
  )
  expect(textOf(decoded)).toBe('aa')
  expect(only(decoded.notices).kind).toBe('repeated')
})

test('an event without a number that comes after the end is told, and makes no other answer', () => {
  const decoded = read(created(), completed(), text(0, 'late'))
  expect(decoded.messages).toHaveLength(1)
  expect(only(decoded.notices).kind).toBe('repeated')
})

test('a background response that is joined late begins with whatever comes first', () => {
  const queued = { type: 'response.queued', response: { id: 'resp_1', model: 'gpt' }, sequence_number: 1 }
  const decoded = read(queued, { ...text(0, 'lo'), sequence_number: 9 }, { ...completed(), sequence_number: 12 })
  expect(only(decoded.messages)).toMatchObject({ id: 'resp_1', parts: [{ text: 'lo' }], model: { stop: { unified: 'end' } } })
})

test('what was not streamed is taken from response.completed, and nothing twice', () => {
  const output = [message([said('a')]), call({ arguments: '{}' })]
  expect(partsOf(read(created(), completed({ output })))).toMatchObject([{ text: 'a' }, { callId: 'call_1' }])
  expect(partsOf(read(created(), added(0, message([])), text(0, 'a'), completed({ output })))).toMatchObject([
    { text: 'a' },
    { callId: 'call_1' },
  ])
  // Indexes that the stream left out move the copies.
  const gap = read(
    created(),
    itemDone(0, message([said('a')])),
    itemDone(2, message([said('b')], { id: 'msg_2' })),
    completed({ output: [message([said('a')], { id: 'x' }), message([said('b')], { id: 'y' })] }),
  )
  expect(textOf(gap)).toBe('ab')
})

test('a call whose end is missing still is what the answer stopped for', () => {
  const decoded = read(created(), added(0, call()), args(0, '{"x":1}'), completed())
  expect(only(callsOf(decoded)).args).toEqual({ raw: '{"x":1}', json: { x: 1 }, valid: true })
  expect(stopOf(decoded)).toEqual([{ unified: 'tool_calls', raw: 'completed' }])
})

test('items without output_index get the next place each', () => {
  const placeless = (event: object) => ({ ...event, output_index: undefined })
  const second = { id: 'fc_2', call_id: 'call_2', name: 'g' }
  const piece = (item_id: string, delta: string) => ({ ...placeless(args(0, delta)), item_id })
  const ended = [call({ arguments: '{"x":1}' }), call({ ...second, arguments: '{"y":2}' })]
  const open = [placeless(added(0, call())), placeless(added(1, call(second)))]
  const told = [piece('fc_2', '{"y"'), piece('fc_1', '{"x":1}'), piece('fc_2', ':2}')]
  const done = ended.map((item) => placeless(itemDone(0, item)))
  for (const events of [[...open, ...told], [...open, ...told, ...done], done, [...open, ...done, ...done]])
    expect(
      callsOf(read(created(), ...events, completed())).map(({ callId, name, args: { raw } }) => [callId, name, raw]),
    ).toEqual([
      ['call_1', 'f', '{"x":1}'],
      ['call_2', 'g', '{"y":2}'],
    ])
})

test('a text that contradicts its deltas counts, and is told', () => {
  const decoded = read(created(), added(0, message([])), text(0, 'Hallo'), itemDone(0, message([said('Hello')])), completed())
  expect(textOf(decoded)).toBe('Hello')
  expect(only(decoded.notices)).toMatchObject({ kind: 'contradiction', raw: 'Hallo' })
})

test('progress says nothing; events that we do not know are told', () => {
  const progress = [
    'web_search_call.searching',
    'mcp_list_tools.completed',
    'image_generation_call.partial_image',
    'reasoning_summary_part.done',
  ]
  const unknown = event('hologram.delta', 0, { delta: 'x' })
  const decoded = read(created(), ...progress.map((type) => event(type, 0, {})), unknown, { type: 'keepalive' }, completed())
  expect(only(decoded.notices)).toMatchObject({ kind: 'unknown', raw: unknown })
})

test('lines that are no JSON are told, and what stands around them is read', () => {
  const lines = [
    '{"type":"response.created","response":{"id":"resp_1"',
    ...[added(0, call()), args(0, '{}')].map((line) => JSON.stringify(line)),
  ]
  const decoded = decode('openai-responses', lines.join('\n'))
  expect(problemsWith(decoded)).toEqual([])
  expect(only(decoded.notices)).toMatchObject({ kind: 'unreadable', raw: lines[0] })
  expect(callsOf(decoded)).toMatchObject([{ callId: 'call_1', args: { raw: '{}' } }])
})
