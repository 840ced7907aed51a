import type { SignalTransport } from './signal-transport.ts'

/** See `PostgresOptions.signals`. */
export type Signals = 'none' | 'local' | SignalTransport

export interface Growth {
  /** Partitions grew by an append of this process. Never throws: the append is stored. */
  readonly tell: (partitions: readonly number[]) => void
  /** See `EventLog.onGrowth`. */
  readonly onGrowth: (listener: (partitions: readonly number[]) => void) => () => void
  readonly close: () => Promise<void>
}

/** Readers of this process hear of its appends at once, and of those of others through the transport. */
export function growthBy(signals: Signals): Growth {
  const listeners = new Set<(partitions: readonly number[]) => void>()
  const transport = typeof signals === 'string' ? undefined : signals
  const hear = (partitions: readonly number[]): void => {
    for (const listener of listeners) {
      try {
        listener(partitions)
      } catch (error) {
        process.emitWarning(`A listener of EventLog.onGrowth threw: ${String(error)}`, 'ColloquyWarning')
      }
    }
  }
  transport?.subscribe(hear)
  return {
    tell(partitions) {
      if (signals === 'none' || partitions.length === 0) return
      hear(partitions)
      transport?.publish(partitions)
    },
    onGrowth(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    close: async () => transport?.close(),
  }
}
