import { ColloquyError } from '../errors.ts'
import type { EventLog, FeedFilter, FeedPage } from '../ports/event-log.ts'
import { pageBytes } from '../ports/page.ts'

type FeedQuery = FeedFilter & { readonly partition: number; readonly after: number; readonly limit: number }

/**
 * A page of a partition's feed, as `EventLog.feed` gives it. Without a filter each feed position is there, since they are gapless
 * and in the order of the commits: a hole is never an append under way, but something taken out.
 * @param end of the partition, as far as the reader has heard of it: nothing up to there is a hole, too
 * @throws `feed_hole`
 */
export async function readFeedPage(log: Pick<EventLog, 'feed' | 'feedHeads'>, query: FeedQuery, end = 0): Promise<FeedPage> {
  return withoutHole(log, query, await log.feed(query), end)
}

/**
 * As `readFeedPage`, of several partitions: see `EventLog.feedPages`.
 * @param endOf each partition, as far as the reader has heard of it
 * @throws `feed_hole`
 */
export async function readFeedPages(
  log: Pick<EventLog, 'feed' | 'feedHeads' | 'feedPages'>,
  query: FeedFilter & { readonly after: ReadonlyMap<number, number>; readonly limit: number },
  endOf: (partition: number) => number,
): Promise<ReadonlyMap<number, FeedPage>> {
  const pages = new Map(await log.feedPages(query))
  for (const [partition, page] of pages) {
    const after = query.after.get(partition) as number
    pages.set(partition, await withoutHole(log, { ...query, partition, after }, page, endOf(partition)))
  }
  return pages
}

/** Partitions whose round trips overlap. */
const feedsAtOnce = 4

/** What `EventLog.feedPages` gives, where a log reads each partition for itself. */
export async function feedPageByPage(
  feed: EventLog['feed'],
  { after, ...query }: Parameters<EventLog['feedPages']>[0],
): Promise<ReadonlyMap<number, FeedPage>> {
  const pages = new Map<number, FeedPage>()
  const asked = [...after]
  let bytes = 0
  for (let i = 0; i < asked.length; i += feedsAtOnce) {
    const some = asked.slice(i, i + feedsAtOnce)
    const read = await Promise.all(some.map(([partition, position]) => feed({ ...query, partition, after: position })))
    for (const [n, page] of read.entries()) {
      pages.set((some[n] as (typeof some)[number])[0], page)
      for (const { body } of page.envelopes) bytes += body.length
      // What was read behind it would be too much.
      if (bytes >= pageBytes) return pages
    }
  }
  return pages
}

async function withoutHole(
  log: Pick<EventLog, 'feed' | 'feedHeads'>,
  query: FeedQuery,
  found: FeedPage,
  end: number,
): Promise<FeedPage> {
  if (isFiltered(query)) return found
  const { partition, after } = query
  const page = found.envelopes.length === 0 && end > after ? await readToTheEnd(log, query) : found
  let expected = after
  for (const { feedPosition } of page.envelopes) {
    expected += 1
    if (feedPosition !== expected) throw new ColloquyError('feed_hole', { partition, expected, found: feedPosition })
  }
  return page
}

/** The end is asked for anew, and then the page: what was heard of it may be of the server before a fail-over. */
async function readToTheEnd(log: Pick<EventLog, 'feed' | 'feedHeads'>, query: FeedQuery): Promise<FeedPage> {
  const { partition, after } = query
  const head = (await log.feedHeads())[partition] ?? 0
  const page = await log.feed(query)
  if (page.envelopes.length > 0 || head <= after) return page
  throw new ColloquyError('feed_hole', { partition, expected: after + 1, found: head + 1 })
}

function isFiltered({ tenant, types, conversationId }: FeedFilter): boolean {
  return tenant !== undefined || types !== undefined || conversationId !== undefined
}
