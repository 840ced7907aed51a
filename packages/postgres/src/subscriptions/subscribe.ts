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
import { CompiledQuery } from 'kysely'
import { toColloquyError } from '../connections/failures.ts'
import { setTenant } from '../connections/tenant-session.ts'
import type { PostgresLog } from '../postgres-log.ts'
import { readSettings } from '../schema/settings.ts'
import { createCheckpoints, deleteSubscription, readCheckpoints } from './checkpoints.ts'
import { type DeadLetter, lockLetter, noteTry, readLetters, removeLetter } from './dead-letters.ts'
import { HandlerFailed, handled, handleInTransaction, type InTransaction } from './handler-failures.ts'
import type { Handling } from './handling.ts'
import { PartitionReader } from './partition-reader.ts'
import { Permits } from './permits.ts'
import { problemText } from './problem-text.ts'
import { checkedSettings } from './settings.ts'
import { sharePartitions } from './share-partitions.ts'
import { Troubles } from './troubles.ts'

export type SubscribeOptions = Handling & {
  /** Whose checkpoints these are: processes that subscribe under one name share the partitions. */
  readonly name: string
  /** Where a name that is new begins: behind a cursor, or 'end'. Default: the beginning. */
  readonly from?: FeedCursor
  /**
   * Stays the same for a name, until it is forgotten: what a checkpoint has passed is not looked at again. A subscription without one stands
   * still before a hole in the feed; one with a filter passes over it.
   */
  readonly filter?: FeedFilter
  /** Envelopes in one call of the handler, at most, and in memory for each partition that is at work. Default 100. */
  readonly limit?: number
  /** Partitions at work at once in this process. Each takes a connection while its handler has a transaction. Default 4. */
  readonly concurrency?: number
  /** How often an envelope is tried; default 5. What only the database is to blame for, in a transactional handler, is no try. */
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
  /**
   * Told what a handler threw for good, and what else goes wrong and is tried again: that once while it lasts, in however many partitions.
   * Default: a process warning.
   */
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
    /** Why it stands still or, where it is ours, what failed last and is tried again; null: it goes on. */
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
 * A role that sees one tenant at a time subscribes to the one that the filter names; then that tenant is set in the transactions of
 * transactional handlers, too.
 * @throws `settings_invalid`, `id_invalid`, `cursor_invalid`, `tenant_missing`, `log_closed`, `database_unreachable`, `database_failed`
 */
export async function subscribe(log: PostgresLog, options: SubscribeOptions): Promise<DurableSubscription> {
  const { name, from } = options
  const { concurrency, ...policy } = checkedSettings(options)
  const { filter, leaseMs } = policy
  const onError = options.onError ?? warn
  assertId('subscription name', name)
  const member = randomUUID()
  const { kysely, partitions } = log
  const permits = new Permits(concurrency)
  const troubles = new Troubles(onError)
  let progress = Promise.withResolvers<void>()
  let closing: Promise<void> | undefined

  const run = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw toColloquyError(error, `${operation} of subscription ${name}`, 'the given log')
    }
  }
  const role = await run('take partitions', () => readSettings(kysely))
  if (!role.seesAllTenants && filter.tenant === undefined)
    throw new ColloquyError('tenant_missing', { role: role.role, operation: `read subscription ${name}` })
  const tenant = role.seesAllTenants ? undefined : filter.tenant
  const inTransaction: InTransaction = (work) =>
    kysely
      .transaction()
      .setIsolationLevel('read committed')
      .execute(async (transaction) => {
        if (tenant !== undefined) await transaction.executeQuery(CompiledQuery.raw(setTenant(tenant)))
        return work(transaction)
      })
  const onMoved = (): void => {
    progress.resolve()
    progress = Promise.withResolvers()
  }

  // The readers are there before the watch that wakes them.
  let watch: GrowthWatch | undefined
  const headOf = (partition: number): number => watch?.headOf(partition) ?? 0

  const ports = { log, inTransaction, handling: options, policy, permits, troubles, headOf, onMoved, onError }

  const start = from === 'end' ? await log.feedHeads() : from === undefined ? undefined : decodeCursor(from, log)
  const shared = await run('take partitions', async () => {
    await createCheckpoints(kysely, name, { positions: start ?? Array.from({ length: partitions }, () => 0), filter })
    return sharePartitions({
      kysely,
      name,
      member,
      leaseMs,
      startReader: (lease, place) => new PartitionReader(lease, place, ports),
      troubles,
      onForgotten() {
        onError(new ColloquyError('subscription_closed', { name }), `subscription ${name} (it ends)`)
        void subscription.close()
      },
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
      const found = rows.map(({ partition, feedPosition, leasedBy, leaseLeftMs, problem }) => ({
        partition,
        feedPosition,
        headFeedPosition: heads[partition] ?? 0,
        leasedBy: leaseLeftMs > 0 ? leasedBy : null,
        isOurs: leasedBy === member,
        problem: problem ?? shared.readers.get(partition)?.problem ?? null,
      }))
      return { name, lag: found.reduce((sum, row) => sum + row.headFeedPosition - row.feedPosition, 0), partitions: found }
    },

    deadLetters: ({ after, limit: atMost = 100 } = {}) =>
      run('list the dead letters', () => inTransaction((trx) => readLetters(trx, name, { after, limit: atMost }))),

    async redrive(place) {
      const { partition, feedPosition } = place
      const [letter] = await run('find a dead letter', () =>
        inTransaction((trx) => readLetters(trx, name, { after: { partition, feedPosition: feedPosition - 1 }, limit: 1 })),
      )
      if (letter?.partition !== partition || letter.feedPosition !== feedPosition) {
        throw new ColloquyError('dead_letter_not_found', { name, partition, feedPosition })
      }
      const query = { partition, after: feedPosition - 1, limit: 1, ...(tenant !== undefined && { tenant }) }
      const { envelopes, scannedTo } = await readFeedPage(log, query, feedPosition)
      // What a tenant sees has holes that are none.
      const found = envelopes[0]?.feedPosition ?? scannedTo + 1
      if (found !== feedPosition) throw new ColloquyError('feed_hole', { partition, expected: feedPosition, found })
      try {
        if (options.transactional === true) {
          await handleInTransaction({
            inTransaction,
            leaseMs,
            lock: (transaction) => lockLetter(transaction, name, place, leaseMs),
            handle: (transaction) => options.handle(envelopes.map(openEnvelope), { partition, transaction }),
            settle: (transaction) => removeLetter(transaction, name, place),
          })
        } else {
          await handled(() => options.handle(envelopes.map(openEnvelope), { partition }))
          await inTransaction((transaction) => removeLetter(transaction, name, place))
        }
      } catch (error) {
        if (!(error instanceof HandlerFailed))
          throw toColloquyError(error, `redrive a letter of subscription ${name}`, 'the given log')
        const problem = problemText(error.cause)
        await inTransaction((transaction) => noteTry(transaction, name, place, problem)).catch((unnoted: unknown) =>
          onError(unnoted, `subscription ${name}: a try of the dead letter ${partition}/${feedPosition} was not counted`),
        )
        throw error.cause
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
 * Forgets a name: its checkpoints and its dead letters. Close its subscriptions in all processes first: one that is left closes itself as
 * soon as it notices. Subscribing again begins anew.
 * @throws `tenant_missing` for a role that sees one tenant at a time, and so not all dead letters, `database_unreachable`, `database_failed`
 */
export async function forgetSubscription(log: PostgresLog, name: string): Promise<void> {
  try {
    const { role, seesAllTenants } = await readSettings(log.kysely)
    if (!seesAllTenants) throw new ColloquyError('tenant_missing', { role, operation: `forget subscription ${name}` })
    await deleteSubscription(log.kysely, name)
  } catch (error) {
    throw toColloquyError(error, `forget subscription ${name}`, 'the given log')
  }
}

function warn(error: unknown, where: string): void {
  // What is ours says itself what to do; of what is the application's the place is wanted.
  const text = error instanceof Error && !isColloquyError(error) ? error.stack : error
  process.emitWarning(`${where}: ${String(text)}`, 'ColloquyWarning')
}
