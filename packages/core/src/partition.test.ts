import { describe, expect, test } from 'vitest'
import { sha256 } from '../../../test/support/core-log.ts'
import { partitionHashName, partitionOf } from './partition.ts'

const key = (conversationId: string, tenant = 'default') => ({ tenant, conversationId })

/** Expected values were computed by another program (Python's hashlib) from the description of `partitionOf`. */
describe('the partition of a conversation', () => {
  test.each([
    [key('c1'), 64, 34],
    [key('c1'), 256, 34],
    [key('c1'), 1, 0],
    [key('c2'), 64, 58],
    [key('c1', 'acme'), 64, 15],
    [key('Zoë 😀'), 64, 41],
    [key('01890a5d-ac96-774b-bcce-b302099a8057'), 1024, 184],
  ])('%j over %i is %i for ever: rows are found by it', (conversation, partitions, expected) => {
    expect(partitionOf(conversation, partitions, sha256)).toBe(expected)
    expect(partitionHashName).toBe('sha256-48')
  })

  test('of a fork, and of a fork of a fork, is that of the root', () => {
    const root = partitionOf(key('c1'), 4096, sha256)
    expect(partitionOf(key('c1~01890a5d'), 4096, sha256)).toBe(root)
    expect(partitionOf(key('c1~01890a5d~01890a5e'), 4096, sha256)).toBe(root)
  })

  test('depends on the tenant, and tenant and id do not run into each other', () => {
    const partitions = [key('bc', 'a'), key('c', 'ab'), key('abc', ''), key('', 'abc')].map((k) =>
      partitionOf(k, 2 ** 40, sha256),
    )
    expect(new Set(partitions).size).toBe(4)
  })

  test('spreads conversations evenly', () => {
    const counts = new Map<number, number>()
    for (let i = 0; i < 6400; i++) {
      const partition = partitionOf(key(`conversation ${i}`), 64, sha256)
      counts.set(partition, (counts.get(partition) ?? 0) + 1)
    }
    expect(counts.size).toBe(64)
    // 100 each; a fair spread leaves 60 to 140 (four standard deviations) practically never.
    expect(Math.min(...counts.values())).toBeGreaterThan(60)
    expect(Math.max(...counts.values())).toBeLessThan(140)
  })
})
