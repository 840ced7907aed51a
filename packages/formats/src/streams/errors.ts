/** What providers answer when they refuse or fail, over HTTP or inside a stream that began with status 200, as one value. */
import type { Json, JsonObject } from '@colloquy/core'
import { asCount, asList, asObject } from '../codecs/fields.ts'
import { asText, lookUp } from './fields.ts'
import { readPayloads } from './payload.ts'

export interface ProviderError {
  readonly provider: string
  readonly kind: ProviderErrorKind
  /** The same request may succeed later. */
  readonly retryable: boolean
  /** HTTP status; null inside a stream that does not say it. */
  readonly status: number | null
  readonly type: string | null
  readonly code: string | null
  readonly message: string
  readonly requestId: string | null
  /** How long the provider asks to wait. A `retry-after` that is a date is left to who has a clock. */
  readonly retryAfterMs?: number
  /** The body or event, verbatim; text that is no JSON as a string. */
  readonly raw: Json
}

export type ProviderErrorKind =
  | 'authentication'
  | 'permission'
  | 'not_found'
  | 'rate_limit'
  | 'quota'
  | 'overloaded'
  | 'context_length'
  | 'request_too_large'
  | 'content_filter'
  | 'tool_use'
  | 'invalid_request'
  | 'timeout'
  | 'server'
  /** Ours: a stream went past its limits. */
  | 'stream_limit'
  | 'unknown'

export interface HttpError {
  readonly provider: string
  readonly status: number
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
  /** The body as text, or parsed. */
  readonly body: Json
}

export function readHttpError({ provider, status, headers = {}, body }: HttpError): ProviderError {
  const header = headerReader(headers)
  const raw = typeof body === 'string' ? parsed(body) : body
  const error = readError(provider, raw, status)
  const wait = waitMs(header) ?? error.retryAfterMs
  return {
    ...error,
    requestId: error.requestId ?? header('request-id', 'x-request-id', 'apim-request-id', 'x-ds-trace-id') ?? null,
    ...(wait !== undefined && { retryAfterMs: wait }),
  }
}

/** An error out of the body of an answer, or out of an event of a stream. */
export function readError(provider: string, raw: Json, httpStatus?: number): ProviderError {
  // Gemini answers [{error}] where a stream was asked for.
  const body = asObject(Array.isArray(raw) ? raw[0] : raw) ?? {}
  const error = asObject(body.error) ?? body
  const code = typeof error.code === 'number' ? String(error.code) : (asText(error.code) ?? null)
  const type = (error === body && body.type === 'error' ? undefined : asText(error.type)) ?? asText(error.status) ?? null
  const status = httpStatus ?? statusIn(error.status_code) ?? statusIn(error.status) ?? statusIn(error.code) ?? null
  const message = messageIn(body) ?? (typeof raw === 'string' ? raw.trim().slice(0, 500) : 'the provider gave no message')
  const kind = kindOf([code, type], status, message)
  const wait = retryInfoMs(error)
  return {
    provider,
    kind,
    retryable: retryableKinds.has(kind),
    status,
    type,
    code,
    message,
    requestId: asText(body.request_id) ?? asText(error.request_id) ?? null,
    ...(wait !== undefined && { retryAfterMs: wait }),
    raw,
  }
}

/** A stream that takes more than we hold: ours, in the shape of a provider's, because who listens has to end the answer alike. */
export function streamLimitError(provider: string, limit: string, value: number): ProviderError {
  return {
    provider,
    kind: 'stream_limit',
    retryable: false,
    status: null,
    type: null,
    code: limit,
    message: `The stream went past ${limit} (${value}) and was left; what arrived is kept. Raise limits.${limit} to read it whole.`,
    requestId: null,
    raw: null,
  }
}

const retryableKinds: ReadonlySet<ProviderErrorKind> = new Set(['rate_limit', 'overloaded', 'timeout', 'server'])

/** What `code` and `type` say, in this order; the more precise code first. Generic words are left to the status. */
const kindByName: Readonly<Record<string, ProviderErrorKind>> = {
  authentication_error: 'authentication',
  invalid_api_key: 'authentication',
  UNAUTHENTICATED: 'authentication',
  permission_error: 'permission',
  PERMISSION_DENIED: 'permission',
  not_found_error: 'not_found',
  model_not_found: 'not_found',
  NOT_FOUND: 'not_found',
  rate_limit_error: 'rate_limit',
  rate_limit_exceeded: 'rate_limit',
  RateLimitReached: 'rate_limit',
  RESOURCE_EXHAUSTED: 'rate_limit',
  insufficient_quota: 'quota',
  billing_error: 'quota',
  billing_not_active: 'quota',
  overloaded_error: 'overloaded',
  UNAVAILABLE: 'overloaded',
  context_length_exceeded: 'context_length',
  request_too_large: 'request_too_large',
  content_filter: 'content_filter',
  content_policy_violation: 'content_filter',
  tool_use_failed: 'tool_use',
  timeout_error: 'timeout',
  DEADLINE_EXCEEDED: 'timeout',
  api_error: 'server',
  server_error: 'server',
  INTERNAL: 'server',
}

const kindByStatus: Readonly<Record<number, ProviderErrorKind>> = {
  401: 'authentication',
  402: 'quota',
  403: 'permission',
  404: 'not_found',
  408: 'timeout',
  413: 'request_too_large',
  429: 'rate_limit',
  503: 'overloaded',
  504: 'timeout',
  529: 'overloaded',
}

/** Only OpenAI has a code for it. The others say it in words, each in its own; these are Anthropic's, and DeepSeek's and OpenRouter's. */
const contextLength =
  /prompt is too long|maximum context length|exceeds the context window|input token count.*exceeds the maximum/i

function kindOf(names: readonly (string | null)[], status: number | null, message: string): ProviderErrorKind {
  for (const name of names) {
    const kind = lookUp(kindByName, name)
    if (kind !== undefined) return kind
  }
  const isRequest = status === null || status === 400 || status === 413 || status === 422
  if (isRequest && contextLength.test(message)) return 'context_length'
  const kind = status === null ? undefined : kindByStatus[status]
  if (kind !== undefined) return kind
  if (status !== null && status >= 500) return 'server'
  if (names.includes('invalid_request_error') || (status !== null && status >= 400)) return 'invalid_request'
  return 'unknown'
}

/** `{error: {message}}`, `{message}`, `{error: "..."}`, and FastAPI's `{detail}`: a text, or a list of `{msg}`. */
function messageIn(body: JsonObject): string | undefined {
  const { error, detail } = body
  const said = [asObject(error)?.message, error, body.message, detail, asObject(detail)?.message].map(asText)
  const listed = (asList(detail) ?? []).flatMap((entry) => asText(asObject(entry)?.msg) ?? [])
  return said.find((text) => text !== undefined) ?? (listed.length > 0 ? listed.join('; ') : undefined)
}

function statusIn(value: Json | undefined): number | undefined {
  const status = asCount(value)
  return status !== undefined && status >= 400 && status <= 599 ? status : undefined
}

type HeaderReader = (...names: readonly string[]) => string | undefined

function headerReader(headers: NonNullable<HttpError['headers']>): HeaderReader {
  const byName = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  return (...names) => {
    const value = names.map((name) => byName.get(name)).find((found) => found !== undefined)
    return typeof value === 'string' ? value : value?.[0]
  }
}

/** The longer of both where a gateway sends both: Azure's say 0 ms and 1 s for one answer. */
function waitMs(header: HeaderReader): number | undefined {
  const given = [Number(header('retry-after-ms') ?? Number.NaN), 1_000 * Number(header('retry-after') ?? Number.NaN)]
  const known = given.filter((ms) => Number.isFinite(ms) && ms >= 0)
  return known.length > 0 ? Math.round(Math.max(...known)) : undefined
}

/** Gemini's: `details: [{"@type": ".../google.rpc.RetryInfo", retryDelay: "34s"}]`. */
function retryInfoMs(error: JsonObject): number | undefined {
  for (const detail of asList(error.details) ?? []) {
    const seconds = /^(\d+(?:\.\d+)?)s$/.exec(asText(asObject(detail)?.retryDelay) ?? '')?.[1]
    if (seconds !== undefined) return Math.round(Number(seconds) * 1_000)
  }
  return undefined
}

function parsed(body: string): Json {
  const [payload, ...more] = readPayloads(body)
  return payload?.type === 'json' && more.length === 0 ? payload.value : body
}
