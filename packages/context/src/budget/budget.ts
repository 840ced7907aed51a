import {
  type Action,
  type BudgetState,
  budgetRefused,
  budgetWarned,
  ColloquyError,
  type ConversationState,
  messageAdded,
} from '@colloquy/core'
import type { Middleware } from '@colloquy/engine'

export interface BudgetOptions {
  /** Tokens that all messages of a conversation together may take. */
  readonly limitTokens?: number
  /** From here on a `budgetWarned` is stored, once each time the mark is passed. */
  readonly warnTokens?: number
}

/**
 * Refuses an action that would take a conversation past its limit; the refusal itself is stored as `budgetRefused`, the action is
 * not. A limit set by `budgetSet` counts beside the option: the lower one holds. Without either, everything passes.
 *
 * Dispatches of a conversation are judged one after the other, each on what the ones before added, so several at once cannot
 * overshoot; a conflict with another process judges again.
 *
 * @throws `budget_exceeded`
 */
export const budget =
  (options: BudgetOptions = {}): Middleware<ConversationState> =>
  (api) =>
  (next) =>
  async (action) => {
    const { budget: state } = api.getState()
    const { usedTokens } = state
    const requestedTokens = tokensAdded(action)
    const limitTokens = lower(options.limitTokens, state.limitTokens)
    const warnTokens = lower(options.warnTokens, state.warnTokens)
    const totalTokens = usedTokens + requestedTokens
    if (requestedTokens > 0 && limitTokens !== null && totalTokens > limitTokens) {
      await next(budgetRefused({ actionType: action.type, limitTokens, usedTokens, requestedTokens }))
      throw new ColloquyError('budget_exceeded', { limitTokens, usedTokens, requestedTokens })
    }
    const taken = await next(action)
    if (limitTokens !== null && warnTokens !== null && usedTokens < warnTokens && totalTokens >= warnTokens) {
      await next(budgetWarned({ limitTokens, usedTokens: totalTokens, warnTokens }))
    }
    return taken
  }

/** The tokens that storing an action spends. */
function tokensAdded(action: Action): number {
  return messageAdded.match(action) ? action.payload.tokenCount : 0
}

function lower(a: number | undefined, b: BudgetState['limitTokens']): number | null {
  if (a === undefined) return b
  return b === null ? a : Math.min(a, b)
}
