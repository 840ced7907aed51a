import { expect, test } from 'vitest'
import { callsOf, decode, only, partsOf, problemsWith, sse, stopOf, textOf } from '../../../../test/formats/streams-decoded.ts'

const chunk = (parts: readonly object[], fields: object = {}, candidate: object = {}) => ({
  candidates: [{ content: { role: 'model', parts }, ...candidate }],
  modelVersion: 'gemini',
  responseId: 'r1',
  createTime: '2026-05-04T20:01:02.264968Z',
  ...fields,
})
const finish = (finishReason: string, fields: object = {}) => chunk([{ text: '' }], fields, { finishReason })
const call = (functionCall: object, fields: object = {}) => chunk([{ functionCall, ...fields }])
const piece = (jsonPath: string, fields: object) => ({ partialArgs: [{ jsonPath, ...fields }], willContinue: true })
const usage = (fields: object) => ({ usageMetadata: { trafficType: 'X', ...fields } })

function read(...payloads: readonly unknown[]) {
  const decoded = decode('gemini', sse(...payloads))
  expect(problemsWith(decoded)).toEqual([])
  return decoded
}

test('an answer grows by its chunks; thoughts and text are parts of their own', () => {
  const decoded = read(
    chunk([{ text: 'hm ', thought: true }]),
    chunk([{ text: 'hm', thought: true }, { text: 'He' }]),
    chunk([{ text: 'y' }]),
    finish('STOP', usage({ promptTokenCount: 9, cachedContentTokenCount: 4, candidatesTokenCount: 5, thoughtsTokenCount: 20 })),
  )
  expect(only(decoded.messages)).toMatchObject({
    id: 'r1',
    createdAt: 1_777_924_862_264_968,
    parts: [
      { type: 'reasoning', text: 'hm hm' },
      { type: 'text', text: 'Hey' },
    ],
    model: {
      provider: 'google',
      api: 'generate_content',
      id: 'gemini',
      responseId: 'r1',
      stop: { unified: 'end', raw: 'STOP' },
      usage: { input: 5, cacheRead: 4, output: 25, reasoning: 20 },
    },
  })
  expect(only(decoded.ended).interrupted).toBeUndefined()
})

test('a part with a signature is never joined with another: its text, even an empty one, is a part of its own', () => {
  const decoded = read(
    chunk([{ text: 'a' }]),
    chunk([{ text: '', thoughtSignature: 's1' }]),
    chunk([{ text: 'b' }]),
    chunk([{ text: 'c', thought: true, thoughtSignature: 's2' }]),
    finish('STOP'),
  )
  expect(partsOf(decoded)).toMatchObject([
    { text: 'a' },
    { text: '', providerMetadata: { thoughtSignature: 's1' } },
    { text: 'b' },
    { type: 'reasoning', text: 'c', signature: 's2' },
  ])
})

test('a call comes whole, without arguments, or with a signature', () => {
  const decoded = read(
    call({ name: 'f', args: { x: 1 }, id: 'own' }, { thoughtSignature: 's' }),
    call({ name: 'g' }),
    finish('STOP'),
  )
  expect(callsOf(decoded)).toEqual([
    {
      type: 'tool_call',
      callId: 'own',
      name: 'f',
      args: { raw: '{"x":1}', json: { x: 1 }, valid: true },
      executor: { kind: 'client' },
      providerMetadata: { thoughtSignature: 's' },
    },
    { type: 'tool_call', callId: 'call_1', name: 'g', args: { raw: '{}', json: {}, valid: true }, executor: { kind: 'client' } },
  ])
  expect(stopOf(decoded)).toEqual([{ unified: 'tool_calls', raw: 'STOP' }])
})

test('arguments are streamed as values with their paths; calls of one name are told apart by where they begin', () => {
  const decoded = read(
    call({ name: 'f', willContinue: true }),
    call(piece('$.list[0].text', { stringValue: 'He', willContinue: true })),
    call(piece('$.list[0].text', { stringValue: 'y' })),
    call(piece("$.list[1]['n.m']", { numberValue: 0.5 })),
    call(piece('$.list[2]', { nullValue: 'NULL_VALUE' })),
    call(piece('$["on"]', { boolValue: true })),
    call({}),
    call({ name: 'f', willContinue: true }),
    call(piece('$.x', { numberValue: 1 })),
    call({}),
    finish('STOP'),
  )
  expect(callsOf(decoded).map(({ callId, args }) => [callId, args.json])).toEqual([
    ['call_0', { list: [{ text: 'Hey' }, { 'n.m': 0.5 }, null], on: true }],
    ['call_1', { x: 1 }],
  ])
})

test('a call whose end is missing ends with the next part, or with the answer', () => {
  const begun = [call({ name: 'f', willContinue: true }), call(piece('$.x', { numberValue: 1 }))]
  for (const next of [call({ name: 'g' }), chunk([{ text: 'a' }]), finish('STOP')]) {
    expect(callsOf(read(...begun, next, finish('STOP')))[0]).toMatchObject({ name: 'f', args: { json: { x: 1 }, valid: true } })
  }
})

test.each([
  ['cut off', []],
  ['ended by MAX_TOKENS', [finish('MAX_TOKENS')]],
])('a call that is %s is kept as text', (_, ends) => {
  const decoded = read(
    call({ name: 'f', willContinue: true }),
    call(piece('$.x', { stringValue: 'par', willContinue: true })),
    ...ends,
  )
  expect(callsOf(decoded)).toMatchObject([{ args: { raw: '{"x":"par"}', valid: false } }])
  expect(only(decoded.ended).interrupted).toBe(ends.length === 0 ? true : undefined)
})

test.each([
  ['$.list[7]', { numberValue: 1 }],
  ['$.__proto__.polluted', { boolValue: true }],
  ['$.x.y', { numberValue: 1 }],
  ['$..x', { numberValue: 1 }],
  ['x', { numberValue: 1 }],
  ['$', { numberValue: 1 }],
  ['$.z', {}],
  [`$${'.a'.repeat(100)}`, { numberValue: 1 }],
])('a value at %s has no place: it is told, and the arguments are not trusted', (path, value) => {
  const decoded = read(
    call({ name: 'f', willContinue: true }),
    call(piece('$.x', { numberValue: 1 })),
    call(piece(path, value)),
    call({}),
    finish('STOP'),
  )
  expect(only(decoded.notices).kind).toBe('unreadable')
  expect(callsOf(decoded)).toMatchObject([{ args: { valid: false } }])
  expect('polluted' in {}).toBe(false)
})

test('a piece of a call that did not begin is told', () => {
  expect(only(read(call(piece('$.x', { numberValue: 1 })), finish('STOP')).notices)).toMatchObject({ kind: 'unknown' })
})

test('files, and code that the provider runs, come whole', () => {
  const decoded = read(
    chunk([
      { inlineData: { mimeType: 'image/png', data: 'aGVsbG8=' } },
      { fileData: { mimeType: 'application/pdf', fileUri: 'gs://a' } },
    ]),
    chunk([
      { executableCode: { language: 'PYTHON', code: '1' } },
      { codeExecutionResult: { outcome: 'OUTCOME_FAILED', output: 'no' } },
    ]),
    chunk([{ hologram: { x: 1 } }]),
    finish('STOP'),
  )
  const { media } = only(decoded.ended)
  expect(partsOf(decoded)).toMatchObject([
    { type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'hash', hash: only(media).hash, bytes: 5 } },
    { type: 'media', kind: 'document', source: { kind: 'url', url: 'gs://a' } },
    { type: 'tool_call', callId: 'code_0', name: 'code_execution', executor: { kind: 'provider' } },
    { type: 'tool_result', callId: 'code_0', status: 'error', content: [{ text: 'no' }] },
    { type: 'custom', kind: 'google.hologram', payload: { hologram: { x: 1 } } },
  ])
  expect(stopOf(decoded)).toEqual([{ unified: 'end', raw: 'STOP' }])
})

test('usage grows with each chunk and replaces itself; a first one without counts is none', () => {
  const decoded = read(
    chunk([{ text: 'a' }], usage({})),
    chunk([{ text: 'b' }], usage({ promptTokenCount: 3, candidatesTokenCount: 1 })),
    finish('STOP', usage({ promptTokenCount: 3, candidatesTokenCount: 2, toolUsePromptTokenCount: 5 })),
  )
  const reported = decoded.events.flatMap((event) => (event.type === 'usageReported' ? [event.usage.output] : []))
  expect(reported).toEqual([1, 2])
  expect(only(decoded.messages).model?.usage).toMatchObject({ input: 8, output: 2 })
})

test.each([
  ['MAX_TOKENS', 'length'],
  ['SAFETY', 'content_filter'],
  ['MALFORMED_FUNCTION_CALL', 'error'],
  ['constructor', 'other'],
])('finishReason %s is %s', (raw, unified) => {
  expect(stopOf(read(chunk([{ text: 'a' }]), finish(raw)))).toEqual([{ unified, raw }])
})

test('a prompt that is blocked is an answer without parts', () => {
  const decoded = read({
    promptFeedback: { blockReason: 'SAFETY' },
    usageMetadata: { promptTokenCount: 4 },
    responseId: 'r1',
    modelVersion: 'gemini',
  })
  expect(only(decoded.messages)).toMatchObject({
    parts: [],
    meta: { promptFeedback: { blockReason: 'SAFETY' } },
    model: { usage: { input: 4 } },
  })
  expect(stopOf(decoded)).toEqual([{ unified: 'content_filter', raw: 'SAFETY' }])
})

test('what grounds an answer is kept beside its parts', () => {
  const groundingMetadata = { webSearchQueries: ['q'] }
  expect(only(read(chunk([{ text: 'a' }], {}, { groundingMetadata }), finish('STOP')).messages).meta).toEqual({
    groundingMetadata,
  })
})

test('candidates are answers of their own; a new responseId begins the next response', () => {
  const two = {
    ...chunk([]),
    candidates: [
      { index: 0, content: { parts: [{ text: 'a' }] }, finishReason: 'STOP' },
      { index: 1, content: { parts: [{ text: 'b' }] } },
    ],
  }
  const decoded = read(two, chunk([{ text: 'c' }], { responseId: 'r2' }), finish('STOP', { responseId: 'r2' }))
  expect(decoded.ended.map(({ messageId, interrupted }) => [messageId, interrupted])).toEqual([
    ['r1', undefined],
    ['r1#1', true],
    ['r2', undefined],
  ])
})

test('an error in the stream ends the answer; the wait that it asks for is told', () => {
  const details = [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '34.5s' }]
  const decoded = read(chunk([{ text: 'a' }]), { error: { code: 429, message: 'Quota', status: 'RESOURCE_EXHAUSTED', details } })
  expect(only(decoded.errors)).toMatchObject({
    kind: 'rate_limit',
    status: 429,
    type: 'RESOURCE_EXHAUSTED',
    retryAfterMs: 34_500,
  })
  expect(only(decoded.ended).interrupted).toBe(true)
})

test('an event that is no chunk is told', () => {
  expect(only(read(chunk([{ text: 'a' }]), { hello: 1 }, finish('STOP')).notices)).toMatchObject({
    kind: 'unknown',
    raw: { hello: 1 },
  })
})

test('a list of chunks, as Gemini answers where no events were asked for, is read whole, however it is written and cut', () => {
  const chunks = [chunk([{ text: 'a ["{' }]), chunk([{ text: 'b' }]), finish('STOP')]
  for (const text of [
    JSON.stringify(chunks),
    JSON.stringify(chunks, null, 2),
    `\ufeff[${chunks.map((one) => JSON.stringify(one)).join('\n,\r\n')}\n]`,
  ]) {
    const decoded = decode('gemini', text)
    expect(problemsWith(decoded)).toEqual([])
    expect(textOf(decoded)).toBe('a ["{b')
    expect(decoded.notices).toEqual([])
    expect(stopOf(decoded)).toEqual([{ unified: 'end', raw: 'STOP' }])
  }
  const cut = decode('gemini', JSON.stringify(chunks).slice(0, -20))
  expect(textOf(cut)).toBe('a ["{b')
  expect(only(cut.notices).kind).toBe('unreadable')
  expect(only(cut.ended).interrupted).toBe(true)
})

test('an error in a list is told', () => {
  const decoded = decode('gemini', JSON.stringify([{ error: { code: 429, message: 'Quota', status: 'RESOURCE_EXHAUSTED' } }]))
  expect(only(decoded.errors)).toMatchObject({ kind: 'rate_limit', status: 429 })
})
