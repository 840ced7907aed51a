import type { ConversationState } from '@colloquy/core'
import { type CompactionNeed, compactionDue, contextLimit, startTokens } from '../compaction/compaction-due.ts'
import { type CompactionSettings, compactionSettings } from '../compaction/compaction-settings.ts'
import type { Strategy } from '../compaction/strategy.ts'
import type { TokenCounter } from '../tokens/token-counter.ts'

export interface ContextWindowOptions {
  readonly counter: TokenCounter
  /** How the working set is made smaller: always one way, by what is in it, or (null) never. */
  readonly strategy: Strategy | ((state: ConversationState) => Strategy | null) | null
  readonly settings?: Partial<CompactionSettings>
}

/** How full the window of a conversation's model is, and what is done about it. Everything by its state. */
export interface ContextWindow {
  readonly counter: TokenCounter
  readonly settings: CompactionSettings
  /** Tokens that the working set may have. */
  maxContextTokens(state: ConversationState): number
  /** Tokens from which on it is compacted. */
  summaryThresholdTokens(state: ConversationState): number
  isNearLimit(state: ConversationState): boolean
  /** What is to be freed now; null: nothing. */
  compactionDue(state: ConversationState): CompactionNeed | null
  strategyFor(state: ConversationState): Strategy | null
}

/** @throws `settings_invalid` */
export function contextWindow({ counter, strategy, settings: given }: ContextWindowOptions): ContextWindow {
  const settings = compactionSettings(given)
  const summaryThresholdTokens = (state: ConversationState) => startTokens(contextLimit(state, settings), settings)
  return {
    counter,
    settings,
    maxContextTokens: (state) => contextLimit(state, settings),
    summaryThresholdTokens,
    isNearLimit: (state) => state.context.usedTokens >= summaryThresholdTokens(state),
    compactionDue: (state) => (strategy === null ? null : compactionDue(state, settings)),
    strategyFor: (state) => (typeof strategy === 'function' ? strategy(state) : strategy),
  }
}
