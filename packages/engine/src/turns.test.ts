import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { say } from '../../../test/support/given.ts'
import { tampered } from '../../../test/support/tampered-log.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import type { Middleware } from './middleware.ts'
import { Turns } from './turns.ts'

describe('a writer', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    // The longest pauses, so that nothing here is by chance.
    vi.spyOn(Math, 'random').mockReturnValue(1)
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  /** How long it waits before its next append, in milliseconds. */
  async function waited(turns: Turns): Promise<number> {
    const begun = performance.now()
    const waiting = turns.giveWay()
    if (waiting === undefined) return 0
    let isDone = false
    void waiting.then(() => {
      isDone = true
    })
    while (!isDone) await vi.advanceTimersByTimeAsync(1)
    return performance.now() - begun
  }

  test('that lost a race waits longer with each append that it wins after it, and no more when it loses', async () => {
    const turns = new Turns()
    turns.lost()
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      turns.won()
      waits.push(await waited(turns))
    }
    expect(waits).toEqual([0, 2, 6, 14, 30, 62, 126, 128])
    turns.lost()
    expect(await waited(turns)).toBe(0)
  })

  test('counts the time since its last append, and forgets a rival that it has not met for a second', async () => {
    const turns = new Turns()
    turns.lost()
    for (let i = 0; i < 4; i++) turns.won()
    await vi.advanceTimersByTimeAsync(5)
    expect(await waited(turns)).toBe(9)
    turns.won()
    await vi.advanceTimersByTimeAsync(1_000)
    for (let i = 0; i < 4; i++) turns.won()
    expect(await waited(turns)).toBe(0)
  })

  test('that has never lost gives way once a second, and not at all where it leaves gaps by itself', async () => {
    async function pauses(turns: Turns, gapMs: number): Promise<number[]> {
      const waits: number[] = []
      for (let i = 0; i < 3_000; i += gapMs) {
        turns.won()
        await vi.advanceTimersByTimeAsync(gapMs)
        waits.push(await waited(turns))
      }
      return waits.filter((ms) => ms > 0)
    }
    expect(await pauses(new Turns(), 4)).toEqual([60, 60])
    expect(await pauses(new Turns(), 20)).toEqual([])
  })
})

test('of two that dispatch without a pause to one conversation the slower one has its turns', async () => {
  const inner = openMemoryLog()
  const log = tampered(inner, () => ({
    append: async (requests) => {
      await sleep(1)
      return inner.append(requests)
    },
  }))
  const slow: Middleware = () => (next) => async (action) => {
    await sleep(3)
    return next(action)
  }
  await using fast = createEngine({ log })
  await using slower = createEngine({ log, middleware: [slow] })
  const [one, two] = [await fast.open('c'), await slower.open('c')]
  let isDone = false
  let turns = 0
  const racing = (async () => {
    while (!isDone) await one.dispatch(say(`fast ${turns++}`))
  })()
  // The first of them may take until the faster one gives way by itself.
  await two.dispatch(say('slow'))
  turns = 0
  for (let i = 0; i < 20; i++) await two.dispatch(say(`slow ${i}`))
  isDone = true
  await racing
  expect(20 / (20 + turns)).toBeGreaterThan(0.1)
})
