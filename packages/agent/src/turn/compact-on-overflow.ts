import { type ContextWindow, compact, contextWindow, extractiveSummariser } from '@colloquy/context'
import { isColloquyError, type Summariser } from '@colloquy/core'
import type { TurnHooks } from './turn-options.ts'

export interface CompactOnOverflowOptions {
  /** By which strategy, and how far. Default: `contextWindow()`. */
  readonly window?: ContextWindow
  /** Default: the extractive one, which needs no model: the one that there is has just refused. */
  readonly summariser?: Summariser
}

/** The provider counts otherwise than we do, so what it refused is made smaller by our count too, whatever limit that has. */
const targetRatio = 0.6

/**
 * The emergency compaction: when a provider says that the conversation does not fit, it is compacted, and the call is made once more.
 * What fails is on record as `compactionFailed`, and the overflow is final.
 */
export function compactOnOverflow(options: CompactOnOverflowOptions = {}): NonNullable<TurnHooks['onOverflow']> {
  const { window = contextWindow() } = options
  const { summariser = extractiveSummariser({ counter: window.counter }) } = options
  return async (_call, conversation) => {
    const state = conversation.getState()
    const strategy = window.strategyFor(state)
    if (strategy === null) return false
    const targetTokens = Math.floor(Math.min(window.targetTokens(state), state.context.usedTokens * targetRatio))
    try {
      const { status } = await compact(conversation, {
        strategy,
        summariser,
        counter: window.counter,
        targetTokens,
        trigger: 'overflow',
      })
      return status === 'compacted' || status === 'superseded'
    } catch (error) {
      if (isColloquyError(error, 'compaction_failed')) return false
      throw error
    }
  }
}
