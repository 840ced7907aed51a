/**
 * Tells other processes that partitions have grown. Only a hint, so that they need not wait for their next sweep: it may be late, come
 * twice or be lost, and nothing rests on it. That is why it is sent behind the commit and never with it: a NOTIFY in the transaction
 * makes commits wait for each other, and a transport that is down must not fail an append.
 */
export interface SignalTransport {
  /** Sends soon. Never throws and never waits. */
  readonly publish: (partitions: readonly number[]) => void
  /** What others publish; what was published here may be left out. @returns how to stop */
  readonly subscribe: (listener: (partitions: readonly number[]) => void) => () => void
  readonly close: () => Promise<void>
}

/** Told that a transport does not work at the moment. Once for each outage. */
export type SignalWarning = (problem: string) => void

export const warnOfSignals: SignalWarning = (problem) => {
  process.emitWarning(`${problem} Readers find what is new with their sweep until it works again.`, 'ColloquyWarning')
}

/** The least time between two messages of a process. A lone append is told at once; under load many share one. */
const leastPauseMs = 2
/**
 * Under a stream readers rest behind each read (`followFeed`), so hints in between only cost: so many growths are worth a millisecond of
 * pause, a partition counted each time it is told of. Eight writers that append one after the other tell of three a millisecond.
 */
const growthsWorthAMs = 6
const longestPauseMs = 10

export interface Coalesced {
  readonly add: (partitions: readonly number[]) => void
  /** Sends nothing more, and waits for what is under way. */
  readonly close: () => Promise<void>
}

/** Gathers partitions while a message is under way, and for a moment behind it. What cannot be sent is dropped: a late hint is of no use. */
export function coalesce(send: (partitions: readonly number[]) => Promise<void>): Coalesced {
  const waiting = new Set<number>()
  let growths = 0
  let sending: Promise<void> | undefined
  let closed = false

  async function sendAll(): Promise<void> {
    // Appends that are acknowledged in the same turn of the loop share the first message too.
    await Promise.resolve()
    while (waiting.size > 0 && !closed) {
      const partitions = [...waiting].sort((a, b) => a - b)
      const pauseMs = Math.min(Math.max(leastPauseMs, growths / growthsWorthAMs), longestPauseMs)
      waiting.clear()
      growths = 0
      await send(partitions).catch(() => undefined)
      await new Promise<void>((resolve) => setTimeout(resolve, pauseMs).unref())
    }
    sending = undefined
  }

  return {
    add(partitions) {
      if (closed) return
      for (const partition of partitions) waiting.add(partition)
      growths += partitions.length
      sending ??= sendAll()
    },
    async close() {
      closed = true
      await sending
    },
  }
}

/** Partition numbers as text: `3,17,21`. */
export const encodePartitions = (partitions: readonly number[]): string => partitions.join(',')

/** What is no number is left out: anyone can send something on a channel. */
export function decodePartitions(text: string): number[] {
  return text
    .split(',')
    .filter((number) => /^\d{1,9}$/.test(number))
    .map(Number)
}
