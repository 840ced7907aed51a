import { type ErrorDetails, type EventLog, isColloquyError, pageSize, readFeedPage } from '@colloquy/core'

/** The first feed position of a partition that is not there, and which one comes next. */
export type FeedHole = ErrorDetails<'feed_hole'>

/**
 * Reads the whole feed, of all tenants, page by page, and names the first hole of each partition. Feed positions have none, so something
 * was taken out: that tells of a conversation whose tail was cut, and of one that is gone. Reads as much as the log has.
 * @throws `tenant_missing` for a role that sees one tenant at a time
 */
export async function findFeedHoles(log: Pick<EventLog, 'feed' | 'feedHeads'>): Promise<readonly FeedHole[]> {
  const holes: FeedHole[] = []
  for (const [partition, end] of (await log.feedHeads()).entries()) {
    try {
      for (let after = 0; after < end; ) {
        const { envelopes } = await readFeedPage(log, { partition, after, limit: pageSize }, end)
        const last = envelopes.at(-1)
        // Without a hole and without an envelope: the feed ends earlier than it did, as after a fail-over.
        if (last === undefined) break
        after = last.feedPosition
      }
    } catch (error) {
      if (!isColloquyError(error, 'feed_hole')) throw error
      holes.push(error.details)
    }
  }
  return holes
}
