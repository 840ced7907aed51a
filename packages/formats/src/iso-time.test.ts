import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatIsoTime, parseIsoTime } from './iso-time.ts'

describe('parseIsoTime', () => {
  test.each([
    ['1970-01-01T00:00:00Z', 0],
    ['2026-03-01T09:00:00.123Z', 1_772_355_600_123_000],
    ['2026-03-01T09:00:00.123456Z', 1_772_355_600_123_456],
    ['2026-03-01T09:00:00.1234569Z', 1_772_355_600_123_456],
    ['2026-03-01T10:30:00.5+01:30', 1_772_355_600_500_000],
    ['2026-03-01T04:00:00-05:00', 1_772_355_600_000_000],
    ['1969-12-31T23:59:59.999999Z', -1],
    ['2000-02-29T00:00:00Z', 951_782_400_000_000],
  ])('reads %s', (text, microseconds) => {
    expect(parseIsoTime(text)).toBe(microseconds)
  })

  test.each([
    'now',
    '2026-03-01',
    '2026-03-01T09:00:00',
    '2026-03-01 09:00:00Z',
    '2026-3-1T09:00:00Z',
    '2026-13-01T09:00:00Z',
    '2026-00-01T09:00:00Z',
    '2025-02-29T09:00:00Z',
    '1900-02-29T09:00:00Z',
    '2026-04-31T09:00:00Z',
    '2026-03-01T24:00:00Z',
    '2026-03-01T09:60:00Z',
    '2026-03-01T09:00:60Z',
    '2026-03-01T09:00:00.Z',
    '2026-03-01T09:00:00+24:00',
    '9999-12-31T23:59:59Z',
    42,
    null,
    undefined,
  ])('refuses %s', (value) => {
    expect(parseIsoTime(value)).toBeUndefined()
  })

  test('agrees with the calendar of the platform at every millisecond', () => {
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(1700, 0), max: Date.UTC(2200, 0) }), (ms) => {
        const text = new Date(ms).toISOString()
        expect(parseIsoTime(text)).toBe(ms * 1000)
        expect(formatIsoTime(ms * 1000)).toBe(text)
      }),
      { numRuns: 2000 },
    )
  })
})

test('formatIsoTime writes microseconds only where there are some', () => {
  expect(formatIsoTime(1_772_355_600_123_456)).toBe('2026-03-01T09:00:00.123456Z')
  expect(formatIsoTime(-1)).toBe('1969-12-31T23:59:59.999999Z')
})
