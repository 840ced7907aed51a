/** Times are microseconds since 1970 in the log, ISO 8601 in UTC on the screen. */
import { ColloquyError } from '@colloquy/core'
import { formatIsoTime, parseIsoTime } from '@colloquy/formats'

/** A place in a conversation: a position, or a time in microseconds since 1970. */
export type Moment = { readonly position: number } | { readonly occurredAt: number }

const looseTime = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/i

/** For people: to the second. */
export function shortTimeOf(microseconds: number): string {
  return `${formatIsoTime(microseconds).slice(0, 19).replace('T', ' ')}Z`
}

/** Of a list: exact in a pipe, short on a terminal. */
export const timeColumn = {
  title: 'TIME',
  value: ({ occurredAt }: { readonly occurredAt: number }) => formatIsoTime(occurredAt),
  shown: ({ occurredAt }: { readonly occurredAt: number }) => shortTimeOf(occurredAt),
  style: () => 'dim' as const,
}

/** A whole number is a position, everything else an ISO 8601 time; a time without a zone is UTC, as all printed ones are. @throws `usage_invalid` */
export function parseMoment(option: string, text: string): Moment {
  return /^\d+$/.test(text) ? { position: parsePosition(option, text) } : { occurredAt: parseTime(option, text) }
}

/** @throws `usage_invalid` */
export function parsePosition(option: string, text: string): number {
  const position = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(position)) {
    throw new ColloquyError('usage_invalid', { problem: `${option} takes a position (1, 2, 3 ...), not "${text}"` })
  }
  return position
}

function parseTime(option: string, text: string): number {
  const [, day, minute = '00:00', second = ':00', zone = 'Z'] = looseTime.exec(text) ?? []
  const time = parseIsoTime(`${day}T${minute}${second}${zone.toUpperCase()}`)
  if (time === undefined) {
    throw new ColloquyError('usage_invalid', {
      problem: `${option} takes a position or an ISO 8601 time such as 2026-03-01T09:30:00Z, not "${text}"`,
    })
  }
  return time
}

const units: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
]

/** `3 days ago`. Both times in microseconds since 1970. */
export function relativeTimeOf(microseconds: number, now: number): string {
  const seconds = (microseconds - now) / 1_000_000
  const unit = units.find(([, size]) => Math.abs(seconds) >= size)
  if (unit === undefined) return 'just now'
  return new Intl.RelativeTimeFormat('en').format(Math.trunc(seconds / unit[1]), unit[0])
}
