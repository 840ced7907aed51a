/**
 * Shares the partitions of a subscription among the processes that take part. Each one says regularly that it is there, holds as many
 * partitions as its share is, gives back what is more, and takes what nobody has or whose holder was not heard of in time.
 */
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

export interface Sharing {
  readonly kysely: Kysely<Database>
  readonly name: string
  readonly member: string
  readonly leaseMs: number
  readonly startReader: (lease: Lease, position: number) => PartitionReader
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
  const { kysely, name, member, leaseMs, startReader, onError } = sharing
  const readers = new Map<number, PartitionReader>()
  const leaving = new Set<Promise<void>>()
  let stopped = false
  let timeout: NodeJS.Timeout | undefined
  let looking: Promise<void> = Promise.resolve()

  async function look(): Promise<void> {
    const members = await attend(kysely, name, member, leaseMs)
    const rows = await readCheckpoints(kysely, name)
    for (const reader of readers.values()) {
      // Taken over: it stops by itself at its next checkpoint, and need not come so far.
      if (rows.find(({ partition }) => partition === reader.lease.partition)?.epoch !== reader.lease.epoch) void reader.stop()
      else await renewLease(kysely, reader.lease, leaseMs)
    }
    const share = shareOf(rows.length, members, member)
    const held = [...readers.values()].filter((reader) => !reader.isStopping)
    for (const reader of held.slice(share)) giveBack(reader)
    for (const row of shuffled(rows.filter((row) => row.isFree && !readers.has(row.partition))).slice(0, share - held.length)) {
      if (stopped) return
      await take(row)
    }
  }

  async function take({ partition }: Checkpoint): Promise<void> {
    const taken = await takeLease(kysely, { name, partition }, { member, leaseMs })
    if (!taken) return
    const reader = startReader(taken.lease, taken.feedPosition)
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
      .catch((error: unknown) => onError(error, `subscription ${name}: a lease was left to end by itself`))
      .finally(() => void leaving.delete(going))
    leaving.add(going)
  }

  function lookLater(): void {
    if (stopped) return
    timeout = setTimeout(
      () => {
        looking = look()
          .catch((error: unknown) => onError(error, `subscription ${name}: shares were not looked at`))
          .finally(lookLater)
      },
      Math.min(leaseMs / 4, 1_000),
    )
  }

  async function stop(): Promise<void> {
    stopped = true
    clearTimeout(timeout)
    await looking
    for (const reader of readers.values()) giveBack(reader)
    await Promise.all(leaving)
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
  lookLater()
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
