import {
  adaptive,
  chronological,
  preserveToolContext,
  type Strategy,
  slidingWindow,
  summarizing,
  tokenBudget,
  topicBased,
} from '@colloquy/context'
import type { StrategyName } from './compaction-strategy-names.ts'

/** The strategies that `--strategy` names, for a budget in tokens. */
export const compactionStrategies: Readonly<Record<StrategyName, (budgetTokens: number) => Strategy>> = {
  adaptive,
  chronological,
  'preserve-tool-context': preserveToolContext,
  'topic-based': topicBased,
  summarizing: () => summarizing(),
  'sliding-window': (tokens) => slidingWindow({ tokens }),
  'token-budget': (maxTokens) => tokenBudget({ maxTokens }),
}
