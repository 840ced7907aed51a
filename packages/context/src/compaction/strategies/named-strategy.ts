import type { StrategyName } from '../../settings.ts'
import type { Strategy } from '../strategy.ts'
import { adaptive } from './adaptive.ts'
import { chronological } from './chronological.ts'
import { firstOf } from './compose.ts'
import { nullStrategy } from './null-strategy.ts'
import { preserveToolContext } from './preserve-tool-context.ts'
import { slidingWindow } from './sliding-window.ts'
import { summarizing } from './summarizing.ts'
import { tokenBudget } from './token-budget.ts'
import { topicBased } from './topic-based.ts'

export interface NamedStrategyOptions {
  /** Of those that have a window in tokens; the target of each compaction holds beside it. Default: what each has. */
  readonly maxTokens?: number
}

const strategies: Readonly<Record<StrategyName, (options: NamedStrategyOptions) => Strategy>> = {
  adaptive,
  'preserve-tool-context': preserveToolContext,
  'topic-based': topicBased,
  chronological,
  summarizing: () => summarizing(),
  'sliding-window': ({ maxTokens }) => slidingWindow(maxTokens === undefined ? {} : { tokens: maxTokens }),
  'token-budget': ({ maxTokens }) => tokenBudget(maxTokens === undefined ? {} : { maxTokens }),
  null: () => nullStrategy,
}

/** The strategy that settings name; of several the first that finds a plan. */
export function namedStrategy(names: StrategyName | readonly StrategyName[], options: NamedStrategyOptions = {}): Strategy {
  const [first = 'adaptive', ...others] = typeof names === 'string' ? [names] : names
  const made = (name: StrategyName): Strategy => strategies[name](options)
  return others.length === 0 ? made(first) : firstOf(made(first), ...others.map(made))
}
