import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { CacheError } from './cache-error.ts'
import { memoryTier } from './memory-tier.ts'
import type { CacheTier } from './tier.ts'
import { type TieredCacheOptions, tieredCache } from './tiered-cache.ts'

/** A tier in memory under another name, that counts, can be made to fail or to hang, and waits before each answer. */
interface SlowTierOptions {
  readonly timeoutMs?: number
  readonly now?: () => number
  /** How many turns of the event loop its operations take, one after the other, over and over. */
  readonly pauses?: readonly number[]
}

async function pause(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
}

function slowTier(level: string, { now = Date.now, pauses = [1], ...options }: SlowTierOptions = {}) {
  const { count: _, ...kept } = memoryTier({ now })
  const told = { gets: 0, sets: 0, problem: undefined as string | undefined, isHanging: false }
  let operations = 0
  async function pass<T>(work: () => Promise<T>): Promise<T> {
    const turns = pauses[operations++ % pauses.length] ?? 1
    // It is slow before it does it, or after.
    if (turns % 2 === 0) await pause(turns)
    if (told.isHanging) await new Promise(() => {})
    if (told.problem !== undefined) throw new Error(told.problem)
    const answer = await work()
    if (turns % 2 === 1) await pause(turns)
    return answer
  }
  const tier: CacheTier = {
    ...kept,
    level,
    ...options,
    async get(key) {
      told.gets += 1
      return pass(async () => kept.get(key))
    },
    async set(key, entry) {
      told.sets += 1
      return pass(async () => kept.set(key, entry))
    },
    delete: async (key) => pass(async () => kept.delete(key)),
    deleteTag: async (tag) => pass(async () => kept.deleteTag(tag)),
    clear: async () => pass(async () => kept.clear()),
  }
  return { tier, told, kept }
}

/** Memory, and two tiers that stand for Redis and disk, under a clock of the test. */
function three(options: TieredCacheOptions = {}, pauses: readonly (readonly number[])[] = []) {
  const clock = { ms: 1_000_000 }
  const now = () => clock.ms
  const [redis, disk] = [
    slowTier('redis', { now, pauses: pauses[0] ?? [1] }),
    slowTier('disk', { now, pauses: pauses[1] ?? [1] }),
  ]
  const warnings: CacheError[] = []
  const memory = memoryTier({ now })
  const cache = tieredCache({
    tiers: [memory, redis.tier, disk.tier],
    now,
    onWarning: (warning) => void warnings.push(warning),
    ...options,
  })
  return { cache, memory, redis, disk, clock, warnings }
}

describe('what is set', () => {
  test('is in every tier, and can be had from each', async () => {
    const { cache } = three()
    await cache.set('k', { a: [1] })
    for (const level of ['memory', 'redis', 'disk']) expect(await cache.get('k', { level })).toEqual({ a: [1] })
    await expect(cache.get('k', { level: 'tape' })).rejects.toMatchObject({ code: 'option_invalid' })
  })

  test('comes back frozen, the same object each time, and with its fields in order', async () => {
    const { cache } = three()
    const value = { b: { c: [1] }, a: null }
    await cache.set('k', value)
    const found = await cache.get<typeof value>('k')
    expect(JSON.stringify(found)).toBe(JSON.stringify(value))
    expect(found).not.toBe(value)
    expect(await cache.get('k')).toBe(found)
    expect(() => (found as { b: { c: number[] } }).b.c.push(2)).toThrow(TypeError)
  })

  test.each([Number.NaN, undefined, new Date(), new Map(), 1n, { a: [undefined] }, () => {}, Symbol('s')])(
    'is refused when JSON would change it: %s',
    async (value) => {
      await expect(three().cache.set('k', value as never)).rejects.toMatchObject({ code: 'value_invalid' })
    },
  )

  test.each(['', 'x'.repeat(1_001)])('needs a key that can be used', async (key) => {
    await expect(three().cache.set(key, 1)).rejects.toMatchObject({ code: 'key_invalid' })
  })

  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('needs a TTL above 0: %s', async (ttlMs) => {
    await expect(three().cache.set('k', 1, { ttlMs })).rejects.toMatchObject({ code: 'option_invalid' })
  })

  test('is gone in all tiers when its TTL is over', async () => {
    const { cache, clock } = three()
    await cache.set('k', 1, { ttlMs: 5_000 })
    clock.ms += 4_999
    expect(await cache.get('k')).toBe(1)
    clock.ms += 1
    expect(await cache.get('k')).toBeUndefined()
    for (const level of ['memory', 'redis', 'disk']) expect(await cache.get('k', { level })).toBeUndefined()
  })
})

describe('a hit in a lower tier', () => {
  test('is in the tiers above next', async () => {
    const { cache, memory, redis } = three()
    await cache.set('k', 'v')
    await memory.clear()
    await redis.kept.clear()
    expect(await cache.get('k')).toBe('v')
    expect(await cache.get('k', { level: 'memory' })).toBe('v')
    expect(await cache.get('k', { level: 'redis' })).toBe('v')
    expect(cache.stats().tiers).toMatchObject({ disk: { hits: 1 } })
  })

  test('does not live longer above', async () => {
    const { cache, memory, clock } = three()
    await cache.set('k', 'v', { ttlMs: 5_000 })
    await memory.clear()
    clock.ms += 4_000
    await cache.get('k')
    clock.ms += 1_000
    expect(await cache.get('k', { level: 'memory' })).toBeUndefined()
  })

  test('is not copied when only that tier was asked', async () => {
    const { cache, memory } = three()
    await cache.set('k', 'v')
    await memory.clear()
    await cache.get('k', { level: 'disk' })
    expect(await cache.get('k', { level: 'memory' })).toBeUndefined()
  })
})

describe('one flight', () => {
  test('50 misses at a time call the source once', async () => {
    const { cache, disk } = three()
    let calls = 0
    const load = async () => {
      calls += 1
      await new Promise((resolve) => setTimeout(resolve, 5))
      return { made: calls }
    }
    const all = await Promise.all(Array.from({ length: 50 }, async () => cache.getOrLoad('k', load)))
    expect(calls).toBe(1)
    expect(new Set(all).size).toBe(1)
    expect(disk.told.gets).toBe(1)
    expect(cache.stats()).toMatchObject({ loads: 1, misses: 50, hits: 0 })
    expect(await cache.getOrLoad('k', load)).toEqual({ made: 1 })
    expect(cache.stats()).toMatchObject({ loads: 1, hits: 1 })
  })

  test('an invalidation parts nobody from the load of another tag', async () => {
    const { cache } = three()
    const { promise, resolve } = Promise.withResolvers<string>()
    const first = cache.getOrLoad('k', () => promise, { tags: ['a'] })
    await vi.waitFor(() => expect(cache.stats().loads).toBe(1))
    await cache.invalidateTag('b')
    await cache.delete('other')
    const second = cache.getOrLoad('k', () => 'loaded again', { tags: ['a'] })
    await cache.invalidateTag('a')
    const third = cache.getOrLoad('k', () => 'after its own tag', { tags: ['a'] })
    resolve('loaded')
    expect(await Promise.all([first, second, third])).toEqual(['loaded', 'loaded', 'after its own tag'])
    expect(await cache.get('k')).toBe('after its own tag')
  })

  test('a source that fails fails all who wait, and the next one asks again', async () => {
    const { cache } = three()
    let calls = 0
    const load = async () => {
      calls += 1
      if (calls === 1) throw new Error('no source')
      return calls
    }
    const all = await Promise.allSettled([cache.getOrLoad('k', load), cache.getOrLoad('k', load)])
    expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await cache.getOrLoad('k', load)).toBe(2)
  })
})

describe('an invalidation', () => {
  test('takes what carries the tag from all tiers, and nothing else', async () => {
    const { cache } = three()
    await cache.set('k1', 1, { tags: ['conversation a'] })
    await cache.set('k2', 2, { tags: ['conversation b'] })
    await cache.invalidateTag('conversation a')
    for (const level of ['memory', 'redis', 'disk']) {
      expect(await cache.get('k1', { level })).toBeUndefined()
      expect(await cache.get('k2', { level })).toBe(2)
    }
    await cache.delete('k2')
    expect(await cache.get('k2')).toBeUndefined()
  })

  test('holds against a value that was being loaded: who asked has it, the cache has not', async () => {
    const { cache } = three()
    const { promise, resolve } = Promise.withResolvers<string>()
    const loading = cache.getOrLoad('k', () => promise, { tags: ['t'] })
    await vi.waitFor(() => expect(cache.stats().loads).toBe(1))
    await cache.invalidateTag('t')
    const later = cache.getOrLoad('k', () => 'new', { tags: ['t'] })
    resolve('old')
    expect(await loading).toBe('old')
    expect(await later).toBe('new')
    expect(await cache.get('k')).toBe('new')
  })

  test('a value set while another is loaded stays', async () => {
    const { cache } = three()
    const { promise, resolve } = Promise.withResolvers<string>()
    const loading = cache.getOrLoad('k', () => promise)
    await vi.waitFor(() => expect(cache.stats().loads).toBe(1))
    await cache.set('k', 'set')
    resolve('loaded')
    await loading
    expect(await cache.get('k')).toBe('set')
  })

  test('of everything holds until its own end, also when one that began before it ends before it', async () => {
    const { tier, kept } = slowTier('redis', { pauses: [1] })
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let clears = 0
    const clear = async (): Promise<void> => {
      const gate = gates[clears++]
      await kept.clear()
      await gate?.promise
    }
    const cache = tieredCache({ tiers: [{ ...tier, clear }] })
    const [one, two] = [cache.clear(), cache.clear()]
    await pause(1)
    gates[0]?.resolve()
    await one
    expect(await cache.getOrLoad('k', () => 'from before the second one ended')).toBeDefined()
    gates[1]?.resolve()
    await two
    expect(await cache.get('k')).toBeUndefined()
  })

  test('holds against a write that was called before it, and is not waited for', async () => {
    const { cache } = three()
    await Promise.all([cache.set('k', 'v', { tags: ['t'] }), cache.invalidateTag('t')])
    for (const level of ['memory', 'redis', 'disk']) expect(await cache.get('k', { level })).toBeUndefined()
  })

  test('holds against a write that another write of the key waits behind', async () => {
    const { tier, kept } = slowTier('disk')
    const gate = Promise.withResolvers<void>()
    const cache = tieredCache({ tiers: [{ ...tier, set: async (key, entry) => gate.promise.then(() => kept.set(key, entry)) }] })
    const writes = [cache.set('k', 'tagged', { tags: ['t'] }), cache.set('k', 'not tagged')]
    let isDone = false
    const invalidating = cache.invalidateTag('t').then(() => {
      isDone = true
    })
    await pause(5)
    expect(isDone).toBe(false)
    gate.resolve()
    await Promise.all([...writes, invalidating])
  })

  const pauses = fc.array(fc.array(fc.nat(6), { minLength: 1, maxLength: 5 }), { minLength: 2, maxLength: 2 })

  test('however operations overlap, the tiers do not contradict each other', async () => {
    const step = fc.record({ op: fc.constantFrom('set', 'get', 'invalidate', 'delete', 'load', 'evict'), turns: fc.nat(4) })
    await fc.assert(
      fc.asyncProperty(pauses, fc.array(step, { maxLength: 12 }), async (slow, steps) => {
        const { cache, memory, redis } = three({}, slow)
        const running: Promise<unknown>[] = []
        for (const [i, { op, turns }] of steps.entries()) {
          if (op === 'set') running.push(cache.set('k', i, { tags: ['t'] }))
          if (op === 'get') running.push(cache.get('k'))
          if (op === 'load') running.push(cache.getOrLoad('k', () => i, { tags: ['t'] }))
          if (op === 'invalidate') running.push(cache.invalidateTag('t'))
          if (op === 'delete') running.push(cache.delete('k'))
          if (op === 'evict') running.push(memory.clear(), redis.kept.clear())
          await pause(turns)
        }
        await Promise.all(running)
        // One may lack what another has.
        const found = await Promise.all(['memory', 'redis', 'disk'].map(async (level) => cache.get('k', { level })))
        expect(new Set(found.filter((value) => value !== undefined)).size).toBeLessThanOrEqual(1)
      }),
      { numRuns: 1_000 },
    )
  })

  test('however they overlap, what was stored before an invalidation is not there after it', async () => {
    await fc.assert(
      fc.asyncProperty(pauses, fc.array(fc.nat(12), { maxLength: 4 }), fc.nat(8), fc.nat(2), async (slow, reads, turns, gone) => {
        const { cache, memory, redis } = three({}, slow)
        const setting = cache.set('k', 'old', { tags: ['t'] })
        if (gone > 0) {
          await setting
          await memory.clear()
          if (gone > 1) await redis.kept.clear()
        }
        const later = async <T>(wait: number, work: () => Promise<T>) => pause(wait).then(work)
        await Promise.all([
          setting,
          ...reads.map(async (wait) => later(wait, async () => cache.get('k'))),
          later(turns, async () => cache.invalidateTag('t')),
        ])
        for (const level of ['memory', 'redis', 'disk']) expect(await cache.get('k', { level })).toBeUndefined()
      }),
      { numRuns: 1_000 },
    )
  })
})

test('however a read overlaps with a write, it copies no old value over the new one', async () => {
  const pauses = fc.array(fc.array(fc.nat(6), { minLength: 1, maxLength: 5 }), { minLength: 2, maxLength: 2 })
  await fc.assert(
    fc.asyncProperty(pauses, fc.nat(6), fc.nat(8), async (slow, evictAfter, readAfter) => {
      const { cache, memory, redis } = three({}, slow)
      const evict = async () => Promise.all([memory.clear(), redis.kept.clear()])
      await cache.set('k', 'old')
      await evict()
      await Promise.all([cache.set('k', 'new'), pause(evictAfter).then(evict), pause(readAfter).then(async () => cache.get('k'))])
      expect(await cache.get('k', { level: 'memory' })).not.toBe('old')
      expect(await cache.get('k', { level: 'redis' })).not.toBe('old')
      expect(await cache.get('k')).toBe('new')
    }),
    { numRuns: 2_000 },
  )
})

test('however a read ends beside the end of a write, it copies no old value over the new one', async () => {
  // By microtasks: between two of them nothing but a microtask may come.
  const ticks = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await Promise.resolve()
  }
  const stale: unknown[] = []
  for (let readTicks = 0; readTicks < 60; readTicks++) {
    for (let lateTicks = 0; lateTicks < 7; lateTicks++) {
      const { tier, kept } = slowTier('low')
      const low: CacheTier = {
        ...tier,
        async get(key) {
          const entry = await kept.get(key)
          await ticks(readTicks)
          return entry
        },
        async set(key, entry) {
          await ticks(10)
          await kept.set(key, entry)
          await ticks(lateTicks)
        },
      }
      const memory = memoryTier()
      const cache = tieredCache({ tiers: [memory, low] })
      await cache.set('k', 'old')
      await memory.clear()
      await Promise.all([cache.get('k'), cache.set('k', 'new')])
      await pause(1)
      if ((await cache.get('k')) !== 'new') stale.push([readTicks, lateTicks])
    }
  }
  expect(stale).toEqual([])
})

test('a slow read copies no old value over one that was loaded meanwhile', async () => {
  const { tier, kept } = slowTier('low')
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let reads = 0
  const low: CacheTier = {
    ...tier,
    async get(key) {
      const gate = gates[reads++]
      const entry = await kept.get(key)
      await gate?.promise
      return entry
    },
  }
  const memory = memoryTier()
  const cache = tieredCache({ tiers: [memory, low] })
  const loading = cache.getOrLoad('k', () => 'loaded')
  await pause(1)
  await cache.set('k', 'set')
  await memory.clear()
  const reading = cache.get('k')
  await pause(1)
  gates[0]?.resolve()
  expect(await loading).toBe('loaded')
  gates[1]?.resolve()
  expect(await reading).toBe('set')
  for (const level of ['memory', 'low']) expect(await cache.get('k', { level })).toBe('loaded')
})

describe('a tier that fails', () => {
  test('is left out, and the caller hears nothing of it', async () => {
    const { cache, redis, warnings } = three()
    redis.told.problem = 'connection refused'
    await cache.set('k', 'v')
    expect(await cache.get('k')).toBe('v')
    await cache.invalidateTag('t')
    expect(await cache.getOrLoad('other', () => 'w')).toBe('w')
    expect(warnings).toMatchObject([{ code: 'tier_failed', details: { level: 'redis', problem: 'connection refused' } }])
    expect(cache.stats().tiers).toMatchObject({ redis: { failures: 1 }, disk: { writes: 2 } })
    expect(cache.stats().tiers['redis']?.skipped).toBeGreaterThan(0)
  })

  test('is asked again after a rest, and warned of again', async () => {
    const { cache, redis, clock, warnings } = three({ restMs: 1_000 })
    redis.told.problem = 'down'
    await cache.get('a')
    await cache.get('b')
    expect(redis.told.gets).toBe(1)
    clock.ms += 1_000
    await cache.get('c')
    expect(redis.told.gets).toBe(2)
    expect(warnings).toHaveLength(2)
    clock.ms += 1_000
    redis.told.problem = undefined
    await cache.get('d')
    await cache.get('e')
    expect(redis.told.gets).toBe(4)
  })

  test('that hangs counts as failed', async () => {
    const hanging = slowTier('redis', { timeoutMs: 20 })
    hanging.told.isHanging = true
    const warnings: CacheError[] = []
    const cache = tieredCache({
      tiers: [memoryTier(), hanging.tier],
      restMs: 600_000,
      onWarning: (warning) => void warnings.push(warning),
    })
    expect(await cache.getOrLoad('k', () => 'v')).toBe('v')
    expect(warnings).toMatchObject([{ details: { problem: 'no answer within 20 ms' } }])
  })

  describe('whose write is given up and still runs', () => {
    /** Its first write waits for `land`; until then the cache has given it up. */
    async function stalled() {
      const clock = { ms: 1_000_000 }
      const now = () => clock.ms
      const { tier, kept } = slowTier('disk', { timeoutMs: 20, now })
      const gate = Promise.withResolvers<void>()
      let isFirst = true
      const late: CacheTier = {
        ...tier,
        async set(key, entry) {
          if (isFirst) {
            isFirst = false
            await gate.promise
          }
          return kept.set(key, entry)
        },
      }
      const cache = tieredCache({ tiers: [late], now, onWarning: () => {} })
      await cache.set('k', 'old', { tags: ['t'] })
      clock.ms += 1_000
      const land = async () => {
        gate.resolve()
        await pause(3)
        expect(await kept.get('k')).toMatchObject({ text: '"old"' })
      }
      return { cache, kept, land }
    }

    test('gives out nothing of it after an invalidation, also when it ends after that', async () => {
      const { cache, kept, land } = await stalled()
      await cache.invalidateTag('t')
      expect(await cache.get('k')).toBeUndefined()
      expect(cache.stats().tiers['disk']?.owed).toBe(1)
      await land()
      expect(await cache.get('k')).toBeUndefined()
      expect(await kept.get('k')).toBeUndefined()
      expect(cache.stats().tiers['disk']?.owed).toBe(0)
    })

    test('gives out nothing of it after a later write of the key, which it has a miss for', async () => {
      const { cache, land } = await stalled()
      await cache.set('k', 'new')
      expect(await cache.get('k')).toBeUndefined()
      await land()
      expect(await cache.get('k')).toBeUndefined()
      await cache.set('k', 'newest')
      expect(await cache.get('k')).toBe('newest')
    })

    test('goes on with other keys meanwhile', async () => {
      const { cache, land } = await stalled()
      await cache.set('other', 'v')
      expect(await cache.get('other')).toBe('v')
      await cache.delete('other')
      await land()
    })
  })

  test('does not give out, when it is back, what was invalidated while it was away', async () => {
    const { cache, redis, clock } = three()
    await cache.set('k', 'v', { tags: ['t'] })
    redis.told.problem = 'down'
    await cache.invalidateTag('t')
    expect(cache.stats().tiers).toMatchObject({ redis: { owed: 1 } })
    redis.told.problem = undefined
    clock.ms += 1_000
    expect(await redis.kept.get('k')).toBeDefined()
    expect(await cache.get('k')).toBeUndefined()
    expect(await redis.kept.get('k')).toBeUndefined()
    expect(cache.stats().tiers).toMatchObject({ redis: { owed: 0 } })
  })

  test('does not give out, when it is back, the old value of what was set meanwhile', async () => {
    const { cache, memory, redis, clock } = three()
    await cache.set('k', 'old')
    redis.told.problem = 'down'
    await cache.set('k', 'new')
    redis.told.problem = undefined
    clock.ms += 1_000
    await memory.clear()
    expect(await cache.get('k')).toBe('new')
  })

  test('owes at most everything', async () => {
    const { cache, redis, clock } = three()
    await cache.set('k', 'v')
    redis.told.problem = 'down'
    for (let i = 0; i < 10_001; i++) await cache.delete(`gone ${i}`)
    expect(cache.stats().tiers['redis']?.owed).toBe(1)
    redis.told.problem = undefined
    clock.ms += 1_000
    await cache.get('x')
    expect(await redis.kept.get('k')).toBeUndefined()
    expect(await cache.get('k')).toBe('v')
  })

  test('a warning that nobody can take fails nobody', async () => {
    const { cache, redis } = three({
      onWarning: () => {
        throw new Error('no')
      },
    })
    redis.told.problem = 'down'
    expect(await cache.get('k')).toBeUndefined()
  })
})

describe('memory', () => {
  test('keeps the 1,000 that were used last', async () => {
    const cache = tieredCache()
    for (let i = 0; i < 1_000; i++) await cache.set(`k${i}`, i)
    await cache.get('k0')
    await cache.set('one more', 1)
    expect(await cache.get('k0')).toBe(0)
    expect(await cache.get('k1')).toBeUndefined()
    expect(cache.stats()).toMatchObject({ tiers: { memory: { entries: { total: 1_000, expired: 0, capacity: 1_000 } } } })
  })

  test('keeps nothing longer than it was told to, although other tiers do', async () => {
    const clock = { ms: 0 }
    const now = () => clock.ms
    const { tier } = slowTier('redis', { now })
    const cache = tieredCache({ tiers: [memoryTier({ maxAgeMs: 100, now }), tier], now })
    await cache.set('k', 'v', { ttlMs: 10_000 })
    clock.ms = 100
    expect(await cache.get('k', { level: 'memory' })).toBeUndefined()
    expect(await cache.get('k')).toBe('v')
  })

  test('does not keep what is larger than all it may hold', async () => {
    const cache = tieredCache({ tiers: [memoryTier({ maxBytes: 1_000 })] })
    await cache.set('k', 'x'.repeat(1_000), { tags: ['t'] })
    expect(await cache.get('k')).toBeUndefined()
    await cache.invalidateTag('t')
  })
})

test('statistics are there for each tier, and for all', async () => {
  const { cache, memory } = three()
  await cache.set('k', 1)
  await cache.get('k')
  await memory.clear()
  await cache.get('k')
  await cache.get('nothing')
  expect(cache.stats()).toMatchObject({
    hits: 2,
    misses: 1,
    hitRate: 2 / 3,
    tiers: {
      memory: { hits: 1, misses: 2, writes: 2 },
      redis: { hits: 1, misses: 1, writes: 1 },
      disk: { hits: 0, misses: 1, writes: 1 },
    },
  })
})

test('tiers need names of their own', () => {
  expect(() => tieredCache({ tiers: [memoryTier(), memoryTier()] })).toThrow(expect.objectContaining({ code: 'option_invalid' }))
  expect(() => tieredCache({ tiers: [] })).toThrow(expect.objectContaining({ code: 'option_invalid' }))
})

test('closing waits for removals that are under way', async () => {
  const { tier, kept } = slowTier('redis', { pauses: [4] })
  let isClosed = false
  const closing: CacheTier = {
    ...tier,
    deleteTag: async (tag) => {
      await pause(4)
      if (isClosed) throw new Error('closed')
      await kept.deleteTag(tag)
    },
    close: async () => {
      isClosed = true
    },
  }
  const cache = tieredCache({ tiers: [closing], onWarning: () => {} })
  await cache.set('k', 'v', { tags: ['t'] })
  await Promise.all([cache.invalidateTag('t'), cache.close()])
  expect(await kept.get('k')).toBeUndefined()
})

test('a cache that was closed says so', async () => {
  const { cache } = three()
  await cache.close()
  await expect(cache.get('k')).rejects.toMatchObject({ code: 'cache_closed' })
  await expect(cache.set('k', 1)).rejects.toMatchObject({ code: 'cache_closed' })
  await expect(cache.invalidateTag('t')).rejects.toMatchObject({ code: 'cache_closed' })
})

describe('without a listener', () => {
  afterEach(() => void vi.restoreAllMocks())

  test('a failing tier is a warning of the process', async () => {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { tier, told } = slowTier('redis')
    told.problem = 'down'
    await tieredCache({ tiers: [memoryTier(), tier] }).get('k')
    expect(emit.mock.calls).toEqual([[expect.stringContaining('The tier redis failed: down.'), { code: 'COLLOQUY_CACHE' }]])
  })
})
