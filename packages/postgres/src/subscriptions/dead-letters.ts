import { ColloquyError, type StoredEnvelope } from '@colloquy/core'
import type { Kysely, Selectable } from 'kysely'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'
import { endWhenIdle } from './checkpoints.ts'

/** An envelope that a subscription could not handle and went past. */
export interface DeadLetter {
  readonly partition: number
  readonly feedPosition: number
  readonly tenant: string
  readonly conversationId: string
  readonly position: number
  /** How often it was tried. */
  readonly tries: number
  /** What the last try failed with. */
  readonly problem: string
  /** Microseconds since 1970. */
  readonly parkedAt: number
}

type LetterPlace = Pick<DeadLetter, 'partition' | 'feedPosition'>

export async function park(
  transaction: Kysely<Database>,
  name: string,
  { partition, envelope, tries, problem }: { partition: number; envelope: StoredEnvelope; tries: number; problem: string },
): Promise<void> {
  const { feedPosition, tenant, conversationId, position } = envelope
  await transaction
    .insertInto('dead_letter')
    .values({ partition, name, feed_position: feedPosition, tenant, conversation_id: conversationId, position, tries, problem })
    .onConflict((conflict) => conflict.columns(['partition', 'name', 'feed_position']).doUpdateSet({ tries, problem }))
    .execute()
}

/** By partition and feed position, those behind `after`. */
export async function readLetters(
  kysely: Kysely<Database>,
  name: string,
  { after, limit }: { readonly after?: LetterPlace | undefined; readonly limit: number },
): Promise<DeadLetter[]> {
  const rows = await kysely
    .selectFrom('dead_letter')
    .selectAll()
    .where('name', '=', name)
    .$if(after !== undefined, (qb) =>
      qb.where((eb) =>
        eb(eb.refTuple('partition', 'feed_position'), '>', eb.tuple(after?.partition as number, after?.feedPosition as number)),
      ),
    )
    .orderBy('partition')
    .orderBy('feed_position')
    .limit(limit)
    .execute()
  return rows.map(toDeadLetter)
}

/** Locks a letter to the end of the transaction, which is ended when it idles. @throws `dead_letter_not_found` */
export async function lockLetter(
  transaction: Kysely<Database>,
  name: string,
  { partition, feedPosition }: LetterPlace,
  leaseMs: number,
): Promise<void> {
  const row = await transaction
    .selectFrom('dead_letter')
    .select(endWhenIdle(leaseMs))
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('feed_position', '=', feedPosition)
    .forUpdate()
    .executeTakeFirst()
  if (!row) throw new ColloquyError('dead_letter_not_found', { name, partition, feedPosition })
}

/** @throws `dead_letter_not_found` */
export async function removeLetter(
  kysely: Kysely<Database>,
  name: string,
  { partition, feedPosition }: LetterPlace,
): Promise<void> {
  const result = await kysely
    .deleteFrom('dead_letter')
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('feed_position', '=', feedPosition)
    .executeTakeFirst()
  if (result.numDeletedRows !== 1n) throw new ColloquyError('dead_letter_not_found', { name, partition, feedPosition })
}

/** A letter was tried again, in vain. */
export async function noteTry(
  kysely: Kysely<Database>,
  name: string,
  { partition, feedPosition }: LetterPlace,
  problem: string,
): Promise<void> {
  await kysely
    .updateTable('dead_letter')
    .set((eb) => ({ tries: eb('tries', '+', 1), problem }))
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('feed_position', '=', feedPosition)
    .execute()
}

function toDeadLetter(row: Selectable<Database['dead_letter']>): DeadLetter {
  return {
    partition: row.partition,
    feedPosition: safeInteger(row.feed_position),
    tenant: row.tenant,
    conversationId: row.conversation_id,
    position: safeInteger(row.position),
    tries: row.tries,
    problem: row.problem,
    parkedAt: safeInteger(row.parked_at),
  }
}
