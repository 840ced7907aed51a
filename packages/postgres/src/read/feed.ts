import { type FeedFilter, type FeedPage, isFullPage } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { LogConnection } from '../connections/connection.ts'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'
import { pageQuery } from './page-query.ts'
import { envelopeColumns, toStoredEnvelope } from './stored-envelope.ts'

export type FeedQuery = FeedFilter & { readonly partition: number; readonly after: number; readonly limit: number }

/** Feed positions that one page of a filtered feed looks at, at most: a filter that matches little must not read a partition whole. */
const scanLimit = 10_000

/** See `EventLog.feed`. The id is looked up row by row: a join would leave it to the planner whether the order of the index survives. */
export async function readFeed(log: LogConnection, query: FeedQuery): Promise<FeedPage> {
  const { partition, after, limit } = query
  // An empty page would say that there is nothing.
  if (query.tenant === undefined) log.assertSeesAllTenants(`give the feed of partition ${partition}`)
  const isFiltered = query.tenant !== undefined || query.types !== undefined || query.conversationId !== undefined
  // The end first: what is read after it can only be longer, and is cut off there.
  const end = isFiltered ? Math.min((await readFeedHead(log, partition)) ?? 0, after + scanLimit) : undefined
  const rows = await log.asTenant(query.tenant ?? null, (kysely) => feedQuery(kysely, query, end).execute())
  const envelopes = rows.map((row) => toStoredEnvelope(row, row.conversation_id as string))
  const lastFeedPosition = envelopes.at(-1)?.feedPosition ?? after
  return { envelopes, scannedTo: end === undefined || isFullPage(envelopes, limit) ? lastFeedPosition : Math.max(end, after) }
}

export function feedQuery(kysely: Kysely<Database>, query: FeedQuery, end?: number) {
  const { partition, after, limit, tenant, types, conversationId } = query
  const found = kysely
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
    .$if(end !== undefined, (qb) => qb.where('feed_position', '<=', end as number))
    .$if(tenant !== undefined, (qb) => qb.where('tenant', '=', tenant as string))
    .$if(types !== undefined, (qb) => qb.where('type', 'in', types as string[]))
    .$if(conversationId !== undefined, (qb) =>
      qb.where('conversation_no', 'in', (eb) =>
        eb
          .selectFrom('conversation')
          .select('conversation_no')
          .where('conversation.partition', '=', partition)
          .where('conversation.conversation_id', '=', conversationId as string)
          .$if(tenant !== undefined, (one) => one.where('conversation.tenant', '=', tenant as string)),
      ),
    )
    .orderBy('feed_position')
    .limit(limit)
  return pageQuery(kysely, found, 'feed_position')
}

async function readFeedHead(log: LogConnection, partition: number): Promise<number | undefined> {
  const row = await log.asTenant(null, (kysely) =>
    kysely.selectFrom('partition').select('last_feed_position').where('partition', '=', partition).executeTakeFirst(),
  )
  return row && safeInteger(row.last_feed_position)
}

/** See `EventLog.feedHeads`. */
export async function readFeedHeads(log: LogConnection): Promise<number[]> {
  const rows = await log.asTenant(null, (kysely) =>
    kysely.selectFrom('partition').select('last_feed_position').orderBy('partition').execute(),
  )
  return rows.map((row) => safeInteger(row.last_feed_position))
}
