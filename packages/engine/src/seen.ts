/**
 * What somebody holds of a conversation, checked against the log.
 *
 * Asynchronous replication may lose acknowledged envelopes in a fail-over. The positions are given out again, to others, and whoever
 * holds the old ones would take the new for what it knows. So whoever holds a position tells its hash with it.
 */
import {
  ColloquyError,
  type ConversationKey,
  type EventLog,
  equalBytes,
  forkHash,
  type Head,
  isForkId,
  type Sha256,
} from '@colloquy/core'

/** A position and the hash of the envelope there, as they were acknowledged. */
export type Seen = Pick<Head, 'position' | 'hash'>

/** @throws `history_rewound` when the log has nothing at that position, or another envelope */
export async function assertSeen(log: EventLog, key: ConversationKey, seen: Seen, sha256: Sha256): Promise<void> {
  if (seen.position === 0) return
  const fate = await log.outcome({ key, ...seen })
  if (fate === 'stored' || (await isBeginning(log, key, seen, sha256))) return
  const headPosition = (await log.head(key))?.position ?? 0
  throw new ColloquyError('history_rewound', { conversationId: key.conversationId, heldPosition: seen.position, headPosition })
}

/** A fork that has no envelopes yet stands at its parent's position with a hash of its own, which no envelope has. */
async function isBeginning(log: EventLog, key: ConversationKey, { position, hash }: Seen, sha256: Sha256): Promise<boolean> {
  if (!isForkId(key.conversationId) || (await log.ancestry(key)).at(-1)?.position !== position) return false
  for await (const [shared] of log.read(key, { from: position, to: position })) {
    return shared !== undefined && equalBytes(hash, forkHash(shared.hash, position, key, sha256))
  }
  return false
}
