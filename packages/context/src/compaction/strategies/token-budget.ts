import type { WorkingMessage } from '@colloquy/core'
import { outsideWindow, planRemoval, survey } from '../plan.ts'
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
    plan(input) {
      const found = survey(input)
      const limitTokens = Math.min(maxTokens, input.targetTokens)
      if (found.totalTokens <= limitTokens) return { reason: 'within_target' }
      return planRemoval(found, outsideWindow(found, { limitTokens, limitMessages: Number.POSITIVE_INFINITY }))
    },
  }
}

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
  const found = survey({
    messages,
    pinned: rest.pinned ?? new Set(),
    openCalls: rest.openCalls ?? [],
    targetTokens: maxTokens,
    counter: { id: 'none', version: '0', count: () => 0 },
  })
  if (found.totalTokens <= maxTokens) return { messages, removedMessageCount: 0, removedTokens: 0 }
  const leaving = outsideWindow(found, { limitTokens: maxTokens, limitMessages: Number.POSITIVE_INFINITY })
  if (leaving === null) return null
  const kept = messages.filter((_, index) => !leaving.has(found.structure.groupOf[index] ?? -1))
  const removedTokens = [...leaving].reduce((sum, number) => sum + (found.tokensOf[number] ?? 0), 0)
  return { messages: kept, removedMessageCount: messages.length - kept.length, removedTokens }
}
