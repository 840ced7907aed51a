/**
 * What went wrong, told by status, code and class: never by wording alone. A text decides only together with a status that leaves the
 * question open (`formats/src/streams/errors.ts`: three providers say "too long" with a plain 400).
 *
 * An error is read from the outside in, along `cause`: SDKs wrap what they caught, and Node's `fetch` says only "fetch failed" itself.
 * Classes are known by name, since the SDKs are optional peers, and several copies of one may be loaded.
 */
import { type ColloquyError, isColloquyError, type Json } from '@colloquy/core'
import { type ProviderError, type ProviderErrorKind, readError, readHttpError } from '@colloquy/formats'

export type FailureKind =
  /** Who asked does not want it any more. Nobody is to blame, and nothing is tried again. */
  | 'aborted'
  /** No answer, or half of one: connection, name lookup, TLS, a timeout of either side. */
  | 'network'
  | 'rate_limit'
  /** The provider has too much to do, and says so. */
  | 'overloaded'
  /** Another failure on the provider's side: 5xx. */
  | 'server'
  /** The request is larger than the model, or the provider, takes. */
  | 'context_overflow'
  /** The key is wrong, or may not do this. */
  | 'authentication'
  /** Nothing is left on the account; unlike a rate limit, waiting does not help. */
  | 'quota'
  /** The model or the provider's filter declines the content. */
  | 'refusal'
  | 'tool'
  /** The request is at fault, or a rule of ours refuses it: sent again, it fails again. */
  | 'rejected'
  /** Our own breaker let nothing through. */
  | 'circuit_open'
  | 'unknown'

export interface Failure {
  readonly kind: FailureKind
  /** Whether the same request may succeed later, as far as the error itself says. How often it is tried is the policy's matter. */
  readonly retryable: boolean
  /** How long the provider asks to wait. */
  readonly retryAfterMs?: number
  /** HTTP status. */
  readonly status?: number
  /** The provider's, Node's or our own name for it: `rate_limit_exceeded`, `ECONNRESET`, `tool_not_open`. */
  readonly code?: string
  /** The provider's id of the request, for its support. */
  readonly requestId?: string
  /** What the error says, cut at 500 characters. It may quote the request: store it, but do not log it. */
  readonly problem: string
}

export interface ClassifyOptions {
  /** Where it failed. In a tool, what nothing else is known about is the tool's failure. `model` unless given. */
  readonly within?: 'model' | 'tool'
  /** Milliseconds since 1970, for a `Retry-After` that is a date. */
  readonly now?: () => number
}

/** Total: whatever was thrown, it is some failure. */
export function classify(error: unknown, { within = 'model', now = Date.now }: ClassifyOptions = {}): Failure {
  const chain = causes(error)
  const problem = problemOf(error)
  for (const link of chain) {
    const found = readLink(link, now)
    if (found) return { problem, ...found }
  }
  const code = chain.map(codeOf).find((name) => name !== undefined)
  const kind = within === 'tool' ? 'tool' : 'unknown'
  return { kind, retryable: true, ...(code !== undefined && { code }), problem }
}

type Found = Omit<Failure, 'problem'> & { readonly problem?: string }

/** What one link of the chain of causes says; undefined when it says nothing, and its cause may. */
function readLink(link: unknown, now: () => number): Found | undefined {
  if (isProviderError(link)) return ofProvider(link)
  if (isColloquyError(link)) return ofOurs(link)
  if (typeof link !== 'object' || link === null) return undefined
  const { kind: named, isCertificate } = kindByName(link)
  const answer = readAnswer(link, now)
  // A class or code of the client is more precise than the bare status; the answer has the details.
  const kind = named ?? answer?.kind
  if (kind === undefined) return undefined
  const code = answer?.code ?? codeOf(link)
  return {
    ...answer,
    kind,
    retryable: answer?.kind === kind ? answer.retryable : isRetryable(kind) && !isCertificate,
    ...(code !== undefined && { code }),
  }
}

const kindOfProvider = {
  authentication: 'authentication',
  permission: 'authentication',
  not_found: 'rejected',
  rate_limit: 'rate_limit',
  quota: 'quota',
  overloaded: 'overloaded',
  context_length: 'context_overflow',
  request_too_large: 'context_overflow',
  content_filter: 'refusal',
  tool_use: 'tool',
  invalid_request: 'rejected',
  timeout: 'network',
  server: 'server',
  stream_limit: 'rejected',
  unknown: 'unknown',
} as const satisfies Record<ProviderErrorKind, FailureKind>

function ofProvider(error: ProviderError): Found {
  const kind = kindOfProvider[error.kind]
  const code = error.code ?? error.type
  return {
    kind,
    retryable: isRetryable(kind),
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    ...(error.status !== null && { status: error.status }),
    ...(code !== null && { code }),
    ...(error.requestId !== null && { requestId: error.requestId }),
    problem: cut(error.message),
  }
}

/** Our own errors answer for themselves: a database that cannot be reached is no failure of the provider's network. */
function ofOurs(error: ColloquyError): Found {
  const carried = causes(error.cause).find(isProviderError)
  if (carried) return ofProvider(carried)
  const { code, retryable } = error
  if (isColloquyError(error, 'circuit_open')) {
    return { kind: 'circuit_open', retryable, code, retryAfterMs: error.details.retryInMs }
  }
  if (code.startsWith('tool_')) return { kind: 'tool', retryable, code }
  return { kind: retryable ? 'unknown' : 'rejected', retryable, code }
}

/** An answer with an error in it, as an SDK's error object carries it: OpenAI, Anthropic, AI SDK, and LangChain, which passes theirs on. */
function readAnswer(link: object, now: () => number): Found | undefined {
  const status = [field(link, 'status'), field(link, 'statusCode')].find(
    (value): value is number => typeof value === 'number' && value >= 400 && value <= 599,
  )
  const body = (field(link, 'error') ?? field(link, 'responseBody') ?? field(link, 'data')) as Json | undefined
  if (status === undefined) {
    // An event in a stream that began well has no status; what it says counts if it has a name for it.
    const inStream = isObject(body) ? readError('', body) : undefined
    return inStream === undefined || inStream.kind === 'unknown' ? undefined : ofProvider(inStream)
  }
  const headers = headersOf(field(link, 'headers') ?? field(link, 'responseHeaders'))
  const { problem: _, ...found } = ofProvider(readHttpError({ provider: '', status, headers, body: body ?? '' }))
  const retryAfterMs = found.retryAfterMs ?? untilDate(headers['retry-after'], now)
  return {
    ...found,
    // Anthropic and OpenAI say by this header when their status alone would mislead.
    retryable: found.retryable && headers['x-should-retry'] !== 'false',
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}

/** By class name and code. AI SDK: `AISDKError.name`; LangChain: `lc_error_code`; OpenAI and Anthropic: the class. */
const kinds: Readonly<Record<string, FailureKind>> = {
  AbortError: 'aborted',
  ABORT_ERR: 'aborted',
  APIUserAbortError: 'aborted',
  ModelAbortError: 'aborted',
  MODEL_ABORTED: 'aborted',
  APIConnectionError: 'network',
  APIConnectionTimeoutError: 'network',
  TimeoutError: 'network',
  AI_EmptyResponseBodyError: 'network',
  MODEL_RATE_LIMIT: 'rate_limit',
  ContextOverflowError: 'context_overflow',
  CONTEXT_OVERFLOW: 'context_overflow',
  AI_LoadAPIKeyError: 'authentication',
  MODEL_AUTHENTICATION: 'authentication',
  ContentFilterFinishReasonError: 'refusal',
  ModelRefusalError: 'refusal',
  AI_InvalidToolInputError: 'tool',
  AI_NoSuchToolError: 'tool',
  AI_ToolCallRepairError: 'tool',
  ToolInputParsingException: 'tool',
  AI_InvalidArgumentError: 'rejected',
  AI_InvalidPromptError: 'rejected',
  AI_NoSuchModelError: 'rejected',
  AI_UnsupportedFunctionalityError: 'rejected',
  INVALID_PROMPT_INPUT: 'rejected',
  INVALID_TOOL_RESULTS: 'rejected',
  LengthFinishReasonError: 'rejected',
  MODEL_NOT_FOUND: 'rejected',
}

/** libuv's, and undici's. https://nodejs.org/api/errors.html#common-system-errors, undici `lib/core/errors.js` */
const networkCodes =
  /^(E(CONNRESET|CONNREFUSED|CONNABORTED|TIMEDOUT|PIPE|NOTFOUND|AI_AGAIN|HOSTUNREACH|HOSTDOWN|NETUNREACH|NETDOWN|NETRESET|PROTO)|UND_ERR_(CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT|SOCKET|CLOSED|DESTROYED|INFO)|ERR_STREAM_PREMATURE_CLOSE|ERR_HTTP2_\w+|ERR_SSL_\w+)$/

/** Of OpenSSL, as Node passes them on: no network is up to it, and trying again does not help. */
const certificateCodes =
  /^(CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)$/

function kindByName(link: object): { readonly kind?: FailureKind; readonly isCertificate: boolean } {
  const names = [field(link, 'lc_error_code'), field(link, 'code'), field(link, 'name'), ...classNames(link)]
  for (const name of names) {
    if (typeof name !== 'string') continue
    if (certificateCodes.test(name)) return { kind: 'network', isCertificate: true }
    if (networkCodes.test(name)) return { kind: 'network', isCertificate: false }
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
    if (kind !== undefined) return { kind, isCertificate: false }
  }
  return { isCertificate: false }
}

const again: ReadonlySet<FailureKind> = new Set(['network', 'rate_limit', 'overloaded', 'server', 'tool', 'unknown'])
const isRetryable = (kind: FailureKind): boolean => again.has(kind)

/** The error, its causes, and theirs: at most 16, a circle is cut. A group of errors (AggregateError, AI SDK's RetryError) stands for its last. */
function causes(error: unknown): readonly unknown[] {
  const chain: unknown[] = []
  let link = error
  while (link !== undefined && link !== null && chain.length < 16 && !chain.includes(link)) {
    chain.push(link)
    if (typeof link !== 'object') break
    const { errors } = link as { errors?: unknown }
    link = field(link, 'cause') ?? (Array.isArray(errors) ? errors.at(-1) : undefined)
  }
  return chain
}

function isProviderError(value: unknown): value is ProviderError {
  return (
    isObject(value) &&
    typeof field(value, 'provider') === 'string' &&
    typeof field(value, 'message') === 'string' &&
    Object.hasOwn(value, 'raw') &&
    Object.hasOwn(kindOfProvider, String(field(value, 'kind')))
  )
}

function classNames(value: object): string[] {
  const names: string[] = []
  for (let proto = Object.getPrototypeOf(value); proto && proto !== Error.prototype; proto = Object.getPrototypeOf(proto)) {
    if (typeof proto.constructor?.name === 'string') names.push(proto.constructor.name)
  }
  return names
}

function codeOf(link: unknown): string | undefined {
  const code = isObject(link) ? (field(link, 'code') ?? field(link, 'lc_error_code')) : undefined
  return typeof code === 'string' ? code : undefined
}

type Headers = Readonly<Record<string, string | undefined>>

/** A `Headers`, a `Map`, or plain fields, by names in lower case. */
function headersOf(headers: unknown): Headers {
  if (!isObject(headers)) return {}
  const pairs = Symbol.iterator in headers ? [...(headers as Iterable<[string, unknown]>)] : Object.entries(headers)
  return Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), String(value)]))
}

/** RFC 9110, 10.2.3: `Retry-After` may be a date. */
function untilDate(header: string | undefined, now: () => number): number | undefined {
  if (header === undefined || !/[a-z]/i.test(header)) return undefined
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now())
}

function problemOf(error: unknown): string {
  const message = isObject(error) ? field(error, 'message') : undefined
  if (typeof message === 'string' && message !== '') return cut(message)
  return isObject(error) ? 'an error that says nothing' : cut(String(error))
}

const cut = (text: string): string => (text.length > 500 ? `${text.slice(0, 499)}…` : text)

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** What stands there, also on an object that throws when it is looked at. */
function field(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name]
  } catch {
    return undefined
  }
}
