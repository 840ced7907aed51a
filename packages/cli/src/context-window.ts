import { type ContextWindow, compactionSettingsOf, contextWindow, type Settings } from '@colloquy/context'
import { strategyOf } from './compaction-strategies.ts'

/** The window as the settings have it: its limits, and the strategy that makes room in it. */
export function windowOf({ strategy, ...limits }: Settings): ContextWindow {
  const settings = compactionSettingsOf({ strategy, ...limits })
  // What a strategy of its own limits goes down to, too.
  const { targetTokens } = contextWindow({ settings })
  return contextWindow({ settings, strategy: strategy === 'null' ? null : (state) => strategyOf(strategy, targetTokens(state)) })
}
