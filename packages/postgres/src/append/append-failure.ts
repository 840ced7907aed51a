/**
 * What a failed send means for the appends in it. By SQLSTATE and errno; what is not known to be definite is `lost`, since a false "not
 * stored" would be repeated under new hashes. Source: PostgreSQL's errcodes, and what a Citus cluster answers while its nodes die.
 */
import { isColloquyError } from '@colloquy/core'
import { codeOf, failureKind, readOnlyCode } from '../connections/failures.ts'

export type AppendFailure =
  /** Nothing was sent. */
  | 'not_sent'
  /** The server undid it; the same bytes may succeed. */
  | 'not_applied'
  /** The server undid it: its disk is full. */
  | 'storage_full'
  /** The server takes no writes: a standby, perhaps since a moment ago. */
  | 'read_only'
  /** The server will never take it. */
  | 'refused'
  /** Sent, perhaps; nobody knows whether it took effect, or will. */
  | 'lost'

const notApplied = new Set([
  '40001', // serialization failure
  '40P01', // deadlock
  '55P03', // lock not available
  '57014', // cancelled, or statement_timeout
  '53200', // out of memory
  '53400', // a limit of the configuration
  '25P02', // an earlier statement of the transaction failed
])

/** Data, constraint, syntax and privilege, "not supported", and `raise exception`. */
const refusedClasses = new Set(['0A', '21', '22', '23', '2F', '42', '44', 'P0'])

export function appendFailure(error: unknown): AppendFailure {
  const kind = failureKind(error)
  if (kind === 'unreachable') return 'not_sent'
  if (isColloquyError(error, 'transaction_aborted')) return 'not_applied'
  const code = codeOf(error)
  if (kind === 'lost' || code === undefined) return 'lost'
  if (code === '53100') return 'storage_full'
  if (code === readOnlyCode) return 'read_only'
  if (notApplied.has(code)) return 'not_applied'
  return /^[0-9A-Z]{5}$/.test(code) && refusedClasses.has(code.slice(0, 2)) ? 'refused' : 'lost'
}
