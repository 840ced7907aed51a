import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../../../../test/support/core-log.ts'
import { partitionOf } from '../partition.ts'
import { cursorCovers, cursorOf, decodeCursor, encodeCursor } from './feed-cursor.ts'

const log = { id: '0a1b2c3d', partitions: 2 }
const positions = fc.array(fc.oneof(fc.constant(0), fc.maxSafeNat()), { minLength: 1, maxLength: 300 })

describe('a cursor', () => {
  test('is the same positions again', () => {
    fc.assert(
      fc.property(positions, (at) => {
        expect(decodeCursor(encodeCursor(log, at), { ...log, partitions: at.length })).toEqual(at)
      }),
    )
  })

  test('is short while few partitions hold anything, and safe in an address', () => {
    expect(encodeCursor(log, [0, 0, 0, 0])).toBe('c1.0a1b2c3d.4.')
    expect(encodeCursor(log, [35, 0, 36, 0])).toBe('c1.0a1b2c3d.4.z..10')
    fc.assert(
      fc.property(positions, (at) => {
        expect(encodeCursor(log, at)).toMatch(/^[\w.]+$/)
      }),
    )
  })

  test('is refused by a log with another number of partitions', () => {
    const refusal = { code: 'cursor_invalid', details: { problem: 'it is for 2 partitions, and this log has 3' } }
    expect(() => decodeCursor(encodeCursor(log, [1, 2]), { ...log, partitions: 3 })).toThrow(expect.objectContaining(refusal))
  })

  test('is refused by another log, of as many partitions', () => {
    const refusal = { code: 'cursor_invalid', details: { problem: 'it is of the log 0a1b2c3d, and this one is 4e5f6071' } }
    expect(() => decodeCursor(encodeCursor(log, [1, 2]), { ...log, id: '4e5f6071' })).toThrow(expect.objectContaining(refusal))
  })

  test('is refused when it is none', () => {
    const texts = [
      '',
      'c1',
      'c1.0a1b2c3d.2',
      'c1.2.1',
      'c2.0a1b2c3d.2.1',
      'c1.0a1b2c3d.2.1.2.3',
      'c1.0a1b2c3d.2.-1',
      'c1.0a1b2c3d.2.0',
      'c1.0a1b2c3d.2.01',
      'c1.0a1b2c3d.2.A',
      'c1.0a1b2c3d.2.1.zzzzzzzzzzzzzz',
      'c1.0a1b2c3d.2. 1',
    ]
    for (const text of texts) {
      expect(() => decodeCursor(text, log), text).toThrow(expect.objectContaining({ code: 'cursor_invalid' }))
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => decodeCursor(text, log)).toThrow(expect.objectContaining({ code: 'cursor_invalid' }))
      }),
    )
  })

  test('covers another one when it is as far in every partition', () => {
    expect(cursorCovers(encodeCursor(log, [3, 5]), encodeCursor(log, [3, 4]), log)).toBe(true)
    expect(cursorCovers(encodeCursor(log, [3, 5]), encodeCursor(log, [3, 5]), log)).toBe(true)
    expect(cursorCovers(encodeCursor(log, [3, 5]), encodeCursor(log, [4, 4]), log)).toBe(false)
    expect(cursorCovers(encodeCursor(log, [4, 4]), encodeCursor(log, [3, 5]), log)).toBe(false)
  })

  test('of an envelope asks for its partition up to it, and for nothing of others', () => {
    const wide = { ...log, partitions: 8 }
    const envelope = { tenant: 't', conversationId: 'c', feedPosition: 7 }
    const at = decodeCursor(cursorOf(envelope, wide, sha256), wide)
    expect(at[partitionOf(envelope, 8, sha256)]).toBe(7)
    expect(at.reduce((sum, position) => sum + position)).toBe(7)
  })
})
