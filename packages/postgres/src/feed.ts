import type { StoredEnvelope } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { LogConnection } from './connection.ts'
import type { Database } from './database.ts'
import { envelopeColumns, toStoredEnvelope } from './stored-envelope.ts'

/** See `EventLog.feed`. The id is looked up row by row: a join would leave it to the planner whether the order of the index survives. */
export async function readFeed(
  log: LogConnection,
  { partition, after, limit }: { readonly partition: number; readonly after: number; readonly limit: number },
): Promise<StoredEnvelope[]> {
  const rows = await feedQuery(log.kysely, { partition, after, limit }).execute()
  return rows.map((row) => toStoredEnvelope(row, row.conversation_id as string))
}

export function feedQuery(
  kysely: Kysely<Database>,
  { partition, after, limit }: { readonly partition: number; readonly after: number; readonly limit: number },
) {
  return kysely
    .selectFrom('envelope')
    .select(envelopeColumns)
    .select((eb) =>
      eb
        .selectFrom('conversation')
        .select('conversation_id')
        .whereRef('conversation.partition', '=', 'envelope.partition')
        .whereRef('conversation.conversation_no', '=', 'envelope.conversation_no')
        .as('conversation_id'),
    )
    .where('partition', '=', partition)
    .where('feed_position', '>', after)
    .orderBy('feed_position')
    .limit(limit)
}
