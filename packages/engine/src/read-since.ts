import { ColloquyError, type ConversationKey, type EventLog, equalBytes, type StoredEnvelope } from '@colloquy/core'
import type { Seen } from './seen.ts'

/**
 * Pages of what the log has behind `held`, up to the position of its end.
 * @throws `history_rewound` when it has another envelope there than the one held
 */
export async function* readSince(
  log: EventLog,
  key: ConversationKey,
  held: Seen,
  headPosition: number,
): AsyncGenerator<readonly StoredEnvelope[]> {
  // The one held is read again: that it is still the same is what makes those behind it follow.
  for await (const page of log.read(key, { from: Math.max(held.position, 1), to: headPosition })) {
    const [first] = page
    const isHeld = first !== undefined && first.position === held.position
    // A fork without envelopes of its own stands on its parent's.
    const isOwn = first?.conversationId === key.conversationId
    if (isHeld && isOwn && !equalBytes(first.hash, held.hash)) {
      const { conversationId } = key
      throw new ColloquyError('history_rewound', { conversationId, heldPosition: held.position, headPosition })
    }
    const missed = isHeld ? page.slice(1) : page
    if (missed.length > 0) yield missed
  }
}
