import { describe, expect, test } from 'vitest'
import { parseMoment, parsePosition, relativeTimeOf, shortTimeOf } from './times.ts'

const march = Date.UTC(2026, 2, 1, 9, 30) * 1000

describe('a moment', () => {
  test('is a position when it is a whole number', () => {
    expect(parseMoment('--at', '42')).toEqual({ position: 42 })
    expect(parsePosition('--to', '0')).toBe(0)
  })

  test.each([
    ['2026-03-01T09:30:00Z', march],
    ['2026-03-01T09:30', march],
    ['2026-03-01 09:30:00', march],
    ['2026-03-01T10:30:00+01:00', march],
    ['2026-03-01', march - 9.5 * 3_600_000_000],
    ['2026-03-01T09:30:00.123456Z', march + 123_456],
    ['2026-03-01t09:30:00.1z', march + 100_000],
  ])('%s is a time to the microsecond, in UTC unless it says otherwise', (text, occurredAt) => {
    expect(parseMoment('--at', text)).toEqual({ occurredAt })
  })

  test.each(['yesterday', '-1', '1.5', '2026-02-30', '2026-03-01T25:00Z', '2026-03-01T09', ''])(
    '%s is refused by name',
    (text) => {
      expect(() => parseMoment('--at', text)).toThrow(expect.objectContaining({ code: 'usage_invalid' }))
      expect(() => parseMoment('--at', text)).toThrow('--at')
    },
  )

  test.each(['x', '-1', '1e3', '9007199254740993'])('%s is no position', (text) => {
    expect(() => parsePosition('--to', text)).toThrow(expect.objectContaining({ code: 'usage_invalid' }))
  })
})

test('times for people', () => {
  expect(shortTimeOf(march + 999_999)).toBe('2026-03-01 09:30:00Z')
  expect(relativeTimeOf(march, march + 30_000_000)).toBe('just now')
  expect(relativeTimeOf(march, march + 2 * 86_400_000_000)).toBe('2 days ago')
  expect(relativeTimeOf(march + 3 * 3_600_000_000, march)).toBe('in 3 hours')
})
