import { ColloquyError } from '../errors.ts'
import type { EventLog, FeedFilter, FeedPage } from '../ports/event-log.ts'
import { pageBytes } from '../ports/page.ts'

/**
 * A page of a partition's feed, as `EventLog.feed` gives it. Without a filter each feed position is there, since they are gapless
 * and in the order of the commits: a hole is never an append under way, but something taken out.
 * @throws `feed_hole`
 */
export async function readFeedPage(
  log: Pick<EventLog, 'feed'>,
  query: FeedFilter & { readonly partition: number; readonly after: number; readonly limit: number },
): Promise<FeedPage> {
  const page = await log.feed(query)
  if (!isFiltered(query)) assertNoHole(page, query.partition, query.after)
  return page
}

/** As `readFeedPage`, of several partitions: see `EventLog.feedPages`. @throws `feed_hole` */
export async function readFeedPages(
  log: Pick<EventLog, 'feedPages'>,
  query: FeedFilter & { readonly after: ReadonlyMap<number, number>; readonly limit: number },
): Promise<ReadonlyMap<number, FeedPage>> {
  const pages = await log.feedPages(query)
  if (!isFiltered(query))
    for (const [partition, page] of pages) assertNoHole(page, partition, query.after.get(partition) as number)
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

function assertNoHole({ envelopes }: FeedPage, partition: number, after: number): void {
  let expected = after
  for (const { feedPosition } of envelopes) {
    expected += 1
    if (feedPosition !== expected) throw new ColloquyError('feed_hole', { partition, expected, found: feedPosition })
  }
}

function isFiltered({ tenant, types, conversationId }: FeedFilter): boolean {
  return tenant !== undefined || types !== undefined || conversationId !== undefined
}
