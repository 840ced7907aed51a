import {
  type EventLog,
  type FeedFilter,
  type FeedPage,
  feedPageByPage,
  isFullPage,
  pageBytes,
  type StoredEnvelope,
} from '@colloquy/core'
import { CompiledQuery, type Kysely } from 'kysely'
import { int4Array, int8Array, textArray } from '../connections/binary-array.ts'
import type { LogConnection } from '../connections/connection.ts'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'
import { pageQuery } from './page-query.ts'
import { type EnvelopeRow, envelopeColumns, toStoredEnvelope } from './stored-envelope.ts'

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

type FeedPagesQuery = Parameters<EventLog['feedPages']>[0]

/** See `EventLog.feedPages`. On Citus no query crosses partitions. */
export async function readFeedPages(log: LogConnection, query: FeedPagesQuery): Promise<ReadonlyMap<number, FeedPage>> {
  const { after, limit, tenant } = query
  if (log.isCluster) return feedPageByPage((one) => readFeed(log, one), query)
  if (tenant === undefined) log.assertSeesAllTenants(`give the feed of partitions ${[...after.keys()].join(', ')}`)
  const { rows } = await log.asTenant(tenant ?? null, (kysely) => kysely.executeQuery(feedPagesQuery(query)))
  const found = new Map<number, StoredEnvelope[]>()
  let bytes = 0
  let lastFound: number | undefined
  for (const row of rows) {
    if (row.asked === null) continue
    const envelope = toStoredEnvelope(row as EnvelopeRow, row.conversation_id as string)
    bytes += envelope.body.length
    const envelopes = found.get(row.asked)
    if (envelopes) envelopes.push(envelope)
    else found.set(row.asked, [envelope])
    lastFound = row.asked
  }
  const ends = rows[0]?.scan_ends
  const pages = new Map<number, FeedPage>()
  for (const [partition, position] of after) {
    const envelopes = found.get(partition) ?? []
    const isCut = bytes >= pageBytes && partition === lastFound
    const last = envelopes.at(-1)?.feedPosition ?? position
    const end = ends?.[pages.size]
    const isToEnd = end !== undefined && !isCut && envelopes.length < limit
    pages.set(partition, { envelopes, scannedTo: isToEnd ? Math.max(safeInteger(end), last) : last })
    if (isCut) break
  }
  return pages
}

type FeedPagesRow = { readonly [Column in keyof EnvelopeRow]: EnvelopeRow[Column] | null } & {
  readonly asked: number | null
  readonly conversation_id: string | null
  readonly scan_ends?: readonly Parameters<typeof safeInteger>[0][] | null
}

/** By the filter: a text is made and prepared once. */
const feedPagesTexts = Array.from({ length: 8 }, (_, filter) =>
  feedPagesSql((filter & 1) > 0, (filter & 2) > 0, (filter & 4) > 0),
)

/** Worth preparing on each connection: planning one takes as long as running it. */
export const preparedFeeds: ReadonlyMap<string, string> = new Map(
  feedPagesTexts.map((text, filter) => [text, `colloquy_feed_pages_${filter}_v1`]),
)

function feedPagesQuery({ after, limit, tenant, types, conversationId }: FeedPagesQuery): CompiledQuery<FeedPagesRow> {
  const filter = (tenant === undefined ? 0 : 1) + (types === undefined ? 0 : 2) + (conversationId === undefined ? 0 : 4)
  return CompiledQuery.raw(feedPagesTexts[filter] as string, [
    int4Array([...after.keys()]),
    int8Array([...after.values()]),
    limit,
    ...(tenant === undefined ? [] : [tenant]),
    ...(types === undefined ? [] : [textArray(types)]),
    ...(conversationId === undefined ? [] : [conversationId]),
  ])
}

/**
 * A row for each envelope. With a filter, how far each partition was looked at is in the first row, which is there where nothing is
 * found, too: a row for each partition would cost a reader that finds little more than all the rest. The ends and what lies before them
 * are of one snapshot, so nothing is stored in between later.
 */
function feedPagesSql(byTenant: boolean, byTypes: boolean, byConversation: boolean): string {
  let parameters = 3
  const tenant = byTenant ? `$${++parameters}` : ''
  const types = byTypes ? `$${++parameters}` : ''
  const conversation = byConversation ? `$${++parameters}` : ''
  const isFiltered = byTenant || byTypes || byConversation
  const found = `
    select found.*, sum(octet_length(found.body)) over position_order as bytes, row_number() over position_order as n
    from asked cross join lateral (
      select ${envelopeColumns.map((column) => `e.${column}`).join(', ')}, e.partition as asked, (
        select c.conversation_id from conversation c where c.partition = e.partition and c.conversation_no = e.conversation_no
      ) as conversation_id
      from envelope e
      where e.partition = asked.partition and e.feed_position > asked.after
        ${isFiltered ? 'and e.feed_position <= asked.scan_end' : ''}
        ${byTenant ? `and e.tenant = ${tenant}` : ''}
        ${byTypes ? `and e.type = any (${types}::text[])` : ''}
        ${
          byConversation
            ? `and e.conversation_no in (
          select c.conversation_no from conversation c
          where c.partition = asked.partition and c.conversation_id = ${conversation}
            ${byTenant ? `and c.tenant = ${tenant}` : ''}
        )`
            : ''
        }
      order by e.feed_position
      limit $3
    ) found
    window position_order as (order by asked.place, found.feed_position rows unbounded preceding)`
  const isInPage = `page.bytes - octet_length(page.body) < ${pageBytes}`
  const asked = 'unnest($1::int[], $2::bigint[]) with ordinality a (partition, after, place)'
  if (!isFiltered) {
    return `
    with asked as materialized (select * from ${asked})
    select page.* from (${found}) page where ${isInPage} order by page.n`
  }
  return `
    with asked as materialized (
      select a.place, a.partition, a.after, least(coalesce(p.last_feed_position, 0), a.after + ${scanLimit}) as scan_end
      from ${asked} left join partition p on p.partition = a.partition
    )
    select page.*, case when coalesce(page.n, 1) = 1 then ends.scan_ends end as scan_ends
    from (select array_agg(scan_end order by place) as scan_ends from asked) ends
    left join (${found}) page on ${isInPage}
    order by page.n`
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
