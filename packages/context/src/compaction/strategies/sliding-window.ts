import { outsideWindow, planRemoval, survey } from '../plan.ts'
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
    plan(input) {
      const found = survey(input)
      const limitTokens = Math.min(tokens, input.targetTokens)
      const removableMessages = found.removable.reduce(
        (sum, number) => sum + (found.structure.groups[number]?.indexes.length ?? 0),
        0,
      )
      if (found.totalTokens <= limitTokens && removableMessages <= limitMessages) return { reason: 'within_target' }
      if (limitMessages === 0) return planRemoval(found, new Set(found.removable))
      return planRemoval(found, outsideWindow(found, { limitTokens, limitMessages }))
    },
  }
}
