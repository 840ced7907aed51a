import type { StoredEnvelope } from '../envelope.ts'
import { isColloquyError } from '../errors.ts'
import type { EventLog, FeedFilter, FeedPage } from '../ports/event-log.ts'
import { isFullPage, pageBytes, pageSize } from '../ports/page.ts'
import type { Timer } from '../ports/timer.ts'
import { decodeCursor, encodeCursor, type FeedCursor } from './feed-cursor.ts'
import { readFeedPages } from './feed-page.ts'
import { watchGrowth } from './watch-growth.ts'

/** Partitions that are read at once, in one query where the log can, and what they may give together. */
const partitionsAtOnce = 256
const envelopesAtOnce = 2_000

/**
 * A reader rests behind each read for as long as its envelopes deserve, so that under a stream it reads fewer and larger pages: what it
 * takes from the writers is by the read and not by the envelope. Behind a few envelopes it does not, and a lone one is read at once.
 * By measurement (`bench -- feed`, 2026-11-27): 40,000 appends a second over 64 partitions, read as they came, were 1,200 pages a second
 * of 21 envelopes, which took a third of the appends away.
 */
const envelopesWorthAMs = 16
const longestRestMs = 25

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
  /** None: the page says only how far was looked, in this partition and perhaps in others. */
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
 * partitions in any. Asks for nothing more of a partition before its page was taken.
 *
 * The iteration rejects with `cursor_invalid`, `history_rewound`, `feed_hole`, `log_closed`, `database_failed`; while the database cannot be reached it waits.
 * `feed_hole` comes without a filter only: what a filter leaves out cannot be told from what is gone.
 */
export function followFeed(log: EventLog, options: FollowOptions): FollowedFeed {
  const { from, limit = pageSize, partition: only, timer, sweepMs, onTrouble = () => {}, ...filter } = options
  let stopped = false
  let wake = () => {}
  let endRest = () => {}

  /** Until then, or until it is stopped. */
  async function rest(ms: number): Promise<void> {
    if (ms === 0 || stopped) return
    let stopTimer = () => {}
    await new Promise<void>((resolve) => {
      stopTimer = timer(resolve, ms)
      endRest = resolve
    })
    stopTimer()
    endRest = () => {}
  }

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
        const after = new Map(
          [...grown].slice(0, partitionsAtOnce).map((partition) => [partition, positions[partition] as number]),
        )
        // Before they are read: a hint that comes meanwhile may be about what the page does not have.
        for (const partition of after.keys()) grown.delete(partition)
        const each = Math.min(limit, Math.max(1, Math.floor(envelopesAtOnce / after.size)))
        let read: ReadonlyMap<number, FeedPage>
        try {
          read = await readFeedPages(log, { ...filter, after, limit: each }, watch.headOf)
        } catch (error) {
          // Whether it can be reached again, and what is new there, the next sweep tells.
          if (!isColloquyError(error, 'database_unreachable')) throw error
          onTrouble(error)
          continue
        }
        const bytes = [...read.values()].flatMap(({ envelopes }) => envelopes).reduce((sum, { body }) => sum + body.length, 0)
        const isCut = bytes >= pageBytes
        let found = 0
        let isBehind = isCut
        /** The last of those that got nothing that is wanted: that is said once, behind the others. */
        let lookedAt: number | undefined
        for (const [partition, position] of after) {
          const { envelopes = [], scannedTo = position } = read.get(partition) ?? {}
          found += scannedTo - position
          // Not the end yet. Behind the others that wait, so that a long partition does not hold them up.
          if (isCut || isFullPage(envelopes, each) || (scannedTo > position && scannedTo < watch.headOf(partition))) {
            grown.add(partition)
            isBehind = true
          }
          if (envelopes.length > 0 || scannedTo === position) continue
          positions[partition] = scannedTo
          lookedAt = partition
        }
        for (const [partition, { envelopes, scannedTo }] of read) {
          if (envelopes.length === 0) continue
          const before = positions.slice()
          positions[partition] = scannedTo
          lookedAt = undefined
          yield {
            partition,
            envelopes,
            cursor: encodeCursor(log, positions),
            cursorAt: ({ feedPosition }) => encodeCursor(log, before.with(partition, feedPosition)),
          }
          if (stopped) return
        }
        if (lookedAt !== undefined) {
          const cursor = encodeCursor(log, positions)
          yield { partition: lookedAt, envelopes: [], cursor, cursorAt: () => cursor }
        }
        if (!isBehind) await rest(Math.min(Math.floor(found / envelopesWorthAMs), longestRestMs))
      }
    } finally {
      watch.stop()
    }
  }

  const stop = () => {
    stopped = true
    wake()
    endRest()
  }
  const iterator = pages()
  return { stop, [Symbol.asyncIterator]: () => iterator }
}

async function startAt(log: EventLog, from: FollowOptions['from']): Promise<number[]> {
  if (from === 'end') return [...(await log.feedHeads())]
  return from === undefined ? Array.from({ length: log.partitions }, () => 0) : decodeCursor(from, log)
}
