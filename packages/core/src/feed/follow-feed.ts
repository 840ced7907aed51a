import type { StoredEnvelope } from '../envelope.ts'
import { isColloquyError } from '../errors.ts'
import type { EventLog, FeedFilter } from '../ports/event-log.ts'
import { isFullPage, pageSize } from '../ports/page.ts'
import type { Timer } from '../ports/timer.ts'
import { decodeCursor, encodeCursor, type FeedCursor } from './feed-cursor.ts'
import { readFeedPage } from './feed-page.ts'
import { watchGrowth } from './watch-growth.ts'

/** Pages that are asked for at once: when many partitions grow together, their round trips overlap. */
const pagesAtOnce = 4

/** What to read, from where, and how often to look. */
export interface FollowOptions extends FeedFilter {
  /** A cursor, or 'end' for what comes from now on. Default: the beginning. */
  readonly from?: FeedCursor | undefined
  readonly limit?: number | undefined
  /** Reads this partition alone, where all that the filter lets through lies in it. */
  readonly partition?: number | undefined
  readonly timer: Timer
  readonly sweepMs?: number | undefined
  /** Told what went wrong where the reader goes on by itself: it tries again with the next sweep. */
  readonly onTrouble?: ((error: unknown) => void) | undefined
}

/** Part of a partition, in order. */
export interface FollowedPage {
  readonly partition: number
  /** None: the page says only how far was looked. */
  readonly envelopes: readonly StoredEnvelope[]
  /** Behind the page. */
  readonly cursor: FeedCursor
  /** Behind one of its envelopes. */
  readonly cursorAt: (envelope: StoredEnvelope) => FeedCursor
}

/** Pages as they come. It is iterated once. */
export interface FollowedFeed extends AsyncIterable<FollowedPage> {
  /** Ends the iteration behind the page that it is at. */
  readonly stop: () => void
}

/**
 * The feed of all partitions: what is there, then what comes, without end. Each envelope once, in order inside a partition; between
 * partitions in any. Asks for no page before the one ahead of it was taken, but for a few of other partitions.
 *
 * The iteration rejects with `cursor_invalid`, `history_rewound`, `feed_hole`, `log_closed`, `database_failed`; while the database cannot be reached it waits.
 */
export function followFeed(log: EventLog, options: FollowOptions): FollowedFeed {
  const { from, limit = pageSize, partition: only, timer, sweepMs, onTrouble = () => {}, ...filter } = options
  let stopped = false
  let wake = () => {}

  async function* pages(): AsyncGenerator<FollowedPage> {
    const positions = await startAt(log, from)
    const grown = new Set<number>()
    let failure: { readonly error: unknown } | undefined
    const watch = watchGrowth(log, {
      positionOf: (partition) => positions[partition],
      onGrown(partitions) {
        for (const partition of partitions) if (only === undefined || partition === only) grown.add(partition)
        wake()
      },
      onError(error, isFinal) {
        if (!isFinal) return onTrouble(error)
        failure = { error }
        wake()
      },
      timer,
      sweepMs,
    })
    try {
      while (!stopped) {
        if (failure) throw failure.error
        if (grown.size === 0) {
          // Resolved by a hint that comes between here and the next turn of the loop, too.
          await new Promise<void>((resolve) => {
            wake = resolve
          })
          continue
        }
        const asked = [...grown].slice(0, pagesAtOnce)
        // Before they are read: a hint that comes meanwhile may be about what the page does not have.
        for (const partition of asked) grown.delete(partition)
        const read = await Promise.allSettled(
          asked.map((partition) =>
            readFeedPage(log, { ...filter, partition, after: positions[partition] as number, limit }, watch.headOf(partition)),
          ),
        )
        for (const [i, partition] of asked.entries()) {
          const result = read[i] as (typeof read)[number]
          if (result.status === 'rejected') {
            // Whether it can be reached again, and what is new there, the next sweep tells.
            if (!isColloquyError(result.reason, 'database_unreachable')) throw result.reason
            onTrouble(result.reason)
            continue
          }
          const { envelopes, scannedTo } = result.value
          if (scannedTo === positions[partition]) continue
          // Not the end yet. Behind the others that wait, so that a long partition does not hold them up.
          if (isFullPage(envelopes, limit) || scannedTo < watch.headOf(partition)) grown.add(partition)
          const before = positions.slice()
          positions[partition] = scannedTo
          yield {
            partition,
            envelopes,
            cursor: encodeCursor(log, positions),
            cursorAt: ({ feedPosition }) => encodeCursor(log, before.with(partition, feedPosition)),
          }
          if (stopped) return
        }
      }
    } finally {
      watch.stop()
    }
  }

  const stop = () => {
    stopped = true
    wake()
  }
  const iterator = pages()
  return { stop, [Symbol.asyncIterator]: () => iterator }
}

async function startAt(log: EventLog, from: FollowOptions['from']): Promise<number[]> {
  if (from === 'end') return [...(await log.feedHeads())]
  return from === undefined ? Array.from({ length: log.partitions }, () => 0) : decodeCursor(from, log)
}
