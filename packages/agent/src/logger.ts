import type { CacheError } from '@colloquy/cache'
import type { Failure } from './recovery/classify.ts'

/**
 * Where the agent says what it does, for operators.
 *
 * What people and models said is never among the fields: ids, counts, kinds, codes and times are. The text of an error goes under the name
 * `problem`, since a provider's may quote the request; a logger leaves it out unless it was told otherwise.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export function failureFields({ kind, retryable, retryAfterMs, status, code, requestId, problem }: Failure): LogFields {
  return { kind, retryable, retryAfterMs, status, code, requestId, problem }
}

/** For `onWarning` of a cache. A failing tier is a warning: whoever asked the cache hears nothing of it. */
export function cacheWarnings(logger: Logger): (warning: CacheError<'tier_failed'>) => void {
  // Of a server or a file system, about keys that are hashes: it can be logged.
  return ({ code, details }) => logger.warn('a cache tier failed', { code, level: details.level, reason: details.problem })
}
