import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import {
  assertId,
  ColloquyError,
  decodeCursor,
  type FeedCursor,
  type FeedFilter,
  type GrowthWatch,
  isColloquyError,
  openEnvelope,
  readFeedPage,
  watchGrowth,
} from '@colloquy/core'
import { toColloquyError } from '../connections/failures.ts'
import type { PostgresLog } from '../postgres-log.ts'
import { createCheckpoints, deleteSubscription, readCheckpoints } from './checkpoints.ts'
import { type DeadLetter, noteTry, readLetters, takeLetter } from './dead-letters.ts'
import type { Handling, HandlingPolicy } from './handling.ts'
import { PartitionReader } from './partition-reader.ts'
import { Permits } from './permits.ts'
import { sharePartitions } from './share-partitions.ts'

export type SubscribeOptions = Handling & {
  /** Whose checkpoints these are: processes that subscribe under one name share the partitions. */
  readonly name: string
  /** Where a name that is new begins: behind a cursor, or 'end'. Default: the beginning. */
  readonly from?: FeedCursor
  /**
   * Must stay the same for a name: what a checkpoint has passed is not looked at again. A subscription without one stands still before a
   * hole in the feed; one with a filter passes over it.
   */
  readonly filter?: FeedFilter
  /** Envelopes in one call of the handler, at most, and in memory for each partition that is at work. Default 100. */
  readonly limit?: number
  /** Partitions at work at once in this process. Each takes a connection while its handler has a transaction. Default 4. */
  readonly concurrency?: number
  /** How often an envelope is tried; default 5. */
  readonly tries?: number
  /** The pause before the second try; each one after it is twice as long, up to 30 s. Default 100. */
  readonly retryMs?: number
  /**
   * What becomes of an envelope that cannot be handled. `stop` (default): its partition stands still, so that nothing is missed or
   * overtaken. `park`: it becomes a dead letter and the partition goes on, past later envelopes of the same conversation too.
   */
  readonly onPoison?: 'stop' | 'park'
  /** How long a process that was killed, or hangs, keeps its partitions. Default 10,000. */
  readonly leaseMs?: number
  /** Told what a handler threw for good, and what goes wrong and is tried again. Default: a process warning. */
  readonly onError?: (error: unknown, where: string) => void
}

export interface SubscriptionStatus {
  readonly name: string
  /** Envelopes that are not dealt with yet, of those that a filter leaves out too. */
  readonly lag: number
  readonly partitions: readonly {
    readonly partition: number
    readonly feedPosition: number
    readonly headFeedPosition: number
    /** Which process reads it; null: none at the moment. */
    readonly leasedBy: string | null
    readonly isOurs: boolean
    /** Why it stands still; null: it does not. */
    readonly problem: string | null
  }[]
}

/** Methods reject with `database_unreachable` and `database_failed`, too. */
export interface DurableSubscription extends AsyncDisposable {
  readonly name: string
  /** This process among those that share the subscription. */
  readonly member: string
  /**
   * Resolves when the subscription, in whichever processes, has dealt with everything up to a cursor (`engine.cursorOf(envelope)`: read
   * your own writes), or without one up to the present end of the feed.
   * @throws `subscription_stopped` when a partition on the way stands still, `subscription_closed`, `cursor_invalid`
   */
  whenCaughtUp(cursor?: FeedCursor): Promise<void>
  status(): Promise<SubscriptionStatus>
  /** What was parked, by partition and feed position. */
  deadLetters(query?: {
    readonly after?: Pick<DeadLetter, 'partition' | 'feedPosition'>
    readonly limit?: number
  }): Promise<readonly DeadLetter[]>
  /**
   * Handles a parked envelope once more, with the promise of the handler (in one transaction with the letter's end, or at least once).
   * Rejects with what the handler throws; then the letter stays. @throws `dead_letter_not_found`, `feed_hole` when the envelope is gone
   */
  redrive(letter: Pick<DeadLetter, 'partition' | 'feedPosition'>): Promise<void>
  /** Finishes the pages under way, moves their checkpoints and gives the partitions back. Close it before its log. */
  close(): Promise<void>
}

/**
 * Handles everything that the log has and gets, under a name whose checkpoints last: who subscribes again goes on where it was.
 * Any number of processes may take part. Each partition is read by one of them at a time, in order; one that hangs or is killed is
 * replaced when its lease ends, and a checkpoint that it writes afterwards misses.
 * @throws `id_invalid`, `cursor_invalid`, `log_closed`, `database_unreachable`, `database_failed`
 */
export async function subscribe(log: PostgresLog, options: SubscribeOptions): Promise<DurableSubscription> {
  const {
    name,
    from,
    filter = {},
    limit = 100,
    concurrency = 4,
    tries = 5,
    retryMs = 100,
    onPoison = 'stop',
    leaseMs = 10_000,
  } = options
  const onError = options.onError ?? warn
  assertId('subscription name', name)
  const member = randomUUID()
  const { kysely, partitions } = log
  const policy: HandlingPolicy = { filter, limit, tries, retryMs, onPoison, leaseMs }
  const permits = new Permits(concurrency)
  let progress = Promise.withResolvers<void>()
  let closing: Promise<void> | undefined

  const run = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw toColloquyError(error, `${operation} of subscription ${name}`, 'the given log')
    }
  }
  const onMoved = (): void => {
    progress.resolve()
    progress = Promise.withResolvers()
  }

  // The readers are there before the watch that wakes them.
  let watch: GrowthWatch | undefined
  const headOf = (partition: number): number => watch?.headOf(partition) ?? 0

  const start = from === 'end' ? await log.feedHeads() : from === undefined ? undefined : decodeCursor(from, log)
  const shared = await run('take partitions', async () => {
    await createCheckpoints(kysely, name, start ?? Array.from({ length: partitions }, () => 0))
    return sharePartitions({
      kysely,
      name,
      member,
      leaseMs,
      startReader: (lease, position) =>
        new PartitionReader(lease, position, { log, handling: options, policy, permits, headOf, onMoved, onError }),
      onError,
    })
  })
  watch = watchGrowth(log, {
    positionOf: (partition) => shared.readers.get(partition)?.position,
    onGrown(grown) {
      for (const partition of grown) shared.readers.get(partition)?.wake()
    },
    onError(error, isFinal) {
      onError(error, `subscription ${name} (${isFinal ? 'it ends' : 'it looks again with the next sweep'})`)
      if (isFinal) void subscription.close()
    },
    timer(listener, ms) {
      const timeout = globalThis.setTimeout(listener, ms)
      return () => clearTimeout(timeout)
    },
  })

  const subscription: DurableSubscription = {
    name,
    member,

    async whenCaughtUp(cursor) {
      const target = cursor === undefined ? await log.feedHeads() : decodeCursor(cursor, log)
      for (;;) {
        if (closing) throw new ColloquyError('subscription_closed', { name })
        const moved = progress.promise
        const rows = await run('give the checkpoints', () => readCheckpoints(kysely, name))
        // Forgotten, here or elsewhere: nobody will deal with what is missing.
        if (rows.length === 0) throw new ColloquyError('subscription_closed', { name })
        const behind = rows.filter(({ partition, feedPosition }) => feedPosition < (target[partition] ?? 0))
        if (behind.length === 0) return
        for (const { partition, feedPosition, problem } of behind) {
          if (problem !== null) throw new ColloquyError('subscription_stopped', { name, partition, feedPosition, problem })
        }
        // Others move too, and say nothing. The pause keeps a fast one from asking behind each page.
        await Promise.race([moved, setTimeout(200)])
        await setTimeout(5)
      }
    },

    async status() {
      const rows = await run('give the checkpoints', () => readCheckpoints(kysely, name))
      // Behind the checkpoints, so that none is past its end.
      const heads = await log.feedHeads()
      const found = rows.map(({ partition, feedPosition, leasedBy, isFree, problem }) => ({
        partition,
        feedPosition,
        headFeedPosition: heads[partition] ?? 0,
        leasedBy: isFree ? null : leasedBy,
        isOurs: leasedBy === member,
        problem,
      }))
      return { name, lag: found.reduce((sum, row) => sum + row.headFeedPosition - row.feedPosition, 0), partitions: found }
    },

    deadLetters: ({ after, limit: atMost = 100 } = {}) =>
      run('list the dead letters', () => readLetters(kysely, name, { after, limit: atMost })),

    async redrive(place) {
      const { partition, feedPosition } = place
      const [letter] = await run('find a dead letter', () =>
        readLetters(kysely, name, { after: { partition, feedPosition: feedPosition - 1 }, limit: 1 }),
      )
      if (letter?.partition !== partition || letter.feedPosition !== feedPosition) {
        throw new ColloquyError('dead_letter_not_found', { name, partition, feedPosition })
      }
      const { envelopes } = await readFeedPage(log, { partition, after: feedPosition - 1, limit: 1 }, feedPosition)
      try {
        if (options.transactional === true) {
          await kysely
            .transaction()
            .setIsolationLevel('read committed')
            .execute(async (transaction) => {
              await takeLetter(transaction, name, place)
              await options.handle(envelopes.map(openEnvelope), { partition, transaction })
            })
        } else {
          await options.handle(envelopes.map(openEnvelope), { partition })
          await takeLetter(kysely, name, place)
        }
      } catch (error) {
        if (!isColloquyError(error, 'dead_letter_not_found')) {
          await run('keep a dead letter', () =>
            noteTry(kysely, name, place, error instanceof Error ? error.message : String(error)),
          )
        }
        throw error
      }
    },

    close() {
      watch?.stop()
      closing ??= shared.stop()
      onMoved()
      return closing
    },

    [Symbol.asyncDispose]: () => subscription.close(),
  }
  return subscription
}

/**
 * Forgets a name: its checkpoints and its dead letters. Close its subscriptions in all processes first: one that is left stops, and
 * subscribing again begins anew. @throws `database_unreachable`, `database_failed`
 */
export async function forgetSubscription(log: PostgresLog, name: string): Promise<void> {
  try {
    await deleteSubscription(log.kysely, name)
  } catch (error) {
    throw toColloquyError(error, `forget subscription ${name}`, 'the given log')
  }
}

function warn(error: unknown, where: string): void {
  process.emitWarning(`${where}: ${error instanceof Error ? error.stack : String(error)}`, 'ColloquyWarning')
}
