import type { EventLog } from '@colloquy/core'

/** A log with some methods replaced; what they replace is in `log`. */
export function tampered(log: EventLog, replace: (log: EventLog) => Partial<EventLog>): EventLog {
  return { ...log, ...replace(log) }
}

/** Without hints: readers have only their sweep. */
export const withoutHints = (log: EventLog): EventLog => tampered(log, () => ({ onGrowth: () => () => {} }))
