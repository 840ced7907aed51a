/** The switch from catching up to live, as a property: whatever comes in which order, each envelope is read once, in order. */
import { type EventLog, encodeCursor, type FollowedPage, followFeed } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { appendTo, newKey } from '../support/log-writer.ts'
import { tampered } from '../support/tampered-log.ts'

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ does: fc.constant('append' as const), to: fc.nat(4), count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('answer' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('hintAgain' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('resume' as const) }) },
)

test('each envelope is read once and in order, however appends, hints, answers and restarts fall', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.constantFrom(1, 3),
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }),
      fc.array(step, { maxLength: 30 }),
      async (scheduler, partitions, limit, hintArrives, steps) => {
        const store = openMemoryLog({ partitions })
        const keys = Array.from({ length: 5 }, () => newKey())
        let hints = 0
        const listeners = new Set<(partitions: readonly number[]) => void>()
        // Answers come when the scheduler says so, in any order; some hints never do.
        const log = tampered(store, (log) => ({
          feedPages: (query) => scheduler.schedule(log.feedPages(query)),
          feedHeads: () => scheduler.schedule(log.feedHeads()),
          onGrowth(listener) {
            listeners.add(listener)
            const stop = log.onGrowth((grown) => {
              hints += 1
              if (hintArrives[hints % hintArrives.length]) listener(grown)
            })
            return () => {
              listeners.delete(listener)
              stop()
            }
          },
        }))
        const sweeps = new Set<() => void>()
        const timer = (listener: () => void) => {
          sweeps.add(listener)
          return () => void sweeps.delete(listener)
        }
        const sweepNow = () => {
          const due = [...sweeps]
          sweeps.clear()
          for (const listener of due) listener()
        }

        const read: string[] = []
        let cursor = encodeCursor(
          log,
          Array.from({ length: partitions }, () => 0),
        )
        let reader = start()
        function start() {
          const followed = followFeed(log, { from: cursor, limit, timer })
          const done = (async () => {
            for await (const page of followed) take(page)
          })()
          return { followed, done }
        }
        function take(page: FollowedPage): void {
          for (const envelope of page.envelopes) read.push(`${page.partition}/${envelope.feedPosition}`)
          cursor = page.cursor
        }

        for (const one of steps) {
          if (one.does === 'append')
            await appendTo(
              store,
              keys[one.to] as (typeof keys)[number],
              Array.from({ length: one.count }, () => ({})),
            )
          else if (one.does === 'answer') await answer(one.count)
          else if (one.does === 'sweep') sweepNow()
          else if (one.does === 'hintAgain')
            for (const listener of listeners) listener(Array.from({ length: partitions }, (_, p) => p))
          else {
            reader.followed.stop()
            await answer(Number.POSITIVE_INFINITY)
            await reader.done
            reader = start()
          }
        }
        async function answer(count: number): Promise<void> {
          for (let i = 0; i < count; i++) {
            await settle()
            if (scheduler.count() === 0) return
            await scheduler.waitOne()
          }
          await settle()
        }

        // The sweep alone finds the rest.
        const stored = (await store.feedHeads()).reduce((sum, head) => sum + head, 0)
        for (let i = 0; i < 100 && read.length < stored; i++) {
          await answer(Number.POSITIVE_INFINITY)
          sweepNow()
        }
        await answer(Number.POSITIVE_INFINITY)
        reader.followed.stop()
        await answer(Number.POSITIVE_INFINITY)
        await reader.done

        expect(read.toSorted(byPlace)).toEqual(await allOf(store))
        for (let partition = 0; partition < partitions; partition++) {
          const own = read.filter((place) => place.startsWith(`${partition}/`))
          expect(own).toEqual(own.toSorted(byPlace))
        }
      },
    ),
    { numRuns: 300 },
  )
})

async function allOf(log: EventLog): Promise<string[]> {
  const heads = await log.feedHeads()
  return heads.flatMap((head, partition) => Array.from({ length: head }, (_, i) => `${partition}/${i + 1}`))
}

function byPlace(a: string, b: string): number {
  const [[pa = 0, fa = 0], [pb = 0, fb = 0]] = [a.split('/').map(Number), b.split('/').map(Number)]
  return pa - pb || fa - fb
}

/** Until nothing happens any more by itself. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
