import {
  adaptive,
  chronological,
  firstOf,
  nullStrategy,
  preserveToolContext,
  type Settings,
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

/** What the settings name: one strategy, or the first of several that finds a plan. */
export function strategyOf(named: Settings['strategy'], budgetTokens: number): Strategy {
  const names = typeof named === 'string' ? [named] : named
  const [first = nullStrategy, ...others] = names.map((name) =>
    name === 'null' ? nullStrategy : compactionStrategies[name](budgetTokens),
  )
  return others.length === 0 ? first : firstOf(first, ...others)
}
