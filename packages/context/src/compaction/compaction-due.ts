/**
 * Whether the working set is to be compacted now, from the state alone: so a crash loses no need, any process finds it, and it is the
 * same after a restart. No clock: what failed is tried again when the conversation has gone on.
 */
import type { ConversationState } from '@colloquy/core'
import type { CompactionSettings } from './compaction-settings.ts'
import { type CompactionPolicy, fixedTokensOf, isNearLimit, targetTokens } from './policy.ts'

/** What is to be freed, and why. */
export interface CompactionNeed {
  readonly usedTokens: number
  readonly limitTokens: number
  readonly targetTokens: number
  /** Where the working set was settled last: it names the command, so that of several processes one stores a compaction. */
  readonly settledPosition: number
}

/** Of the limit: what a compaction has to free, and what has to come before the next one, so that none follows at the heels of another. */
const leastChangeRatio = 0.1
/** After n failures in a row 2^n messages go by, at most so many. */
const longestBackOffMessages = 64
/** Where the model of a conversation is looked for. */
const lookBackMessages = 32

/** What is to be freed now; null: nothing. Pure. */
export function compactionDue(state: ConversationState, settings: CompactionSettings): CompactionNeed | null {
  const { usedTokens, settled, failure } = state.context
  const policy = policyOf(state, settings)
  const limitTokens = policy.maxContextTokens
  if (state.lifecycle.archived !== null || !isNearLimit(usedTokens, policy)) return null
  if (usedTokens - settled.tokens < limitTokens * leastChangeRatio) return null
  if (failure && failure.messagesSince < Math.min(2 ** failure.inARow, longestBackOffMessages)) return null
  if (state.turn.current !== null && usedTokens < limitTokens && !isAppliedInTurn(settled.answersSince, settings)) return null
  return { usedTokens, limitTokens, targetTokens: targetTokensOf(state, settings), settledPosition: settled.position }
}

/** What a compaction of this working set is to leave at most. */
export const targetTokensOf = (state: ConversationState, settings: CompactionSettings): number =>
  targetTokens(
    policyOf(state, settings),
    fixedTokensOf(state.messages.slice(), ({ pinned }) => pinned === true),
  )

/** The policy for the model that a conversation speaks with. */
export function policyOf(state: ConversationState, settings: CompactionSettings): CompactionPolicy {
  const model = modelOf(state)
  const asked = (model !== undefined && settings.modelContextTokens[model]) || settings.maxContextTokens
  const maxContextTokens = Math.min(asked, state.context.limitTokens ?? asked)
  // In a window that is hardly larger than the floor a compaction down to it would free next to nothing, and follow upon each message.
  const hasRoom = settings.leastTokens <= maxContextTokens * (settings.summaryThreshold - leastChangeRatio)
  return { ...settings, maxContextTokens, leastTokens: hasRoom ? settings.leastTokens : 0 }
}

function isAppliedInTurn(answers: number, { perTurn }: CompactionSettings): boolean {
  if (typeof perTurn === 'boolean') return perTurn
  return answers > 0 && answers % perTurn === 0
}

/** The model that answered last: the limit follows a switch to a smaller one. */
function modelOf({ messages }: ConversationState): string | undefined {
  for (let back = 1; back <= Math.min(lookBackMessages, messages.length); back++) {
    const model = messages.at(-back)?.model?.id
    if (model !== undefined) return model
  }
  return undefined
}
