import type { WorkingMessage } from '@colloquy/core'
import { planWindow, survey } from '../plan.ts'
import type { CompactionInput, Strategy } from '../strategy.ts'

export interface TokenBudgetOptions {
  /** Default 8,000. The target of the compaction holds beside it: the lower one counts. */
  readonly maxTokens?: number
}

const defaultMaxTokens = 8_000

/** The newest messages that fit into the budget, calls with their results, and the request they answer; no summary. */
export function tokenBudget({ maxTokens = defaultMaxTokens }: TokenBudgetOptions = {}): Strategy {
  return {
    name: 'token-budget',
    plan: (input) => planWindow(survey(input), windowOf(Math.min(maxTokens, input.targetTokens))),
  }
}

const windowOf = (limitTokens: number) => ({ limitTokens, limitMessages: Number.POSITIVE_INFINITY })

export interface Fitted {
  readonly messages: readonly WorkingMessage[]
  readonly removedMessageCount: number
  readonly removedTokens: number
}

/**
 * The messages that a model is shown under a budget, when nothing is to be stored of it: what `tokenBudget` would keep.
 * @returns null when what must stay is more than the budget, or nothing would be left that a provider takes
 */
export function fitToBudget(
  messages: readonly WorkingMessage[],
  { maxTokens = defaultMaxTokens, ...rest }: TokenBudgetOptions & Partial<Pick<CompactionInput, 'pinned' | 'openCalls'>>,
): Fitted | null {
  const { pinned = new Set<string>(), openCalls = [] } = rest
  const plan = planWindow(
    survey({ messages, pinned, openCalls, targetTokens: maxTokens, counter: countsNothing }),
    windowOf(maxTokens),
  )
  if (!('covered' in plan)) return plan.reason === 'within_target' ? { messages, removedMessageCount: 0, removedTokens: 0 } : null
  const removed = new Set(plan.covered)
  const kept = messages.filter(({ id }) => !removed.has(id))
  const removedTokens = messages.reduce((sum, { id, tokenCount }) => sum + (removed.has(id) ? tokenCount : 0), 0)
  return { messages: kept, removedMessageCount: plan.covered.length, removedTokens }
}

/** Nothing is summarised here, so nothing is counted. */
const countsNothing = { id: 'none', version: '0', count: () => 0 }
