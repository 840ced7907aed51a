import { classify, type Failure, type FailureKind } from './classify.ts'

export interface FallBackOptions<M> {
  /** What another model is asked after. A request that is refused for what it is fails everywhere; so does an abort. */
  readonly kinds?: readonly FailureKind[]
  readonly classify?: (error: unknown) => Failure
  readonly signal?: AbortSignal
  /** Called before the next model is asked, and waited for. */
  readonly onFallBack?: (fall: {
    readonly from: M
    readonly to: M
    readonly failure: Failure
    readonly error: unknown
  }) => void | Promise<void>
}

const awayKinds: readonly FailureKind[] = [
  'network',
  'rate_limit',
  'overloaded',
  'server',
  'authentication',
  'quota',
  'circuit_open',
]

/**
 * Asks the first model, with its own tries and circuit (`ask` calls `recover`), and the next one when that could not be had.
 * @throws what the last model that was asked threw
 */
export async function fallBack<M, T>(
  [first, ...others]: readonly [M, ...(readonly M[])],
  ask: (model: M) => Promise<T>,
  options: FallBackOptions<M> = {},
): Promise<T> {
  const { kinds = awayKinds, signal, onFallBack } = options
  const read = options.classify ?? ((error: unknown) => classify(error))
  let model = first
  for (const to of others) {
    try {
      return await ask(model)
    } catch (error) {
      const failure = read(error)
      if (signal?.aborted === true || !kinds.includes(failure.kind)) throw error
      await onFallBack?.({ from: model, to, failure, error })
      model = to
    }
  }
  return ask(model)
}
