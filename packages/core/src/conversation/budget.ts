import { z } from 'zod'
import { defineAction } from '../action.ts'
import { defineSlice } from '../slice.ts'
import { tokenCount } from './message.ts'
import { messageAdded } from './messages.ts'

/** A limit for this conversation; null takes it away. */
export const budgetSet = defineAction(
  'budgetSet',
  z.strictObject({ limitTokens: tokenCount.nullable(), warnTokens: tokenCount.nullable().optional() }),
)

/** The conversation came near its limit. */
export const budgetWarned = defineAction(
  'budgetWarned',
  z.strictObject({ limitTokens: tokenCount, usedTokens: tokenCount, warnTokens: tokenCount }),
)

/** An action was refused for its cost. The action is not stored, this is. */
export const budgetRefused = defineAction(
  'budgetRefused',
  z.strictObject({ actionType: z.string(), limitTokens: tokenCount, usedTokens: tokenCount, requestedTokens: tokenCount }),
)

export interface BudgetState {
  readonly limitTokens: number | null
  readonly warnTokens: number | null
  /** Tokens of all messages ever added: compacting or redacting a message does not give them back. */
  readonly usedTokens: number
  readonly warnings: number
  readonly refusals: number
}

/** What the conversation may cost, and has. */
export const budget = defineSlice({
  name: 'budget',
  version: 1,
  replay: 'bare',
  initial: (): BudgetState => ({ limitTokens: null, warnTokens: null, usedTokens: 0, warnings: 0, refusals: 0 }),
  actions: [budgetSet, budgetWarned, budgetRefused, messageAdded],
  reduce(draft, action) {
    switch (action.type) {
      case 'budgetSet':
        draft.limitTokens = action.payload.limitTokens
        draft.warnTokens = action.payload.warnTokens ?? null
        return
      case 'budgetWarned':
        draft.warnings += 1
        return
      case 'budgetRefused':
        draft.refusals += 1
        return
      case 'messageAdded':
        draft.usedTokens += action.payload.tokenCount
        return
      default:
        action satisfies never
    }
  },
})
