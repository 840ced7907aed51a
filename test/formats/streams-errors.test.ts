/** Over recorded errors, which are not part of the repository: without them every test here is skipped and says so. */
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { type ProviderError, readHttpError } from '../../packages/formats/src/streams/errors.ts'
import { failedExchanges, isMissing, root } from './recorded-errors.ts'
import { decode, only, problemsWith } from './streams-decoded.ts'

const table: Record<string, unknown>[] = []

type Row = Omit<ProviderError, 'raw'>
const anthropic = { provider: 'anthropic', retryable: false }
const openai = { provider: 'openai', retryable: false, requestId: '<X_REQUEST_ID>' }
const deepseek = {
  provider: 'deepseek',
  retryable: false,
  status: 400,
  type: 'invalid_request_error',
  code: 'invalid_request_error',
}
const openrouter = { provider: 'openrouter', type: null, requestId: null }
const stream = { provider: 'openai', status: null, requestId: null }
const tooLarge =
  'Request too large for gpt-4o in project proj_REMOVED organization org-REMOVED on tokens per min (TPM): Limit 1, Requested 30. ' +
  'The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to learn more.'
const retried: Row = {
  ...openrouter,
  kind: 'rate_limit',
  retryable: true,
  status: 429,
  code: '429',
  message: 'Provider returned error',
}

/** Every error of every file; in openai-reasoning-without-following-item the two exchanges around it succeeded. */
const expected: Readonly<Record<string, readonly Row[]>> = {
  'anthropic-auth-401.yml': [
    {
      ...anthropic,
      kind: 'authentication',
      status: 401,
      type: 'authentication_error',
      code: null,
      message: 'invalid x-api-key',
      requestId: 'req_011CeCGmBjaWkq37Sf5iU7so',
    },
  ],
  'anthropic-context-length.yml': [
    {
      ...anthropic,
      kind: 'context_length',
      status: 400,
      type: 'invalid_request_error',
      code: null,
      message: 'prompt is too long: 3333404 tokens > 200000 maximum',
      requestId: 'req_011CeCGmMJJGRCp7xgjqapmJ',
    },
  ],
  'anthropic-model-not-found.yaml': [
    {
      ...anthropic,
      kind: 'not_found',
      status: 404,
      type: 'not_found_error',
      code: null,
      message: 'model: claude-does-not-exist',
      requestId: 'req_011CVEA3SF7rnb3DuBZytqQa',
    },
  ],
  'azure-rate-limit-429.yml': [
    {
      provider: 'azure',
      kind: 'rate_limit',
      retryable: true,
      status: 429,
      type: null,
      code: 'RateLimitReached',
      message:
        'Your requests to grok-4-1-fast-non-reasoning for grok-4-1-fast-non-reasoning in westeurope have exceeded rate limit.',
      requestId: 'd3be1dcd-5e15-488e-b48f-a3066967d205',
      retryAfterMs: 1_000,
    },
  ],
  'deepseek-context-length.yml': [
    {
      ...deepseek,
      kind: 'context_length',
      message:
        "This model's maximum context length is 1048565 tokens. However, you requested 1250025 tokens (1250025 in the messages, 0 in the completion). Please reduce the length of the messages or completion.",
      requestId: '20f7a0db0e3f4d45c852a9c27a2d1ade',
    },
  ],
  'deepseek-missing-tool-output.yaml': [
    {
      ...deepseek,
      kind: 'invalid_request',
      message: 'No tool output found for tool call call-a.',
      requestId: null,
    },
  ],
  'openai-auth-401.yml': [
    {
      ...openai,
      kind: 'authentication',
      status: 401,
      type: 'invalid_request_error',
      code: 'invalid_api_key',
      message:
        'Incorrect API key provided: invalid-key. You can find your API key at https://platform.openai.com/account/api-keys.',
    },
  ],
  'openai-context-length.yml': [
    {
      ...openai,
      kind: 'context_length',
      status: 400,
      type: 'invalid_request_error',
      code: 'context_length_exceeded',
      message: 'Your input exceeds the context window of this model. Please adjust your input and try again.',
    },
  ],
  'openai-reasoning-without-following-item.yaml': [
    {
      ...openai,
      kind: 'invalid_request',
      status: 400,
      type: 'invalid_request_error',
      code: null,
      message:
        "Item 'rs_68c42de022c881948db7ed1cc2529f2e0202c9ad459e0d23' of type 'reasoning' was provided without its required following item.",
      requestId: null,
    },
  ],
  'openai-stream-rate-limited-1.sse': [
    { ...stream, kind: 'rate_limit', retryable: true, type: 'tokens', code: 'rate_limit_exceeded', message: tooLarge },
  ],
  'openai-stream-unknown-error-responses-1.sse': [
    { ...stream, kind: 'unknown', retryable: false, type: null, code: 'unknown-error', message: 'Foobar' },
    { ...stream, kind: 'rate_limit', retryable: true, type: null, code: 'rate_limit_exceeded', message: tooLarge },
  ],
  'openrouter-429-retries.yaml': [retried, retried, retried],
  'openrouter-context-length.yml': [
    {
      ...openrouter,
      kind: 'context_length',
      retryable: false,
      status: 400,
      code: '400',
      message:
        "This endpoint's maximum context length is 200000 tokens. However, you requested about 2500021 tokens (2500021 of text input). Please reduce the length of either one, or use the context-compression plugin to compress your prompt automatically.",
    },
  ],
}

describe.skipIf(isMissing)(`recorded errors${isMissing ? ' (skipped: ../shared/data is not beside this checkout)' : ''}`, () => {
  afterAll(() => console.table(table))

  test('are all there', () => {
    expect(readdirSync(root).sort()).toEqual(Object.keys(expected).sort())
  })

  test.each(Object.keys(expected))('%s is read field by field, and kept whole', (name) => {
    const errors = name.endsWith('.sse') ? errorsOfStream(name) : errorsOfCassette(name)
    expect(errors.map((error) => ({ ...error, raw: undefined }))).toEqual(
      expected[name]?.map((row) => ({ ...row, raw: undefined })),
    )
    for (const { raw, ...fields } of errors) {
      expect(JSON.stringify(raw)).toContain(JSON.stringify(fields.message))
      table.push({ file: name.replace(/\.\w+$/, ''), ...fields, message: `${fields.message.slice(0, 48)}…` })
    }
  })
})

function errorsOfStream(name: string): readonly ProviderError[] {
  const decoded = decode('openai-responses', readFileSync(new URL(name, root)))
  expect(problemsWith(decoded)).toEqual([])
  expect(only(decoded.ended)).toMatchObject({
    interrupted: true,
    message: { model: { stop: { unified: 'error', raw: 'failed' } } },
  })
  return decoded.errors
}

function errorsOfCassette(name: string): ProviderError[] {
  return failedExchanges(name).map(({ url, status, headers, body }) =>
    readHttpError({
      provider: /anthropic|openai|deepseek|openrouter|azure/.exec(new URL(url).hostname)?.[0] ?? 'unknown',
      status,
      headers,
      body,
    }),
  )
}
