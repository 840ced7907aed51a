import type { Circuit } from './circuit.ts'
import { classify, type Failure } from './classify.ts'
import { type RetryPolicies, retryPolicies } from './policies.ts'
import { type Sleep, sleep } from './sleep.ts'

/** A try failed, and another follows. */
export interface Retry {
  readonly failure: Failure
  /** What was thrown. */
  readonly error: unknown
  /** Of the try that failed; the first is 1. */
  readonly attempt: number
  readonly delayMs: number
}

export interface RecoverOptions {
  /** Instead of ours, by kind. */
  readonly policies?: Partial<RetryPolicies>
  /** Each try goes through it; while it is open nothing is tried. */
  readonly circuit?: Circuit
  /** Ends a wait at once, and starts no further try. What runs has to listen to it itself. */
  readonly signal?: AbortSignal
  readonly classify?: (error: unknown) => Failure
  /** Called before each wait, and waited for: who stores what it hears has stored it before the next try. What it throws ends the tries. */
  readonly onRetry?: (retry: Retry) => void | Promise<void>
  /**
   * Called for the first context overflow, to make the request smaller: true means that the next try is worth it, and it follows at once.
   * A second overflow is final.
   */
  readonly onOverflow?: (failure: Failure) => Promise<boolean>
  readonly sleep?: Sleep
  /** From 0 to below 1, for the jitter. */
  readonly random?: () => number
}

/**
 * Runs `operation` until it succeeds, or the policy of how it fails has no tries left; each kind of failure has its own count. Then what
 * was thrown last is thrown on as it is.
 *
 * The waits are ours, not cockatiel's `retry`: that one (4.0.0) cannot be woken by a signal, and a rate limit is waited for up to five
 * minutes. @throws `circuit_open` and whatever `operation` throws; the signal's reason when it aborts during a wait
 */
export async function recover<T>(operation: (attempt: number) => Promise<T>, options: RecoverOptions = {}): Promise<T> {
  const { signal, circuit, onRetry, onOverflow } = options
  const read = options.classify ?? ((error: unknown) => classify(error))
  const wait = options.sleep ?? sleep
  const policies = { ...retryPolicies, ...options.policies }
  const failures = new Map<Failure['kind'], number>()
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      const run = async (): Promise<T> => operation(attempt)
      return await (circuit ? circuit.run(run) : run())
    } catch (error) {
      if (signal?.aborted === true) throw error
      const failure = read(error)
      const failed = (failures.get(failure.kind) ?? 0) + 1
      failures.set(failure.kind, failed)
      const delayMs =
        failure.kind === 'context_overflow'
          ? await smaller(failure, failed, onOverflow)
          : retryDelayMs(failure, failed, policies, options.random ?? Math.random)
      if (delayMs === undefined) throw error
      await onRetry?.({ failure, error, attempt, delayMs })
      await wait(delayMs, signal)
    }
  }
}

/**
 * How long to wait after `failed` failures of this kind; undefined: not at all, it is over. Jitter takes up to half of our own wait off, so
 * that many who failed together do not come back together; what the provider asks for is never shortened, but lengthened by up to a tenth.
 */
export function retryDelayMs(
  failure: Failure,
  failed: number,
  policies: RetryPolicies = retryPolicies,
  random: () => number = Math.random,
): number | undefined {
  const { tries, baseMs, factor, capMs } = policies[failure.kind]
  if (!failure.retryable || failed >= tries) return undefined
  if (failure.retryAfterMs !== undefined) {
    return failure.retryAfterMs > capMs ? undefined : Math.round(failure.retryAfterMs * (1 + random() / 10))
  }
  return Math.round(Math.min(capMs, baseMs * factor ** (failed - 1)) * (1 - random() / 2))
}

async function smaller(failure: Failure, failed: number, onOverflow: RecoverOptions['onOverflow']): Promise<number | undefined> {
  return failed === 1 && (await onOverflow?.(failure)) === true ? 0 : undefined
}
