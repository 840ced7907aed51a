import { ColloquyError } from '../errors.ts'
import { defineSlice } from '../slice.ts'
import type { Vector } from '../vector.ts'
import { compactionUndone, contextCompacted } from './compaction.ts'
import { conversationCleared, conversationStarted } from './lifecycle.ts'
import { messageAdded, type WorkingMessage } from './messages.ts'

export interface ContextState {
  /** Tokens of the working set. */
  readonly usedTokens: number
  /** The context window, when `conversationStarted` said it. */
  readonly limitTokens: number | null
  /** The last compaction, unless it was undone or the conversation cleared since. */
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
  guard(state, action) {
    if (action.type !== 'compactionUndone') return
    const position = action.payload.compactionPosition
    // A compaction without a summary left no trace in the list: only the last one is known to be undoable.
    if (state.context.lastCompaction?.position === position) return
    const list = state.messages as Vector<WorkingMessage> | undefined
    if (!list?.find((m) => m.position === position && m.standsAt !== undefined)) {
      throw new ColloquyError('compaction_not_found', { position })
    }
  },
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
        if (draft.lastCompaction?.position === action.payload.compactionPosition) draft.lastCompaction = null
        return
      case 'conversationCleared':
        draft.usedTokens = 0
        draft.lastCompaction = null
        return
      default:
        action satisfies never
    }
  },
})
