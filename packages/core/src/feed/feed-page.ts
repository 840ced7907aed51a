import { ColloquyError } from '../errors.ts'
import type { EventLog, FeedFilter, FeedPage } from '../ports/event-log.ts'

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
  if (isFiltered(query)) return page
  let expected = query.after
  for (const { feedPosition } of page.envelopes) {
    expected += 1
    if (feedPosition !== expected)
      throw new ColloquyError('feed_hole', { partition: query.partition, expected, found: feedPosition })
  }
  return page
}

function isFiltered({ tenant, types, conversationId }: FeedFilter): boolean {
  return tenant !== undefined || types !== undefined || conversationId !== undefined
}
