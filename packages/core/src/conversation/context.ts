import { defineSlice } from '../slice.ts'
import { compactionUndone, contextCompacted } from './compaction.ts'
import { conversationCleared, conversationStarted } from './lifecycle.ts'
import { messageAdded } from './messages.ts'

export interface ContextState {
  /** Tokens of the working set. */
  readonly usedTokens: number
  /** The context window, when `conversationStarted` said it. */
  readonly limitTokens: number | null
  readonly lastCompaction: {
    readonly position: number
    readonly occurredAt: number
    readonly strategy: string
    readonly coveredMessages: number
    readonly tokensBefore: number
    readonly tokensAfter: number
  } | null
  readonly compactions: number
}

/** How full the window of the model is. */
export const context = defineSlice({
  name: 'context',
  version: 1,
  replay: 'bare',
  initial: (): ContextState => ({ usedTokens: 0, limitTokens: null, lastCompaction: null, compactions: 0 }),
  actions: [conversationStarted, messageAdded, contextCompacted, compactionUndone, conversationCleared],
  reduce(draft, action) {
    switch (action.type) {
      case 'conversationStarted':
        draft.limitTokens = action.payload.contextLimitTokens ?? draft.limitTokens
        return
      case 'messageAdded':
        draft.usedTokens += action.payload.tokenCount
        return
      case 'contextCompacted': {
        const { covered, summary, strategy, before, after } = action.payload
        draft.usedTokens = Math.max(0, draft.usedTokens - covered.tokens + (summary?.tokenCount ?? 0))
        draft.compactions += 1
        draft.lastCompaction = {
          position: action.position,
          occurredAt: action.occurredAt,
          strategy,
          coveredMessages: covered.messageIds.length,
          tokensBefore: before.tokens,
          tokensAfter: after.tokens,
        }
        return
      }
      case 'compactionUndone':
        draft.usedTokens = Math.max(0, draft.usedTokens - action.payload.summaryTokens + action.payload.restored.tokens)
        return
      case 'conversationCleared':
        draft.usedTokens = 0
        return
      default:
        action satisfies never
    }
  },
})
