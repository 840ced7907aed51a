import type { StampedAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { type Draft, defineSlice } from '../slice.ts'
import type { Vector } from '../vector.ts'
import { compactionFailed, compactionUndone, contextCompacted } from './compaction.ts'
import { conversationCleared, conversationStarted } from './lifecycle.ts'
import type { WorkingMessage } from './message.ts'
import { messageAdded } from './messages.ts'

/** How full the context window is. */
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
  /** Compactions that stand without a summary, so that no message tells of them; oldest first, of the last `unseenLimit` ones. */
  readonly unseenCompactions: readonly number[]
  /** The tries that failed since the last compaction or undo. */
  readonly failure: {
    readonly position: number
    readonly occurredAt: number
    readonly strategy: string
    readonly reason: string
    readonly inARow: number
    /** Messages that came since the last of them: how long to wait is told by these, not by a clock. */
    readonly messagesSince: number
  } | null
  /** Since a compaction, an undo or a failed try settled what the working set is: where that was, and what it weighed. */
  readonly settled: {
    /** 0 at the beginning. Whoever finds a compaction due names its command by this, so that of several only one is stored. */
    readonly position: number
    /** After the last compaction or undo. */
    readonly tokens: number
    /** Answers of the model since. */
    readonly answersSince: number
  }
}

/** An older compaction without a summary can still be read in the log, but not undone. */
const unseenLimit = 100

const initial = (): ContextState => ({
  usedTokens: 0,
  limitTokens: null,
  lastCompaction: null,
  compactions: 0,
  unseenCompactions: [],
  failure: null,
  settled: { position: 0, tokens: 0, answersSince: 0 },
})

/** How full the window of the model is. */
export const context = defineSlice({
  name: 'context',
  version: 2,
  replay: 'bare',
  initial,
  actions: [conversationStarted, messageAdded, contextCompacted, compactionFailed, compactionUndone, conversationCleared],
  guard(state, action) {
    if (action.type !== 'compactionUndone') return
    const position = action.payload.compactionPosition
    // A compaction without a summary left no trace in the list.
    if (state.context.unseenCompactions.includes(position)) return
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
        if (action.payload.message.role === 'assistant') draft.settled.answersSince += 1
        if (draft.failure) draft.failure.messagesSince += 1
        return
      case 'contextCompacted': {
        const { covered, summary, strategy, before, after } = action.payload
        draft.usedTokens = Math.max(0, draft.usedTokens - covered.tokens + (summary?.tokenCount ?? 0))
        draft.compactions += 1
        if (!summary) {
          draft.unseenCompactions.push(action.position)
          if (draft.unseenCompactions.length > unseenLimit) draft.unseenCompactions.shift()
        }
        settle(draft, action)
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
      case 'compactionFailed': {
        const { strategy, reason } = action.payload
        const inARow = (draft.failure?.inARow ?? 0) + 1
        const { position, occurredAt } = action
        draft.failure = { position, occurredAt, strategy, reason, inARow, messagesSince: 0 }
        draft.settled.position = position
        return
      }
      case 'compactionUndone': {
        const { compactionPosition, summaryTokens, restored } = action.payload
        draft.usedTokens = Math.max(0, draft.usedTokens - summaryTokens + restored.tokens)
        if (draft.lastCompaction?.position === compactionPosition) draft.lastCompaction = null
        draft.unseenCompactions = draft.unseenCompactions.filter((position) => position !== compactionPosition)
        settle(draft, action)
        return
      }
      case 'conversationCleared':
        draft.usedTokens = 0
        draft.lastCompaction = null
        draft.unseenCompactions = []
        settle(draft, action)
        return
      default:
        action satisfies never
    }
  },
})

/** What happens next is judged from here on. */
function settle(draft: Draft<ContextState>, { position }: Pick<StampedAction, 'position'>): void {
  draft.failure = null
  draft.settled = { position, tokens: draft.usedTokens, answersSince: 0 }
}
