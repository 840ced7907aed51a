import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { coalesce } from './signal-transport.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** How many messages tell of so many partitions a millisecond, for a second. */
async function messagesOf(partitionsAMs: number): Promise<number> {
  let messages = 0
  const outbox = coalesce(async () => void messages++)
  for (let ms = 0; ms < 1_000; ms++) {
    outbox.add(Array.from({ length: partitionsAMs }, (_, i) => i))
    await vi.advanceTimersByTimeAsync(1)
  }
  return messages
}

test('a lone growth is told at once', async () => {
  const sent: (readonly number[])[] = []
  const outbox = coalesce(async (partitions) => void sent.push(partitions))
  outbox.add([7])
  outbox.add([3])
  await vi.advanceTimersByTimeAsync(0)
  expect(sent).toEqual([[3, 7]])
})

test('a few writers are told of every two milliseconds, a stream every ten', async () => {
  expect(await messagesOf(3)).toBeGreaterThan(400)
  const stream = await messagesOf(30)
  expect(stream).toBeGreaterThan(80)
  expect(stream).toBeLessThan(120)
})
