import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { sha256, systemRandom } from './node-ports.ts'

test('the hash of parts is that of their bytes in a row, however many and large they are', () => {
  const bytes = (length: number, from: number) => Uint8Array.from({ length }, (_, i) => (from + i) % 256)
  for (const parts of [[], [bytes(3, 1)], [bytes(0, 0), bytes(5, 7), bytes(1, 9)], [bytes(70_000, 3), bytes(9, 2)]]) {
    const whole = createHash('sha256').update(Buffer.concat(parts)).digest()
    expect(Buffer.compare(sha256(...parts), whole)).toBe(0)
  }
})

test('random bytes have the length that was asked for and are given out once', () => {
  const seen = new Set<string>()
  for (const length of [16, 1, 256, 257, 5000, ...Array.from({ length: 600 }, () => 16)]) {
    const bytes = systemRandom(length)
    expect(bytes).toHaveLength(length)
    if (length < 16) continue
    expect(bytes.some((byte) => byte !== 0)).toBe(true)
    seen.add(Buffer.from(bytes).toString('hex'))
  }
  expect(seen.size).toBe(604)
})
