import type { ConversationState } from '@colloquy/core'
import { type CompactionNeed, compactionDue, policyOf, targetTokensOf } from '../compaction/compaction-due.ts'
import { type CompactionSettings, compactionSettings } from '../compaction/compaction-settings.ts'
import { isNearLimit, startTokens } from '../compaction/policy.ts'
import { adaptive } from '../compaction/strategies/adaptive.ts'
import { namedStrategy } from '../compaction/strategies/named-strategy.ts'
import { nullStrategy } from '../compaction/strategies/null-strategy.ts'
import type { Strategy } from '../compaction/strategy.ts'
import type { Settings } from '../settings.ts'
import { estimateCounter } from '../tokens/estimate-counter.ts'
import type { TokenCounter } from '../tokens/token-counter.ts'

export interface ContextWindowOptions {
  /** Default: the estimate. */
  readonly counter?: TokenCounter
  /** How the working set is made smaller. Default: by what is in it (`adaptive`). Null, or `nullStrategy`: never. */
  readonly strategy?: Strategy | ((state: ConversationState) => Strategy | null) | null
  readonly settings?: Partial<CompactionSettings>
}

/** How full the window of a conversation's model is, and what is done about it. Everything by its state. */
export interface ContextWindow {
  readonly counter: TokenCounter
  readonly settings: CompactionSettings
  /** Tokens that the working set may have. */
  maxContextTokens(state: ConversationState): number
  /** It is compacted when it holds more. */
  summaryThresholdTokens(state: ConversationState): number
  /** More than the threshold is used. */
  isNearLimit(state: ConversationState): boolean
  /** Tokens that a compaction leaves at most. */
  targetTokens(state: ConversationState): number
  /** What is to be freed now; null: nothing. */
  compactionDue(state: ConversationState): CompactionNeed | null
  /** Null: it is never compacted. */
  strategyFor(state: ConversationState): Strategy | null
}

/** The window that settings speak of: its budgets, thresholds and strategy. @throws `settings_invalid` */
export function windowOf(
  { contextBudget, modelBudgets, thresholds, strategy }: Settings,
  options: Pick<ContextWindowOptions, 'counter'> = {},
): ContextWindow {
  const settings = { ...thresholds, maxContextTokens: contextBudget, modelContextTokens: modelBudgets }
  return contextWindow({ ...options, strategy: namedStrategy(strategy), settings })
}

/** The window of the conversations that an engine or a turn works for; settings that are not given are the defaults. @throws `settings_invalid` */
export function contextWindow(options: ContextWindowOptions = {}): ContextWindow {
  const { counter = estimateCounter, strategy = adaptive(), settings: given } = options
  const settings = compactionSettings(given)
  const strategyFor = (state: ConversationState): Strategy | null => {
    const chosen = typeof strategy === 'function' ? strategy(state) : strategy
    return chosen?.name === nullStrategy.name ? null : chosen
  }
  return {
    counter,
    settings,
    maxContextTokens: (state) => policyOf(state, settings).maxContextTokens,
    summaryThresholdTokens: (state) => startTokens(policyOf(state, settings)),
    isNearLimit: (state) => isNearLimit(state.context.usedTokens, policyOf(state, settings)),
    targetTokens: (state) => targetTokensOf(state, settings),
    compactionDue: (state) => (strategy === null || strategy === nullStrategy ? null : compactionDue(state, settings)),
    strategyFor,
  }
}
