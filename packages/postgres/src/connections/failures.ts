/** What a driver throws, as our errors. By SQLSTATE and errno, not by words, which change between versions. */
import { ColloquyError, isColloquyError } from '@colloquy/core'

/** Nobody answered, nobody let us in, or the server has no room: the statement was never sent. */
const refusedCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENOENT', // a socket path without a server
  '28000', // invalid authorization
  '28P01', // invalid password
  '3D000', // no such database
  '53300', // too many connections
  '57P03', // starting up or shutting down
])

/** The connection ended. If a statement was on its way, nobody knows whether it took effect. */
const lostCodes = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', '40003', '57P01', '57P02', '57P05'])

/** A write on a standby, or in a session that was made read-only. Found out by the write: a standby may be promoted meanwhile. */
export const readOnlyCode = '25006'

/** The texts of node-postgres for what it gives no code to. */
const lostTexts = new Set(['Connection terminated', 'Connection terminated unexpectedly', 'Query read timeout'])
const refusedTexts = new Set([
  'timeout exceeded when trying to connect',
  'Connection terminated due to connection timeout',
  'Client has encountered a connection error and is not queryable',
])

/** `unreachable`: not sent. `lost`: sent, perhaps; the outcome of a write is unknown. `failed`: the database answered with an error. */
export type FailureKind = 'unreachable' | 'lost' | 'failed'

export function failureKind(error: unknown): FailureKind {
  if (isColloquyError(error, 'database_unreachable')) return 'unreachable'
  if (error instanceof AggregateError) return error.errors.every((e) => failureKind(e) === 'unreachable') ? 'unreachable' : 'lost'
  const code = codeOf(error)
  if (code !== undefined && refusedCodes.has(code)) return 'unreachable'
  if (code !== undefined && (lostCodes.has(code) || code.startsWith('08'))) return 'lost'
  const text = textOf(error)
  if (refusedTexts.has(text)) return 'unreachable'
  if (lostTexts.has(text)) return 'lost'
  return 'failed'
}

/**
 * The ColloquyError for what a driver threw while the database was to do `operation` ("append to 3 conversations"); one of ours stays.
 * `target` must hold no password.
 */
export function toColloquyError(error: unknown, operation: string, target: string): ColloquyError {
  if (isColloquyError(error)) return error
  if (failureKind(error) === 'failed') {
    const code = codeOf(error)
    if (code === readOnlyCode) return new ColloquyError('log_read_only', { operation, target }, { cause: error })
    const sqlState = code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? code : null
    return new ColloquyError('database_failed', { operation, sqlState, problem: problemOf(error) }, { cause: error })
  }
  return new ColloquyError('database_unreachable', { target, problem: textOf(error) }, { cause: error })
}

function problemOf(error: unknown): string {
  // By the name of the function that refuses for want of a right; row-level security refuses with the same code in another.
  if (codeOf(error) === '42501' && (error as { routine?: unknown }).routine === 'aclcheck_error')
    return `${textOf(error)}; the role that is connected has not that right: workers and auditors may only read the log`
  return textOf(error)
}

export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

export function textOf(error: unknown): string {
  // Node tries every address of a name and reports the refusals together, with an empty text.
  if (error instanceof AggregateError) return error.errors.map((each) => textOf(each)).join('; ')
  return error instanceof Error ? error.message : String(error)
}
