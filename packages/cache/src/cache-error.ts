const errorTable = {
  key_invalid: (d: { problem: string }) => `The key is not usable: ${d.problem}. Choose another one.`,
  value_invalid: (d: { path: string; found: string }) =>
    `${d.path} is ${d.found}, which JSON cannot hold without changing it. Convert it before caching.`,
  option_invalid: (d: { option: string; problem: string }) => `The option ${d.option} is not usable: ${d.problem}. Correct it.`,
  cache_closed: (_closed: Record<string, never>) => 'The cache was closed. Make a new one.',
  tier_failed: (d: { level: string; problem: string }) =>
    `The tier ${d.level} failed: ${d.problem}. It is left out for a while; look at its server or directory.`,
} as const

export type CacheErrorCode = keyof typeof errorTable
export type CacheErrorDetails<C extends CacheErrorCode> = Parameters<(typeof errorTable)[C]>[0]

/**
 * The one error of this package, which knows no other of ours. Test by `code`. `tier_failed` is only ever handed to `onWarning`: a
 * caller never gets it.
 */
export class CacheError<C extends CacheErrorCode = CacheErrorCode> extends Error {
  override readonly name = 'CacheError'
  readonly code: C
  readonly details: CacheErrorDetails<C>

  constructor(code: C, details: CacheErrorDetails<C>, options?: { cause?: unknown }) {
    super(errorTable[code](details as never), options)
    this.code = code
    this.details = details
  }
}
