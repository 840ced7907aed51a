import { expect, test } from 'vitest'
import { callsOf, decode, only, partsOf, problemsWith, sse, stopOf, textOf } from '../../../../test/formats/streams-decoded.ts'

const start = (fields: object = {}) => ({
  type: 'message_start',
  message: {
    id: 'msg_1',
    model: 'claude',
    content: [],
    stop_reason: null,
    usage: { input_tokens: 10, output_tokens: 1 },
    ...fields,
  },
})
const block = (index: number, content_block: object) => ({ type: 'content_block_start', index, content_block })
const delta = (index: number, fields: object) => ({ type: 'content_block_delta', index, delta: fields })
const text = (index: number, said: string) => delta(index, { type: 'text_delta', text: said })
const json = (index: number, partial_json: string) => delta(index, { type: 'input_json_delta', partial_json })
const stop = (index: number) => ({ type: 'content_block_stop', index })
const end = (stop_reason: string | null, usage: object = { output_tokens: 5 }, fields: object = {}) => ({
  type: 'message_delta',
  delta: { stop_reason, stop_sequence: null, ...fields },
  usage,
})
const over = { type: 'message_stop' }
const ping = { type: 'ping' }
const tool = (id: string, fields: object = {}) => ({ type: 'tool_use', id, name: 'weather', input: {}, ...fields })

function read(...payloads: readonly unknown[]) {
  const decoded = decode('anthropic', sse(...payloads))
  expect(problemsWith(decoded)).toEqual([])
  return decoded
}

test('an answer starts, grows by deltas, reports usage and stop, and ends with the whole message', () => {
  const { events } = read(
    start(),
    block(0, { type: 'text', text: '' }),
    text(0, 'He'),
    ping,
    text(0, 'y'),
    stop(0),
    end('end_turn'),
    over,
  )
  const head = { messageId: 'msg_1' }
  const part = { type: 'text', text: 'Hey' }
  const usage = { input: 10, output: 5, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 }
  const raw = { input_tokens: 10, output_tokens: 5 }
  const stopped = { unified: 'end', raw: 'end_turn' }
  expect(events).toEqual([
    { type: 'answerStarted', ...head, provider: 'anthropic', api: 'messages', model: 'claude', responseId: 'msg_1', choice: 0 },
    { type: 'usageReported', ...head, usage: { ...usage, output: 1, raw: { ...raw, output_tokens: 1 } } },
    { type: 'partStarted', ...head, part: 0, kind: 'text' },
    { type: 'partDelta', ...head, part: 0, delta: { kind: 'text', text: 'He' } },
    { type: 'partDelta', ...head, part: 0, delta: { kind: 'text', text: 'y' } },
    { type: 'partDone', ...head, part: 0, value: part },
    { type: 'usageReported', ...head, usage: { ...usage, raw } },
    { type: 'answerStopped', ...head, stop: stopped },
    {
      type: 'answerEnded',
      ...head,
      media: [],
      message: {
        v: 1,
        id: 'msg_1',
        role: 'assistant',
        parts: [part],
        model: {
          provider: 'anthropic',
          api: 'messages',
          id: 'claude',
          responseId: 'msg_1',
          stop: stopped,
          usage: { ...usage, raw },
        },
      },
    },
  ])
})

test('blocks that interleave are told apart by their index, and stand in its order', () => {
  const decoded = read(
    start(),
    block(1, { type: 'text', text: '' }),
    block(0, { type: 'thinking', thinking: '', signature: '' }),
    text(1, 'b'),
    delta(0, { type: 'thinking_delta', thinking: 'a' }),
    text(1, 'c'),
    stop(1),
    stop(0),
    end('end_turn'),
    over,
  )
  expect(partsOf(decoded)).toMatchObject([
    { type: 'reasoning', text: 'a' },
    { type: 'text', text: 'bc' },
  ])
})

test('a signature comes once at the end, also to a block without text', () => {
  const thinking = { type: 'thinking', thinking: '', signature: '' }
  const decoded = read(
    start(),
    block(0, thinking),
    delta(0, { type: 'signature_delta', signature: 'sig' }),
    stop(0),
    end('end_turn'),
    over,
  )
  expect(partsOf(decoded)).toEqual([
    { type: 'reasoning', text: '', signature: 'sig', redacted: false, origin: { provider: 'anthropic', api: 'messages' } },
  ])
})

test('citations come as deltas, before or after the text, and join those the block began with', () => {
  const cite = (cited_text: string) => ({
    type: 'char_location',
    cited_text,
    document_title: 'T',
    start_char_index: 0,
    end_char_index: 2,
  })
  const decoded = read(
    start(),
    block(0, { type: 'text', text: '', citations: [cite('a')] }),
    delta(0, { type: 'citations_delta', citation: cite('b') }),
    text(0, 'ab'),
    stop(0),
    end('end_turn'),
    over,
  )
  expect(partsOf(decoded)).toMatchObject([
    {
      text: 'ab',
      citations: [
        { kind: 'char_location', text: 'a', title: 'T' },
        { text: 'b', raw: cite('b') },
      ],
    },
  ])
})

test('a compaction delta brings readable text, opaque text, or both', () => {
  const decoded = read(
    start(),
    block(0, { type: 'compaction', content: null, encrypted_content: null }),
    delta(0, { type: 'compaction_delta', content: 'summary', encrypted_content: 'enc' }),
    stop(0),
    end('compaction'),
    over,
  )
  expect(partsOf(decoded)).toMatchObject([{ type: 'compaction', content: 'summary', opaque: 'enc' }])
  expect(stopOf(decoded)).toEqual([{ unified: 'compaction', raw: 'compaction' }])
})

test('redacted thinking, results of server tools and fallback blocks come whole in their start', () => {
  const result = {
    type: 'web_search_tool_result',
    tool_use_id: 'srv_1',
    content: [{ type: 'web_search_result', encrypted_content: 'e' }],
  }
  const failed = {
    type: 'web_fetch_tool_result',
    tool_use_id: 'srv_1',
    content: { type: 'web_fetch_tool_error', error_code: 'x' },
  }
  const mcp = { type: 'mcp_tool_result', tool_use_id: 'mcp_1', is_error: true, content: [{ type: 'text', text: 'no' }] }
  const fallback = { type: 'fallback', from: { model: 'a' }, to: { model: 'b' } }
  const blocks = [{ type: 'redacted_thinking', data: 'enc' }, result, failed, mcp, fallback]
  const decoded = read(start(), ...blocks.flatMap((value, i) => [block(i, value), stop(i)]), end('end_turn'), over)
  expect(partsOf(decoded)).toMatchObject([
    { type: 'reasoning', encrypted: 'enc', redacted: true },
    { type: 'tool_result', callId: 'srv_1', status: 'ok', content: [{ type: 'custom', payload: result }] },
    { type: 'tool_result', callId: 'srv_1', status: 'error', content: [{ type: 'custom', payload: failed }] },
    { type: 'tool_result', callId: 'mcp_1', status: 'error', content: [{ type: 'text', text: 'no' }] },
    { type: 'custom', kind: 'anthropic.fallback', payload: fallback },
  ])
})

test('the executor of a call is the client, the provider or an MCP server', () => {
  const server = { type: 'server_tool_use', id: 'b', name: 'web_search', input: {} }
  const mcp = { type: 'mcp_tool_use', id: 'c', name: 'ask', input: {}, server_name: 'wiki' }
  const decoded = read(
    start(),
    ...[tool('a'), server, mcp].flatMap((value, i) => [block(i, value), json(i, '{}'), stop(i)]),
    over,
  )
  expect(callsOf(decoded).map(({ executor }) => executor)).toEqual([
    { kind: 'client' },
    { kind: 'provider' },
    { kind: 'mcp', server: 'wiki' },
  ])
})

test('a tool without input gets one empty delta: its arguments are an empty object', () => {
  const decoded = read(start(), block(0, tool('a')), json(0, ''), stop(0), end('tool_use'), over)
  expect(callsOf(decoded)).toMatchObject([{ args: { raw: '{}', json: {}, valid: true } }])
})

test('arguments keep the text that the model wrote beside the value', () => {
  const decoded = read(
    start(),
    block(0, tool('a')),
    json(0, ''),
    json(0, '{"x": '),
    json(0, '1}'),
    stop(0),
    end('tool_use'),
    over,
  )
  expect(callsOf(decoded)).toMatchObject([
    { callId: 'a', name: 'weather', args: { raw: '{"x": 1}', json: { x: 1 }, valid: true } },
  ])
})

test('calls made by code are whole inside of message_start, which is the whole answer', () => {
  const caller = { type: 'code_execution_20250825', tool_id: 'srv_1' }
  const content = [tool('a', { input: { player: 'one' }, caller })]
  const decoded = read(start({ content, stop_reason: 'tool_use' }), over)
  expect(callsOf(decoded)).toMatchObject([{ args: { json: { player: 'one' }, valid: true }, caller }])
  expect(stopOf(decoded)).toEqual([{ unified: 'tool_calls', raw: 'tool_use' }])
  expect(only(decoded.ended).interrupted).toBeUndefined()
})

test('cut by max_tokens: the open call gets no stop, and its arguments are kept as text', () => {
  const decoded = read(start(), block(0, tool('a')), json(0, '{"x": "incompl'), end('max_tokens'), over)
  expect(callsOf(decoded)).toMatchObject([{ args: { raw: '{"x": "incompl', valid: false } }])
  expect(stopOf(decoded)).toEqual([{ unified: 'length', raw: 'max_tokens' }])
  expect(only(decoded.ended).interrupted).toBeUndefined()
})

test('usage at the end replaces what the start said, input included, and keeps what it does not repeat', () => {
  const begun = { input_tokens: 868, cache_read_input_tokens: 7, cache_creation_input_tokens: 12, output_tokens: 5 }
  const split = { cache_creation: { ephemeral_5m_input_tokens: 8, ephemeral_1h_input_tokens: 4 } }
  const decoded = read(
    start({ usage: { ...begun, ...split } }),
    end('end_turn', {
      input_tokens: 4230,
      cache_read_input_tokens: null,
      output_tokens: 446,
      output_tokens_details: { thinking_tokens: 40 },
      server_tool_use: { web_fetch_requests: 1 },
    }),
    over,
  )
  expect(only(decoded.messages).model?.usage).toMatchObject({
    input: 4230,
    output: 446,
    cacheRead: 7,
    cacheWrite: { ttl5m: 8, ttl1h: 4, other: 0 },
    reasoning: 40,
    serverTools: { web_fetch_requests: 1 },
  })
})

test('a split of written tokens that exceeds the final sum is of the beginning', () => {
  const begun = {
    cache_creation_input_tokens: 12,
    cache_creation: { ephemeral_5m_input_tokens: 12, ephemeral_1h_input_tokens: 0 },
  }
  const decoded = read(start({ usage: begun }), end('end_turn', { cache_creation_input_tokens: 3, output_tokens: 1 }), over)
  expect(only(decoded.messages).model?.usage?.cacheWrite).toEqual({ ttl5m: 0, ttl1h: 0, other: 3 })
})

test('older streams report only output_tokens at the end', () => {
  const decoded = read(start(), end('end_turn', { output_tokens: 227 }), over)
  expect(only(decoded.messages).model?.usage).toMatchObject({ input: 10, output: 227 })
})

test.each([
  ['end_turn', 'end'],
  ['tool_use', 'tool_calls'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['stop_sequence', 'stop_sequence'],
  ['pause_turn', 'pause'],
  ['refusal', 'refusal'],
  ['constructor', 'other'],
])('stop reason %s is %s', (raw, unified) => {
  expect(stopOf(read(start(), end(raw), over))).toEqual([{ unified, raw }])
})

test('a refusal has no block, and says why in its details', () => {
  const stop_details = { type: 'refusal', category: 'cyber' }
  const decoded = read(start(), end('refusal', { output_tokens: 5 }, { stop_details }), over)
  expect(only(decoded.messages)).toMatchObject({ parts: [], meta: { stop_details } })
})

test('message_start that comes again is dropped, and told', () => {
  const decoded = read(start(), start(), block(0, { type: 'text', text: '' }), text(0, 'Hi'), stop(0), end('end_turn'), over)
  expect(decoded.messages).toHaveLength(1)
  expect(only(decoded.notices)).toMatchObject({ kind: 'repeated', raw: { id: 'msg_1' } })
})

test('a message_start of another answer ends the one that is open as interrupted', () => {
  const decoded = read(
    start(),
    block(0, { type: 'text', text: '' }),
    text(0, 'cu'),
    start({ id: 'msg_2' }),
    end('end_turn'),
    over,
  )
  expect(decoded.ended.map(({ messageId, interrupted }) => [messageId, interrupted])).toEqual([
    ['msg_1', true],
    ['msg_2', undefined],
  ])
  expect(stopOf(decoded)).toEqual([
    { unified: 'interrupted', raw: null },
    { unified: 'end', raw: 'end_turn' },
  ])
})

test('several answers follow each other in one file', () => {
  const one = [start(), end('end_turn'), over]
  const decoded = read(...one, start({ id: 'msg_2' }), end('tool_use'), over)
  expect(decoded.messages.map(({ id }) => id)).toEqual(['msg_1', 'msg_2'])
})

test('an error after a 200 ends the answer, with what arrived', () => {
  const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
  const decoded = read(start(), block(0, { type: 'text', text: '' }), text(0, 'par'), error)
  expect(only(decoded.errors)).toMatchObject({ kind: 'overloaded', retryable: true, type: 'overloaded_error', raw: error })
  expect(only(decoded.ended)).toMatchObject({ interrupted: true, message: { parts: [{ text: 'par' }] } })
  expect(stopOf(decoded)).toEqual([{ unified: 'error', raw: null }])
})

test('an error before any answer stands alone', () => {
  const decoded = read({ type: 'error', error: { type: 'rate_limit_error', message: 'Slow' }, request_id: 'req_1' })
  expect(decoded.events).toMatchObject([{ type: 'errorReported', error: { kind: 'rate_limit', requestId: 'req_1' } }])
})

test('a stream that is cut keeps what arrived: text, and the arguments of a call as far as they were written', () => {
  const decoded = read(
    start(),
    block(0, { type: 'text', text: '' }),
    text(0, 'Let'),
    stop(0),
    block(1, tool('a')),
    json(1, '{"x": 1, "y'),
  )
  expect(only(decoded.ended)).toMatchObject({
    interrupted: true,
    message: { parts: [{ text: 'Let' }, { args: { raw: '{"x": 1, "y', valid: false } }] },
  })
  expect(stopOf(decoded)).toEqual([{ unified: 'interrupted', raw: null }])
})

test('a call that is cut before its arguments is no call without arguments', () => {
  const decoded = read(start(), block(0, tool('a')), json(0, ''))
  expect(callsOf(decoded)).toMatchObject([{ args: { raw: '', valid: false } }])
})

test('an answer whose stop reason came is whole, though message_stop did not', () => {
  expect(only(read(start(), end('end_turn')).ended).interrupted).toBeUndefined()
})

test('message_stop without a reason ends a whole answer; what it did says why', () => {
  expect(stopOf(read(start(), over))).toEqual([{ unified: 'end', raw: null }])
  expect(stopOf(read(start(), block(0, tool('a')), stop(0), over))).toEqual([{ unified: 'tool_calls', raw: null }])
})

test('a stream whose beginning is lost gives what follows', () => {
  const decoded = read(text(3, 'lo'), end('end_turn'), over)
  expect(textOf(decoded)).toBe('lo')
  expect(only(decoded.messages)).toMatchObject({ id: 'answer-1', model: { id: 'unknown' } })
})

test('a block that starts again at its index leaves the first one as it was', () => {
  const decoded = read(
    start(),
    block(0, { type: 'text', text: '' }),
    text(0, 'a'),
    block(0, { type: 'text', text: 'b' }),
    text(0, 'c'),
    over,
  )
  expect(partsOf(decoded)).toMatchObject([{ text: 'a' }, { text: 'bc' }])
})

test('events and deltas that we do not know are told, and change nothing', () => {
  const news = { type: 'message_news', of: 1 }
  const odd = delta(0, { type: 'odd_delta', odd: 1 })
  const decoded = read(start(), news, block(0, { type: 'text', text: '' }), odd, text(0, 'a'), stop(0), end('end_turn'), over)
  expect(decoded.notices.map(({ kind, raw }) => [kind, raw])).toEqual([
    ['unknown', news],
    ['unknown', odd],
  ])
  expect(textOf(decoded)).toBe('a')
})

test('a block that we do not know is kept whole', () => {
  const hologram = { type: 'hologram', data: [1, 2] }
  expect(partsOf(read(start(), block(0, hologram), stop(0), end('end_turn'), over))).toMatchObject([
    { type: 'custom', kind: 'anthropic.hologram', payload: hologram },
  ])
})

test('what comes after the end of an answer makes no other one', () => {
  const decoded = read(start(), end('end_turn'), over, over, end('end_turn'), '[DONE]')
  expect(decoded.messages).toHaveLength(1)
})
