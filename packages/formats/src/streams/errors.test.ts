import { expect, test } from 'vitest'
import { readHttpError } from './errors.ts'

const read = (status: number, body: Parameters<typeof readHttpError>[0]['body'], headers: Record<string, string> = {}) =>
  readHttpError({ provider: 'p', status, body, headers })

test('every field of an error is read, and the body kept', () => {
  const body = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' }, request_id: 'req_1' }
  expect(read(529, JSON.stringify(body), { 'retry-after': '7' })).toEqual({
    provider: 'p',
    kind: 'overloaded',
    retryable: true,
    status: 529,
    type: 'overloaded_error',
    code: null,
    message: 'Overloaded',
    requestId: 'req_1',
    retryAfterMs: 7_000,
    raw: body,
  })
})

test.each([
  [{ error: { message: 'm' } }, 'm'],
  [{ error: 'm' }, 'm'],
  [{ message: 'm' }, 'm'],
  [{ detail: 'm' }, 'm'],
  [{ detail: { message: 'm' } }, 'm'],
  [{ detail: [{ loc: ['body'], msg: 'one' }, { msg: 'two' }] }, 'one; two'],
  [[{ error: { message: 'm' } }], 'm'],
  ['<html>Bad gateway</html>\n', '<html>Bad gateway</html>'],
  [{}, 'the provider gave no message'],
])('the message of %j is found', (body, message) => {
  expect(read(400, body).message).toBe(message)
})

test.each([
  [401, {}, 'authentication', false],
  [402, {}, 'quota', false],
  [403, {}, 'permission', false],
  [404, {}, 'not_found', false],
  [408, {}, 'timeout', true],
  [413, {}, 'request_too_large', false],
  [422, {}, 'invalid_request', false],
  [429, {}, 'rate_limit', true],
  [500, {}, 'server', true],
  [503, {}, 'overloaded', true],
  [429, { error: { code: 'insufficient_quota', message: 'You exceeded your current quota' } }, 'quota', false],
  [400, { error: { message: 'prompt is too long: 3 tokens > 2 maximum' } }, 'context_length', false],
  [400, { error: { message: "This model's maximum context length is 2 tokens" } }, 'context_length', false],
  [400, { error: { message: 'Your input exceeds the context window of this model' } }, 'context_length', false],
  [
    400,
    { error: { message: 'The input token count (5) exceeds the maximum number of tokens allowed (2)' } },
    'context_length',
    false,
  ],
  [429, { error: { message: 'prompt is too long for your rate' } }, 'rate_limit', true],
  [400, { error: { code: 'constructor', type: 'toString' } }, 'invalid_request', false],
])('status %i with %j is of kind %s', (status, body, kind, retryable) => {
  expect(read(status, body)).toMatchObject({ kind, retryable })
})

test('a code may be a number, and is text for us', () => {
  expect(read(429, { error: { code: 429, message: 'm' } })).toMatchObject({ code: '429', status: 429 })
})

test.each([
  [{ 'Retry-After': '2' }, 2_000],
  [{ 'retry-after': '1', 'Retry-After-Ms': '0' }, 1_000],
  [{ 'retry-after-ms': '1500', 'retry-after': '1' }, 1_500],
  [{ 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' }, undefined],
  [{ 'retry-after': '-5' }, undefined],
  [{}, undefined],
])('headers %j ask to wait %s ms', (headers, ms) => {
  expect(read(429, {}, headers).retryAfterMs).toBe(ms)
})

test('the id of a request is in the body or in one of several headers', () => {
  expect(read(400, {}, { 'X-Request-Id': 'x' }).requestId).toBe('x')
  expect(read(400, { request_id: 'b' }, { 'request-id': 'h' }).requestId).toBe('b')
  expect(read(400, {}).requestId).toBeNull()
})
