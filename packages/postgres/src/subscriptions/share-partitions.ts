/**
 * Shares the partitions of a subscription among the processes that take part. Each one says regularly that it is there, holds as many
 * partitions as its share is, gives back what is more, and takes what nobody has or whose holder was not heard of in time.
 */
import { setTimeout } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Database } from '../schema/database.ts'
import {
  attend,
  type Checkpoint,
  type Lease,
  leave,
  readCheckpoints,
  releaseLease,
  renewLease,
  takeLease,
} from './checkpoints.ts'
import type { PartitionReader } from './partition-reader.ts'
import type { Troubles } from './troubles.ts'

export interface Sharing {
  readonly kysely: Kysely<Database>
  readonly name: string
  readonly member: string
  readonly leaseMs: number
  readonly startReader: (lease: Lease, from: { readonly position: number; readonly heldUntil: number }) => PartitionReader
  readonly troubles: Troubles
  /** The name was forgotten, and perhaps begun anew: who subscribed before has no part in that. */
  readonly onForgotten: () => void
  readonly onError: (error: unknown, where: string) => void
}

export interface SharedPartitions {
  /** What this process reads, by partition. */
  readonly readers: ReadonlyMap<number, PartitionReader>
  /** Finishes what is under way and gives everything back. */
  readonly stop: () => Promise<void>
}

/** Takes a first share before it resolves. */
export async function sharePartitions(sharing: Sharing): Promise<SharedPartitions> {
  const { kysely, name, member, leaseMs, startReader, troubles, onForgotten, onError } = sharing
  const lookMs = Math.min(leaseMs / 4, 1_000)
  const readers = new Map<number, PartitionReader>()
  const leaving = new Set<Promise<void>>()
  const stopping = new AbortController()
  let begunAt: number | undefined
  let looking: Promise<void> = Promise.resolve()

  async function look(): Promise<void> {
    const members = await attend(kysely, name, member, leaseMs)
    const rows = await keepLeases()
    begunAt ??= rows[0]?.begunAt
    if (rows[0]?.begunAt !== begunAt) return onForgotten()
    const share = shareOf(rows.length, members, member)
    const held = [...readers.values()].filter((reader) => !reader.isStopping)
    for (const reader of held.slice(share)) giveBack(reader)
    const free = rows.filter((row) => row.leaseLeftMs <= 0 && !readers.has(row.partition))
    for (const row of shuffled(free).slice(0, share - held.length)) {
      if (stopping.signal.aborted) return
      await take(row)
    }
  }

  /** Of what is read, and of what is finished before it is given back: a page may take longer than a lease. */
  async function keepLeases(): Promise<Checkpoint[]> {
    const asked = Date.now()
    const rows = await readCheckpoints(kysely, name)
    for (const reader of readers.values()) {
      const row = rows.find(({ partition }) => partition === reader.lease.partition)
      if (row?.epoch !== reader.lease.epoch) {
        // Taken over: it stops by itself at its next checkpoint, and need not come so far.
        void reader.stop()
      } else if (row.leaseLeftMs > leaseMs / 2) {
        reader.holdUntil(asked + row.leaseLeftMs)
      } else {
        const renewing = Date.now()
        if (await renewLease(kysely, reader.lease, leaseMs)) reader.holdUntil(renewing + leaseMs)
      }
    }
    return rows
  }

  async function take({ partition }: Checkpoint): Promise<void> {
    const asked = Date.now()
    const taken = await takeLease(kysely, { name, partition }, { member, leaseMs })
    if (!taken) return
    const reader = startReader(taken.lease, { position: taken.feedPosition, heldUntil: asked + leaseMs })
    readers.set(partition, reader)
    void reader.done.then(() => {
      if (readers.get(partition) === reader) readers.delete(partition)
    })
  }

  /** Not waited for: its page may take long, and the others want to be looked after. */
  function giveBack(reader: PartitionReader): void {
    const going = reader
      .stop()
      .then(() => releaseLease(kysely, reader.lease))
      .catch((error: unknown) => troubles.met(leaving, error, `subscription ${name}: a lease was left to end by itself`))
      .finally(() => void leaving.delete(going))
    leaving.add(going)
  }

  async function lookAgain(): Promise<void> {
    while (await isDue(stopping.signal)) await tried(look)
  }

  /** @returns false when it is not to be waited for any more */
  const isDue = (signal: AbortSignal): Promise<boolean> => setTimeout(lookMs, true, { signal }).catch(() => false)

  async function tried(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
      troubles.recovered(sharing)
    } catch (error) {
      troubles.met(sharing, error, `subscription ${name}: shares were not looked at (it tries again)`)
    }
  }

  async function stop(): Promise<void> {
    stopping.abort()
    await looking
    for (const reader of readers.values()) giveBack(reader)
    const finished = new AbortController()
    const keeping = (async () => {
      while (await isDue(finished.signal)) await tried(keepLeases)
    })()
    await Promise.all(leaving)
    finished.abort()
    await keeping
    await leave(kysely, name, member).catch((error: unknown) =>
      onError(error, `subscription ${name}: it did not say that it left`),
    )
  }

  try {
    await look()
  } catch (error) {
    // Some may be read already, for a caller who is told that nothing is.
    await stop()
    throw error
  }
  looking = lookAgain()
  return { readers, stop }
}

/** As equal as it can be; the first members have the rest. */
function shareOf(partitions: number, members: readonly string[], member: string): number {
  const rank = members.indexOf(member)
  return Math.floor(partitions / members.length) + (rank < partitions % members.length ? 1 : 0)
}

/** So that processes that start together do not all reach for the same partitions. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
