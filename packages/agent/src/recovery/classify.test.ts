import { APICallError, EmptyResponseBodyError, LoadAPIKeyError } from '@ai-sdk/provider'
import * as anthropic from '@anthropic-ai/sdk'
import { ColloquyError } from '@colloquy/core'
import { readHttpError } from '@colloquy/formats'
import { addLangChainErrorFields, ContextOverflowError, ModelAbortError, ModelRefusalError } from '@langchain/core/errors'
import { InvalidToolInputError, RetryError } from 'ai'
import fc from 'fast-check'
import * as openai from 'openai'
import { ContentFilterFinishReasonError } from 'openai/core/error'
import { describe, expect, test } from 'vitest'
import { freePort } from '../../../../test/support/free-port.ts'
import { classify, type FailureKind } from './classify.ts'

const headers = (fields: Record<string, string> = {}) => new Headers(fields)
const node = (code: string) => Object.assign(new Error(`read ${code}`), { code })

describe('what an SDK throws', () => {
  const tooLong = { type: 'error', error: { type: 'invalid_request_error', message: 'prompt is too long: 3 tokens > 2 maximum' } }
  const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
  const call = (statusCode: number, responseBody: string, responseHeaders = {}) =>
    new APICallError({ message: 'm', url: 'u', requestBodyValues: {}, statusCode, responseBody, responseHeaders })
  const cases: readonly (readonly [string, unknown, FailureKind, boolean])[] = [
    ['anthropic 401', anthropic.APIError.generate(401, {}, 'm', headers()), 'authentication', false],
    ['anthropic 403', anthropic.APIError.generate(403, {}, 'm', headers()), 'authentication', false],
    ['anthropic 400, too long', anthropic.APIError.generate(400, tooLong, 'm', headers()), 'context_overflow', false],
    ['anthropic 413', anthropic.APIError.generate(413, {}, 'm', headers()), 'context_overflow', false],
    ['anthropic 529', anthropic.APIError.generate(529, overloaded, 'm', headers()), 'overloaded', true],
    ['anthropic 500', anthropic.APIError.generate(500, {}, 'm', headers()), 'server', true],
    [
      'anthropic, overloaded in a stream',
      new anthropic.APIError(undefined, overloaded, undefined, headers()),
      'overloaded',
      true,
    ],
    ['anthropic, no connection', new anthropic.APIConnectionError({ cause: node('ECONNRESET') }), 'network', true],
    ['anthropic, timeout', new anthropic.APIConnectionTimeoutError(), 'network', true],
    ['anthropic, aborted', new anthropic.APIUserAbortError(), 'aborted', false],
    ['openai 429', openai.APIError.generate(429, { error: {} }, 'm', headers()), 'rate_limit', true],
    [
      'openai 429, nothing left',
      openai.APIError.generate(429, { error: { code: 'insufficient_quota', message: 'm' } }, 'm', headers()),
      'quota',
      false,
    ],
    [
      'openai 400, by code',
      openai.APIError.generate(400, { error: { code: 'context_length_exceeded', message: 'm' } }, 'm', headers()),
      'context_overflow',
      false,
    ],
    [
      'openai, filtered',
      openai.APIError.generate(400, { error: { code: 'content_filter', message: 'm' } }, 'm', headers()),
      'refusal',
      false,
    ],
    ['openai 400', openai.APIError.generate(400, { error: { message: 'No such tool' } }, 'm', headers()), 'rejected', false],
    ['openai 404', openai.APIError.generate(404, {}, 'm', headers()), 'rejected', false],
    ['openai 503', openai.APIError.generate(503, {}, 'm', headers()), 'overloaded', true],
    [
      'openai, rate limited in a stream',
      new openai.APIError(undefined, { code: 'rate_limit_exceeded', message: 'm' }, undefined, headers()),
      'rate_limit',
      true,
    ],
    ['openai, no connection', new openai.APIConnectionError({ message: undefined, cause: undefined }), 'network', true],
    ['openai, timeout', new openai.APIConnectionTimeoutError(), 'network', true],
    ['openai, aborted', new openai.APIUserAbortError(), 'aborted', false],
    ['openai, the filter ended it', new ContentFilterFinishReasonError(), 'refusal', false],
    ['ai sdk 529', call(529, JSON.stringify(overloaded)), 'overloaded', true],
    ['ai sdk 400, too long', call(400, JSON.stringify(tooLong)), 'context_overflow', false],
    ['ai sdk 502, not JSON', call(502, '<html>Bad gateway</html>'), 'server', true],
    [
      'ai sdk, gave up on',
      new RetryError({ message: 'm', reason: 'maxRetriesExceeded', errors: [node('EPIPE'), call(429, '{}')] }),
      'rate_limit',
      true,
    ],
    ['ai sdk, empty', new EmptyResponseBodyError({}), 'network', true],
    ['ai sdk, no key', new LoadAPIKeyError({ message: 'm' }), 'authentication', false],
    ['ai sdk, arguments', new InvalidToolInputError({ toolName: 't', toolInput: '{', cause: new Error('m') }), 'tool', true],
    ['langchain, overflow', new ContextOverflowError('m'), 'context_overflow', false],
    ['langchain, refused', new ModelRefusalError('m'), 'refusal', false],
    ['langchain, aborted', new ModelAbortError('m'), 'aborted', false],
    [
      'langchain, around openai 429',
      addLangChainErrorFields(openai.APIError.generate(429, {}, 'm', headers()), 'MODEL_RATE_LIMIT'),
      'rate_limit',
      true,
    ],
    [
      'langchain, around an openai 400 that it can read better',
      addLangChainErrorFields(openai.APIError.generate(400, { error: { message: 'm' } }, 'm', headers()), 'CONTEXT_OVERFLOW'),
      'context_overflow',
      false,
    ],
    ['langchain, by code', addLangChainErrorFields(new Error('m'), 'MODEL_AUTHENTICATION'), 'authentication', false],
  ]

  test.each(cases)('%s', (_, error, kind, retryable) => {
    expect(classify(error)).toMatchObject({ kind, retryable })
    // Also when somebody wrapped it, and in another copy of the class.
    expect(classify(new Error('outside', { cause: error })).kind).toBe(kind)
  })

  test('gives its status, code, request id and the wait it asks for', () => {
    const error = openai.APIError.generate(
      429,
      { error: { code: 'rate_limit_exceeded', message: 'slow down' } },
      'm',
      headers({ 'Retry-After': '7', 'x-request-id': 'req_1' }),
    )
    expect(classify(error)).toEqual({
      kind: 'rate_limit',
      retryable: true,
      retryAfterMs: 7_000,
      status: 429,
      code: 'rate_limit_exceeded',
      requestId: 'req_1',
      problem: '429 slow down',
    })
  })

  test('may ask to wait until a date, which is read against the clock', () => {
    const error = call(503, '{}', { 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' })
    const now = () => Date.UTC(2026, 9, 21, 7, 27, 50)
    expect(classify(error, { now }).retryAfterMs).toBe(10_000)
    expect(classify(error, { now: () => now() + 3_600_000 }).retryAfterMs).toBe(0)
  })

  test('is not tried again where the provider says by header not to', () => {
    const error = anthropic.APIError.generate(429, {}, 'm', headers({ 'x-should-retry': 'false' }))
    expect(classify(error)).toMatchObject({ kind: 'rate_limit', retryable: false })
  })
})

describe('what Node throws', () => {
  test.each(['ECONNRESET', 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'UND_ERR_SOCKET', 'UND_ERR_BODY_TIMEOUT'])(
    '%s below "fetch failed" is the network, and may pass',
    (code) => {
      const error = new TypeError('fetch failed', { cause: node(code) })
      expect(classify(error)).toEqual({ kind: 'network', retryable: true, code, problem: 'fetch failed' })
    },
  )

  test('a certificate that is refused is not tried again', () => {
    expect(classify(new TypeError('fetch failed', { cause: node('CERT_HAS_EXPIRED') }))).toMatchObject({
      kind: 'network',
      retryable: false,
    })
  })

  test('all addresses of a host refused: the last one speaks', () => {
    expect(classify(new AggregateError([node('ENETUNREACH'), node('ECONNREFUSED')]))).toMatchObject({
      kind: 'network',
      code: 'ECONNREFUSED',
    })
  })

  test('a real connection that nobody accepts is the network', async () => {
    const error: unknown = await fetch(`http://127.0.0.1:${await freePort()}/`).catch((caught: unknown) => caught)
    expect(classify(error)).toMatchObject({ kind: 'network', retryable: true })
  })

  test('an abort is nobody’s failure, a timeout is the network’s', () => {
    expect(classify(AbortSignal.abort().reason)).toMatchObject({ kind: 'aborted', retryable: false })
    expect(classify(new DOMException('late', 'TimeoutError'))).toMatchObject({ kind: 'network', retryable: true })
  })
})

describe('what we throw', () => {
  test('a provider’s error is read as it is, also as the cause of ours', () => {
    const error = readHttpError({ provider: 'p', status: 529, body: { error: { message: 'busy' } } })
    const read = { kind: 'overloaded', retryable: true, status: 529, problem: 'busy' }
    expect(classify(error)).toEqual(read)
    expect(classify(new ColloquyError('id_invalid', { kind: 'k', problem: 'p' }, { cause: error }))).toEqual(read)
  })

  test('a database that cannot be reached is not the provider’s network', () => {
    const error = new ColloquyError('database_unreachable', { target: 't', problem: 'p' }, { cause: node('ECONNREFUSED') })
    expect(classify(error)).toMatchObject({ kind: 'unknown', retryable: true, code: 'database_unreachable' })
  })

  test('what we refuse stays refused', () => {
    const error = new ColloquyError('budget_exceeded', {
      scope: 'turn',
      kind: 'tokens',
      limit: 1,
      used: 1,
      reserved: 0,
      requested: 1,
    })
    expect(classify(error)).toMatchObject({ kind: 'rejected', retryable: false, code: 'budget_exceeded' })
  })

  test('codes of tools are the tool’s, and so is anything unknown inside a tool', () => {
    const error = new ColloquyError('tool_not_open', { messageId: 'm', callId: 'c', openCalls: 0 })
    expect(classify(error).kind).toBe('tool')
    expect(classify(new Error('division by zero'), { within: 'tool' }).kind).toBe('tool')
    expect(classify(node('ECONNRESET'), { within: 'tool' }).kind).toBe('network')
  })
})

describe('words alone', () => {
  test.each([
    'rate limit exceeded',
    'prompt is too long',
    '429 Too Many Requests',
    'ECONNRESET',
    'invalid api key',
    'Overloaded',
  ])('%j decides nothing', (message) => {
    expect(classify(new Error(message)).kind).toBe('unknown')
    expect(classify(message).kind).toBe('unknown')
  })
})

test('whatever is thrown is some failure, and its text is short', () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (thrown) => {
      const { kind, problem } = classify(thrown)
      expect(kind).toBeTypeOf('string')
      expect(problem.length).toBeLessThanOrEqual(500)
    }),
  )
  const circle = new Error('round')
  circle.cause = circle
  expect(classify(circle).kind).toBe('unknown')
  const hostile = {
    get status(): number {
      throw new Error('no')
    },
  }
  expect(classify(hostile).kind).toBe('unknown')
  expect(classify(new Error('x'.repeat(9_999))).problem).toHaveLength(500)
})
