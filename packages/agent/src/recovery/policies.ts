import type { FailureKind } from './classify.ts'

/** How often something is tried that fails in one way, and how long is waited in between: `baseMs * factor ** (failures - 1)`, at most `capMs`. */
export interface RetryPolicy {
  /** Tries in all, the first one among them: 1 never tries again. */
  readonly tries: number
  readonly baseMs: number
  readonly factor: number
  /** Also of what a provider asks: who would have to wait longer gives up at once. */
  readonly capMs: number
}

export type RetryPolicies = Readonly<Record<FailureKind, RetryPolicy>>

const never: RetryPolicy = { tries: 1, baseMs: 0, factor: 1, capMs: 0 }
const network: RetryPolicy = { tries: 5, baseMs: 1_000, factor: 2, capMs: 30_000 }
const twice: RetryPolicy = { ...network, tries: 2 }

export const retryPolicies: RetryPolicies = {
  aborted: never,
  network,
  rate_limit: { tries: 3, baseMs: 10_000, factor: 3, capMs: 300_000 },
  overloaded: network,
  server: network,
  // Only a smaller request can succeed: see `onOverflow` of `recover`.
  context_overflow: never,
  authentication: never,
  quota: never,
  refusal: never,
  tool: twice,
  rejected: never,
  circuit_open: never,
  unknown: twice,
}
