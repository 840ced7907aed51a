import type { Action, StampedAction } from '@colloquy/core'

/**
 * What a middleware can reach. The same object for every action of a conversation; it speaks of the dispatch on whose behalf it is
 * called, which goes with a middleware through all that it awaits.
 */
export interface MiddlewareApi<State = unknown> {
  readonly conversationId: string
  /** The state that the action will be applied to: what is stored, and what this append already took in. */
  getState(): State
  /**
   * Sends another action down the whole chain, as part of the same dispatch: stored with it or not at all.
   * @throws `middleware_failed` when the dispatch has ended
   */
  dispatch(action: Action): Promise<StampedAction | void>
  /** Stable over all attempts of one dispatch: the key of effects outside, which must happen once. */
  readonly dispatchId: string
  /** 1, and one more each time another writer came first and the chain runs again. */
  readonly attempt: number
}

/**
 * Takes an action in: guard, reduce, stamp. It is stored when all that share the append have been through their chains. Several calls
 * at once are taken in one after the other. @throws `middleware_failed` when the dispatch has ended
 */
export type Next = (action: Action) => Promise<StampedAction | void>

/**
 * Redux's signature, async. Call `next` with the action, with a changed one, or several times; throw to refuse; return without
 * calling it to block.
 *
 * What was passed to `next` is stored, even if the middleware throws afterwards: so a refusal can leave its own record. `next`
 * resolves before the append; what must wait for the commit is an effect. After a conflict the chain runs again on the new state, and
 * so it does once before a refusal is given, where other processes had appended.
 *
 * `dispatch` and `refresh` of the conversation itself wait for this dispatch to end, so a middleware is refused there
 * (`middleware_failed`). One that waits for another conversation whose middleware waits for this one waits for ever.
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
