import { ColloquyError, contextCompacted, plainMessage, type SummaryRequest } from '@colloquy/core'
import { requestHash } from './plan-compaction.ts'
import { storedAction } from './stored-action.ts'
import type { CompactionEngine } from './undo-compaction.ts'

/** What the summariser of a compaction was given, and what it made of it. */
export interface SummariserInput {
  /** `id@version`. */
  readonly by: string
  readonly request: SummaryRequest
  /** Whether `request` is, by its hash, exactly what was read then. It is not when something of it was erased since. */
  readonly isExact: boolean
  /** What was made of it; null when it was erased. */
  readonly text: string | null
}

/**
 * Exactly what the summariser of the compaction at a position read, out of the log: with words that were redacted since, so it is not
 * for showing around. Null for a compaction that no summariser of ours made.
 * @throws `compaction_not_found`, `conversation_not_found`, `position_not_found`, `log_corrupt`
 */
export async function summariserInput(
  engine: CompactionEngine,
  conversationId: string,
  position: number,
): Promise<SummariserInput | null> {
  const action = await storedAction(engine, conversationId, position)
  if (!contextCompacted.match(action)) throw new ColloquyError('compaction_not_found', { position })
  const { summarised, covered, summary } = action.payload
  if (!summarised) return null
  const { by, maxTokens, instructions, readIds = covered.messageIds } = summarised
  const part = summary?.message.parts[0]
  const { state } = await engine.replay(conversationId, { position: position - 1 })
  const ids = new Set(readIds)
  const messages = state.messages
    .slice()
    .filter((m) => ids.has(m.id))
    .map(plainMessage)
  const request = { messages, maxTokens, ...(instructions !== undefined && { instructions }) }
  return {
    by,
    request,
    isExact: requestHash(request) === summarised.requestHash,
    text: part?.type === 'compaction' ? (part.content ?? null) : null,
  }
}
