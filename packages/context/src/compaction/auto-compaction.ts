import { type ConversationState, isColloquyError, type Summariser } from '@colloquy/core'
import type { Effect } from '@colloquy/engine'
import { Observable } from 'rxjs'
import { type ContextWindow, contextWindow } from '../window/context-window.ts'
import { compact } from './compact.ts'
import type { CompactionNeed } from './compaction-due.ts'
import { extractiveSummariser } from './extractive-summariser.ts'

export interface AutoCompactionOptions {
  /** When, how far, and by which strategy. Default: `contextWindow()`. */
  readonly window?: ContextWindow
  /** Default: the extractive one, which needs no model. */
  readonly summariser?: Summariser
  /** How long a summariser may take. Default 120,000. */
  readonly timeoutMs?: number
}

/**
 * An effect that compacts a conversation when it is due: looked for when it comes into memory and after each append, so that no
 * crash loses it. It runs beside the conversation, once at a time. Of several processes that find the same need one stores its
 * compaction. What fails is on record, and is tried again when the conversation has gone on.
 */
export function autoCompaction(options: AutoCompactionOptions = {}): Effect<ConversationState> {
  const { window = contextWindow(), timeoutMs } = options
  const { summariser = extractiveSummariser({ counter: window.counter }) } = options
  return function compaction(envelope$, api) {
    return new Observable<never>(() => {
      const stopping = new AbortController()
      let isRunning = false
      /** The need that another process has met, of which this one will hear with its next append. */
      let metAt: number | undefined

      const look = (): void => {
        if (isRunning || stopping.signal.aborted) return
        const state = api.getState()
        const need = window.compactionDue(state)
        if (need === null || need.settledPosition === metAt) return
        const strategy = window.strategyFor(state)
        if (strategy === null) return
        isRunning = true
        void run(need, strategy).then((isSettled) => {
          isRunning = false
          // After trouble with the log only the next append looks again: it shows that the log is back.
          if (isSettled) look()
        })
      }

      /** @returns whether the state says what became of it */
      const run = async (
        need: CompactionNeed,
        strategy: NonNullable<ReturnType<ContextWindow['strategyFor']>>,
      ): Promise<boolean> => {
        try {
          const { status } = await compact(api, {
            strategy,
            summariser,
            counter: window.counter,
            targetTokens: need.targetTokens,
            trigger: 'auto',
            commandId: `effect:compaction:${need.settledPosition}`,
            signal: stopping.signal,
            ...(timeoutMs !== undefined && { timeoutMs }),
          })
          if (status === 'superseded') metAt = need.settledPosition
          return true
        } catch (error) {
          if (stopping.signal.aborted) return false
          api.reportError(error)
          return isColloquyError(error, 'compaction_failed') && api.getState().context.settled.position !== need.settledPosition
        }
      }

      const subscription = envelope$.subscribe(look)
      look()
      return () => {
        stopping.abort()
        subscription.unsubscribe()
      }
    })
  }
}
