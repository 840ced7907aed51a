/** What an engine may be given, checked when it is made: a number that cannot work would be found out by every dispatch, or never. */
import { type Clock, ColloquyError, deepestBody, defaultLimits, type Limits } from '@colloquy/core'

const invalid = (field: string, problem: string) => new ColloquyError('settings_invalid', { field, problem })

/** @throws `settings_invalid` */
export function limitsFrom({ depth, keys, envelopeBytes }: Partial<Limits> = {}): Limits {
  const limits: Limits = {
    depth: depth ?? defaultLimits.depth,
    keys: keys ?? defaultLimits.keys,
    envelopeBytes: envelopeBytes ?? defaultLimits.envelopeBytes,
  }
  for (const name of ['depth', 'keys', 'envelopeBytes'] as const) count(`limits.${name}`, limits[name])
  if (limits.depth > deepestBody) {
    throw invalid('limits.depth', `it is ${limits.depth}, and what is nested deeper than ${deepestBody} levels is not read back`)
  }
  return limits
}

/** A number from 1 on; Infinity stands for never, or without a limit. @throws `settings_invalid` */
export function count(field: string, value: number): number {
  if (Number.isSafeInteger(value) ? value >= 1 : value === Infinity) return value
  throw invalid(field, `it is ${value}, not a whole number from 1 on`)
}

/** Infinity stands for never. @throws `settings_invalid` */
export function milliseconds(field: string, value: number): number {
  if (value >= 0) return value
  throw invalid(field, `it is ${value}, not a number of milliseconds from 0 on`)
}

/** Between these a clock of milliseconds is from 2001 to 2096, and one of microseconds in January or February of 1970. */
const millisecondsFrom = 1e12
const millisecondsTo = 4e12

/** The clock, refused when it is asked and gives milliseconds. */
export function inMicroseconds(clock: Clock): Clock {
  return () => {
    const now = clock()
    if (now > millisecondsFrom && now < millisecondsTo)
      throw invalid('clock', `it gave ${now}, which is milliseconds: it has to count microseconds`)
    return now
  }
}
