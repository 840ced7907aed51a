import { planWindow, survey } from '../plan.ts'
import type { Strategy } from '../strategy.ts'

export interface SlidingWindowOptions {
  /** Default 5. Instructions and what is pinned are not counted. 0 removes all that may leave. */
  readonly messages?: number
  /** Default: as many as the target allows. */
  readonly tokens?: number
}

/** The newest messages that fit, and the request they answer; what is older leaves without a summary. */
export function slidingWindow(options: SlidingWindowOptions = {}): Strategy {
  const { tokens = Number.POSITIVE_INFINITY } = options
  // A window in tokens alone has no limit in messages.
  const limitMessages = options.messages ?? (options.tokens === undefined ? 5 : Number.POSITIVE_INFINITY)
  return {
    name: 'sliding-window',
    plan: (input) => planWindow(survey(input), { limitTokens: Math.min(tokens, input.targetTokens), limitMessages }),
  }
}
