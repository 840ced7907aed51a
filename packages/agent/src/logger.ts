import type { CacheError } from '@colloquy/cache'
import type { Failure } from './recovery/classify.ts'

/**
 * Where the agent says what happens to it. Fields first, as pino has them.
 *
 * What people and models said is never among the fields or in the message, at no level: ids, counts, kinds, codes and times are. A provider's
 * error text may quote a request, so `problem` and `message` of an error stay in the conversation's log; see `failureFields`.
 */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** What may be logged of a failure: not its text, which may quote the request. */
export function failureFields({ kind, retryable, retryAfterMs, status, code, requestId }: Failure): LogFields {
  return { kind, retryable, retryAfterMs, status, code, requestId }
}

/** For `onWarning` of a cache. A failing tier is a warning: whoever asked the cache hears nothing of it. */
export function cacheWarnings(logger: Logger): (warning: CacheError<'tier_failed'>) => void {
  return ({ code, details }) => logger.warn({ code, level: details.level, problem: details.problem }, 'a cache tier failed')
}
