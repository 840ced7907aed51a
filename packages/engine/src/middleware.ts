import type { Action, StampedAction } from '@colloquy/core'

/** What a middleware can reach. The same object for every action of a conversation; the getters speak of the present dispatch. */
export interface MiddlewareApi<State = unknown> {
  readonly conversationId: string
  /** The state that the action will be applied to: what is stored, and what this append already took in. */
  getState(): State
  /** Sends another action down the whole chain, as part of the same dispatch: stored with it or not at all. */
  dispatch(action: Action): Promise<StampedAction | void>
  /** Stable over all attempts of one dispatch: the key of effects outside, which must happen once. */
  readonly dispatchId: string
  /** 1, and one more each time another writer came first and the chain runs again. */
  readonly attempt: number
}

/** Takes an action in: guard, reduce, stamp. It is stored when all that share the append have been through their chains. */
export type Next = (action: Action) => Promise<StampedAction | void>

/**
 * Redux's signature, async. Call `next` with the action, with a changed one, or several times; throw to refuse; return without
 * calling it to block.
 *
 * What was passed to `next` is stored, even if the middleware throws afterwards: so a refusal can leave its own record. `next`
 * resolves before the append; what must wait for the commit is an effect. After a conflict the chain runs again on the new state.
 */
export type Middleware<State = unknown> = (
  api: MiddlewareApi<State>,
) => (next: Next) => (action: Action) => Promise<StampedAction | void>

/** The chain, outermost first, around `takeIn`. */
export function composeMiddleware<State>(
  middleware: readonly Middleware<State>[],
  api: MiddlewareApi<State>,
  takeIn: Next,
): Next {
  return middleware.reduceRight<Next>((next, one) => one(api)(next), takeIn)
}
