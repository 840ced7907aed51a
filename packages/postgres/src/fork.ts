/** Forks: a row in `conversation` that names its parent; the envelopes up to there are read from the parent. */
import { ColloquyError, type ConversationKey, type ForkOutcome, type ForkRequest, forkHash, partitionOf } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import type { LogConnection } from './connections/connection.ts'
import { safeInteger } from './connections/int8.ts'
import { conversationOf, headColumns, toHead } from './read/conversation-row.ts'
import { readRange } from './read/read.ts'
import type { Database } from './schema/database.ts'
import { sha256 } from './sha256.ts'

/**
 * See `EventLog.fork`. Plain statements under the lock of the partition's row, each of which sees what was committed before it: a fork is
 * rare, and what it looks at does not change afterwards.
 */
export async function fork(log: LogConnection, { key, parent }: ForkRequest): Promise<ForkOutcome> {
  const parentKey = { tenant: key.tenant, conversationId: parent.conversationId }
  // Nothing is at a fraction, and the database would not take it for a position.
  const shared = Number.isSafeInteger(parent.position)
    ? (await readRange(log, parentKey, parent.position, parent.position))[0]
    : undefined
  return log.inTransaction(key.tenant, async (trx) => {
    const partition = partitionOf(key, log.partitions, sha256)
    await trx.selectFrom('partition').select('partition').where('partition', '=', partition).forUpdate().executeTakeFirstOrThrow()
    const from = await conversationOf(trx, log, parentKey).select(['conversation_no', 'head_position']).executeTakeFirst()
    if (!from) return { status: 'parent_not_found' }
    const present = await conversationOf(trx, log, key)
      .select([...headColumns, 'parent_conversation_no', 'parent_position'])
      .executeTakeFirst()
    if (present) {
      const isSame =
        present.parent_conversation_no !== null &&
        present.parent_position !== null &&
        safeInteger(present.parent_conversation_no) === safeInteger(from.conversation_no) &&
        safeInteger(present.parent_position) === parent.position
      return isSame ? { status: 'forked', head: toHead(present), created: false } : { status: 'taken' }
    }
    const headPosition = safeInteger(from.head_position)
    // One that was appended between the read above and the lock did not exist when the caller asked for it.
    if (!shared) return { status: 'position_not_found', headPosition }
    const head = {
      position: parent.position,
      hash: forkHash(shared.hash, parent.position, key, sha256),
      occurredAt: shared.occurredAt,
      archived: false,
    }
    await insertFork(trx, partition, key, { parentNo: safeInteger(from.conversation_no), head })
    return { status: 'forked', head, created: true }
  })
}

async function insertFork(
  trx: Kysely<Database>,
  partition: number,
  key: ConversationKey,
  { parentNo, head }: { readonly parentNo: number; readonly head: ReturnType<typeof toHead> },
): Promise<void> {
  const counted = await trx
    .updateTable('partition')
    .set({ last_conversation_no: sql<number>`last_conversation_no + 1` })
    .where('partition', '=', partition)
    .returning('last_conversation_no')
    .executeTakeFirst()
  // A number that was not counted would be given twice.
  if (!counted)
    throw new ColloquyError('database_failed', {
      operation: `fork ${key.conversationId}`,
      sqlState: null,
      problem: `there is no partition ${partition}`,
    })
  await trx
    .insertInto('conversation')
    .values({
      partition,
      conversation_no: safeInteger(counted.last_conversation_no),
      tenant: key.tenant,
      conversation_id: key.conversationId,
      head_position: head.position,
      head_hash: head.hash,
      head_occurred_at: head.occurredAt,
      parent_conversation_no: parentNo,
      parent_position: head.position,
    })
    .execute()
}
