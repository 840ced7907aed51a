import { ColloquyError } from '@colloquy/core'
import { type CircuitBreakerPolicy, CircuitState as Cockatiel, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel'
import { classify, type FailureKind } from './classify.ts'

/** Plain data, to be stored and read by another process. `openedAtMs` is in milliseconds since 1970. */
export type CircuitState =
  | { readonly state: 'closed' }
  | { readonly state: 'open'; readonly openedAtMs: number; readonly failures: number }

/** Where processes share what they know of a provider. Without one each process finds out by itself. */
export interface CircuitStore {
  /** Asked before each try. */
  read(circuit: string): CircuitState | undefined | Promise<CircuitState | undefined>
  /** Told when a circuit opens or closes, not of every failure. */
  write(circuit: string, state: CircuitState): void | Promise<void>
}

/** A breaker of one provider and operation. */
export interface Circuit {
  /** `<provider>/<operation>` */
  readonly name: string
  /** `half_open`: one try is let through, and decides. */
  readonly state: 'closed' | 'open' | 'half_open'
  /**
   * `isOfProvider`: whether what `operation` throws says anything of the provider; asked when it throws. By default it does.
   * @throws `circuit_open` without running `operation`, or what `operation` throws
   */
  run<T>(operation: () => Promise<T>, options?: { readonly isOfProvider?: (error: unknown) => boolean }): Promise<T>
}

export interface CircuitOptions {
  /** Failures in a row, without a success between them, that open it. Default 5. */
  readonly failures?: number
  /** How long it stays open before one try is let through, in milliseconds. Default 60,000. */
  readonly openMs?: number
  /** What counts: failures of the provider. What is wrong with us or a request says nothing about it. Default: `network`, `overloaded` and `server`. */
  readonly kinds?: readonly FailureKind[]
  readonly store?: CircuitStore
  readonly onChange?: (circuit: string, state: CircuitState) => void
  /** A store that fails stops nobody: this process goes on with what it knows. */
  readonly onStoreFailed?: (error: unknown) => void
}

export interface Circuits {
  /** The same one for the same names. */
  of(provider: string, operation: string): Circuit
}

/** The circuits of a process. A rate limit does not open one: who waits as asked is served. */
export function circuits(options: CircuitOptions = {}): Circuits {
  const byName = new Map<string, Circuit>()
  return {
    of(provider, operation) {
      const name = `${provider}/${operation}`
      const circuit = byName.get(name) ?? createCircuit(name, options)
      byName.set(name, circuit)
      return circuit
    },
  }
}

const states = { [Cockatiel.Closed]: 'closed', [Cockatiel.Open]: 'open', [Cockatiel.HalfOpen]: 'half_open' } as const

function createCircuit(name: string, options: CircuitOptions): Circuit {
  const { failures = 5, openMs = 60_000, kinds = ['network', 'overloaded', 'server'], store, onChange, onStoreFailed } = options
  const counted = new Set(kinds)
  let policy = policyIn({ state: 'closed' })
  // What the store and this process last agreed on, so that only news is taken over.
  let agreed: CircuitState = { state: 'closed' }
  let untold: CircuitState | undefined
  let telling: Promise<void> = Promise.resolve()

  function policyIn(initial: CircuitState): CircuitBreakerPolicy {
    const made: CircuitBreakerPolicy = circuitBreaker(
      handleWhen((error) => {
        const kind = error instanceof NothingShown ? 'aborted' : classify(error).kind
        // Cockatiel takes what is not counted for a success of the half-open try; one that was given up has shown nothing.
        return counted.has(kind) || (kind === 'aborted' && made.state === Cockatiel.HalfOpen)
      }),
      {
        breaker: new ConsecutiveBreaker(failures),
        halfOpenAfter: openMs,
        ...(initial.state === 'open' && {
          initialState: {
            ownState: { value: Cockatiel.Open, openedAt: initial.openedAtMs, attemptNo: 1 },
            breakerState: initial.failures,
          },
        }),
      },
    )
    made.onBreak(() => changed({ state: 'open', openedAtMs: Date.now(), failures }))
    made.onReset(() => changed({ state: 'closed' }))
    return made
  }

  function changed(state: CircuitState): void {
    agreed = state
    onChange?.(name, state)
    if (!store) return
    untold = state
    // In order, and not waited for by the call that only found out.
    telling = telling.then(tell)
  }

  async function tell(): Promise<void> {
    const news = untold
    if (news === undefined) return
    try {
      await store?.write(name, news)
      if (untold === news) untold = undefined
    } catch (error) {
      onStoreFailed?.(error)
    }
  }

  async function takeOver(): Promise<void> {
    if (!store) return
    telling = telling.then(tell)
    await telling
    try {
      const stored = await store.read(name)
      // A store that did not take our news (`untold`) has older ones.
      if (stored === undefined || isSame(stored, agreed) || policy.state === Cockatiel.HalfOpen || untold !== undefined) return
      agreed = stored
      policy = policyIn(stored)
    } catch (error) {
      onStoreFailed?.(error)
    }
  }

  return {
    name,
    get state() {
      return policy.state === Cockatiel.Isolated ? 'open' : states[policy.state]
    },
    async run(operation, { isOfProvider = () => true } = {}) {
      await takeOver()
      let isRun = false
      try {
        return await policy.execute(async () => {
          isRun = true
          try {
            return await operation()
          } catch (error) {
            throw isOfProvider(error) ? error : new NothingShown(error)
          }
        })
      } catch (error) {
        if (error instanceof NothingShown) throw error.thrown
        if (isRun) throw error
        const openedAtMs = agreed.state === 'open' ? agreed.openedAtMs : Date.now()
        const retryInMs = Math.max(0, openedAtMs + openMs - Date.now())
        throw new ColloquyError('circuit_open', { circuit: name, failures, retryInMs }, { cause: error })
      }
    },
  }
}

/** Carries an error through the breaker that says nothing of the provider. */
class NothingShown {
  readonly thrown: unknown
  constructor(thrown: unknown) {
    this.thrown = thrown
  }
}

function isSame(a: CircuitState, b: CircuitState): boolean {
  return a.state === b.state && (a.state === 'closed' || b.state === 'closed' || a.openedAtMs === b.openedAtMs)
}
