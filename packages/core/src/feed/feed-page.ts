import { ColloquyError } from '../errors.ts'
import type { EventLog, FeedFilter, FeedPage } from '../ports/event-log.ts'

type FeedQuery = FeedFilter & { readonly partition: number; readonly after: number; readonly limit: number }

/**
 * A page of a partition's feed, as `EventLog.feed` gives it. Without a filter each feed position is there, since they are gapless
 * and in the order of the commits: a hole is never an append under way, but something taken out.
 * @param end of the partition, as far as the reader has heard of it: nothing up to there is a hole, too
 * @throws `feed_hole`
 */
export async function readFeedPage(log: Pick<EventLog, 'feed' | 'feedHeads'>, query: FeedQuery, end = 0): Promise<FeedPage> {
  let page = await log.feed(query)
  if (isFiltered(query)) return page
  if (page.envelopes.length === 0 && end > query.after) page = await readToTheEnd(log, query)
  let expected = query.after
  for (const { feedPosition } of page.envelopes) {
    expected += 1
    if (feedPosition !== expected)
      throw new ColloquyError('feed_hole', { partition: query.partition, expected, found: feedPosition })
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
