import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../../../../test/support/core-log.ts'
import { partitionOf } from '../partition.ts'
import { cursorCovers, cursorOf, decodeCursor, encodeCursor } from './feed-cursor.ts'

const positions = fc.array(fc.oneof(fc.constant(0), fc.maxSafeNat()), { minLength: 1, maxLength: 300 })

describe('a cursor', () => {
  test('is the same positions again', () => {
    fc.assert(
      fc.property(positions, (at) => {
        expect(decodeCursor(encodeCursor(at), at.length)).toEqual(at)
      }),
    )
  })

  test('is short while few partitions hold anything, and safe in an address', () => {
    expect(encodeCursor([0, 0, 0, 0])).toBe('c1.4.')
    expect(encodeCursor([35, 0, 36, 0])).toBe('c1.4.z..10')
    fc.assert(
      fc.property(positions, (at) => {
        expect(encodeCursor(at)).toMatch(/^[\w.]+$/)
      }),
    )
  })

  test('is refused by a log with another number of partitions', () => {
    const refusal = { code: 'cursor_invalid', details: { problem: 'it is for 2 partitions, and this log has 3' } }
    expect(() => decodeCursor(encodeCursor([1, 2]), 3)).toThrow(expect.objectContaining(refusal))
  })

  test('is refused when it is none', () => {
    const texts = [
      '',
      'c1',
      'c1.2',
      'c2.2.1',
      'c1.2.1.2.3',
      'c1.2.-1',
      'c1.2.0',
      'c1.2.01',
      'c1.2.A',
      'c1.2.1.zzzzzzzzzzzzzz',
      'c1.2. 1',
    ]
    for (const text of texts) {
      expect(() => decodeCursor(text, 2), text).toThrow(expect.objectContaining({ code: 'cursor_invalid' }))
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => decodeCursor(text, 2)).toThrow(expect.objectContaining({ code: 'cursor_invalid' }))
      }),
    )
  })

  test('covers another one when it is as far in every partition', () => {
    expect(cursorCovers(encodeCursor([3, 5]), encodeCursor([3, 4]), 2)).toBe(true)
    expect(cursorCovers(encodeCursor([3, 5]), encodeCursor([3, 5]), 2)).toBe(true)
    expect(cursorCovers(encodeCursor([3, 5]), encodeCursor([4, 4]), 2)).toBe(false)
    expect(cursorCovers(encodeCursor([4, 4]), encodeCursor([3, 5]), 2)).toBe(false)
  })

  test('of an envelope asks for its partition up to it, and for nothing of others', () => {
    const envelope = { tenant: 't', conversationId: 'c', feedPosition: 7 }
    const at = decodeCursor(cursorOf(envelope, 8, sha256), 8)
    expect(at[partitionOf(envelope, 8, sha256)]).toBe(7)
    expect(at.reduce((sum, position) => sum + position)).toBe(7)
  })
})
