import { ColloquyError, isColloquyError } from '../errors.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { Timer } from '../ports/timer.ts'

/** How often the ends of the feed are looked at: the longest that an envelope waits when every hint is lost. */
export const defaultSweepMs = 1_000

/** A reader of the feed, as the watch sees it. */
export interface GrowthWatcher {
  /** How far the reader has come; undefined for a partition that it does not read. */
  readonly positionOf: (partition: number) => number | undefined
  /** Told which partitions may hold more than that. */
  readonly onGrown: (partitions: readonly number[]) => void
  /** Told why the ends could not be read. `isFinal`: they never will be, and nothing is told any more. */
  readonly onError: (error: unknown, isFinal: boolean) => void
  readonly timer: Timer
  readonly sweepMs?: number | undefined
}

/** A watch that runs until it is stopped. */
export interface GrowthWatch {
  /** The end of a partition as the last sweep found it; 0 before. */
  readonly headOf: (partition: number) => number
  readonly stop: () => void
}

/**
 * Tells a reader when there may be more to read: at once where the log hints at it, and with each sweep of the ends of the feed, which
 * alone is the truth. It sweeps first when it starts: what was appended before is found like what comes. Where the ends cannot be
 * read, every partition may have grown.
 */
export function watchGrowth(log: Pick<EventLog, 'partitions' | 'feedHeads' | 'onGrowth'>, watcher: GrowthWatcher): GrowthWatch {
  const { positionOf, onGrown, onError, timer, sweepMs = defaultSweepMs } = watcher
  const all = Array.from({ length: log.partitions }, (_, partition) => partition)
  let heads: readonly number[] = []
  let stopped = false
  let stopTimer = () => {}

  async function sweep(): Promise<void> {
    // Before the heads are asked for: a reader only moves on, and would seem to be past an end that was read earlier.
    const before = all.map(positionOf)
    let grown = all
    try {
      const found = await log.feedHeads()
      if (stopped) return
      heads = found
      for (const partition of all) assertNotBeyond(partition, before[partition] ?? 0, heads[partition] ?? 0)
      grown = all.filter((partition) => (heads[partition] ?? 0) > (positionOf(partition) ?? Number.POSITIVE_INFINITY))
    } catch (error) {
      if (stopped) return
      const isFinal = isColloquyError(error, 'log_closed') || isColloquyError(error, 'history_rewound')
      if (isFinal) stop()
      onError(error, isFinal)
      if (isFinal) return
    }
    if (grown.length > 0) onGrown(grown)
    if (!stopped) stopTimer = timer(() => void sweep(), sweepMs)
  }

  const stopListening = log.onGrowth((partitions) => {
    if (!stopped) onGrown(partitions)
  })
  function stop(): void {
    stopped = true
    stopListening()
    stopTimer()
  }
  void sweep()
  return { headOf: (partition) => heads[partition] ?? 0, stop }
}

/**
 * A reader that is past the end of a partition has a cursor of another history: what comes up to there would be taken for read.
 * @throws `history_rewound`
 */
function assertNotBeyond(partition: number, position: number, head: number): void {
  if (position <= head) return
  throw new ColloquyError('history_rewound', { partition, heldPosition: position, headPosition: head })
}
