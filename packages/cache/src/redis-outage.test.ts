/** The three tiers as they are in production, under load, while Redis is killed and started again. */
import { existsSync, mkdtempSync, readdirSync } from 'node:fs'
import { rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startCuttingProxy } from '../../../test/support/cutting-proxy.ts'
import { startRedis } from '../../../test/support/redis-server.ts'
import type { CacheError } from './cache-error.ts'
import { diskTier } from './disk-tier.ts'
import type { TierStats } from './guarded-tier.ts'
import { memoryTier } from './memory-tier.ts'
import { conversationTag, promptCache } from './prompt-cache.ts'
import { redisTier } from './redis-tier.ts'
import { tieredCache } from './tiered-cache.ts'

const redis = await startRedis()
const url = redis?.url ?? ''
let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'colloquy-outage-'))
})
afterEach(async () => rm(directory, { recursive: true, force: true }))
afterAll(async () => redis?.kill())

/** However slow the machine is, a tier that is there is not away. */
const patientMs = 60_000

/** A cache of a process of its own. */
function open({ prefix = 'outage', maxEntries = 50, server = url, timeoutMs = patientMs } = {}) {
  const warnings: CacheError[] = []
  const memory = memoryTier({ maxEntries })
  const cache = tieredCache({
    tiers: [memory, redisTier({ url: server, prefix, timeoutMs }), diskTier({ directory, timeoutMs: patientMs })],
    restMs: 100,
    onWarning: (warning) => void warnings.push(warning),
  })
  return { cache, memory, warnings }
}

const files = (): string[] =>
  existsSync(join(directory, 'entries'))
    ? readdirSync(join(directory, 'entries'), { recursive: true, withFileTypes: true })
        .filter((found) => found.isFile())
        .map((found) => join(found.parentPath, found.name))
    : []

describe.skipIf(!redis)(`memory, Redis and disk${redis ? '' : ' (skipped: there is no redis-server)'}`, () => {
  test('Redis is killed and started again in a load: no caller hears of it, and no value is wrong', async () => {
    const { cache, warnings } = open({ timeoutMs: 200 })
    const versions = new Map<string, number>()
    const wrong: unknown[] = []
    const errors: unknown[] = []
    let operations = 0
    let isOver = false
    // Each worker has keys of its own, so that it knows what it last wrote. 400 keys, 50 fit into memory: most reads go below.
    const work = async (worker: number): Promise<void> => {
      for (let i = 0; !isOver; i++) {
        const key = `w${worker} k${(i * 7) % 25}`
        const tags = [`worker ${worker}`]
        try {
          if (i % 50 === 49) {
            await cache.invalidateTag(`worker ${worker}`)
            for (let k = 0; k < 25; k++) versions.delete(`w${worker} k${k}`)
          } else if (i % 5 === 0) {
            versions.set(key, i)
            await cache.set(key, i, { tags })
          } else {
            const found = i % 5 === 1 ? await cache.getOrLoad(key, () => versions.get(key) ?? -i, { tags }) : await cache.get(key)
            const last = versions.get(key)
            // A miss is allowed; another value than the last one written is not.
            if (found !== undefined && found !== last && (last !== undefined || (found as number) > 0))
              wrong.push({ key, found, last })
          }
        } catch (error) {
          errors.push(error)
        }
        operations += 1
      }
    }
    const workers = Array.from({ length: 16 }, async (_, worker) => work(worker))
    const phases: Record<string, number> = {}
    const told = (): TierStats => cache.stats().tiers['redis'] as TierStats
    /** Until much was asked, and Redis was used, or could not be. */
    const phase = async (name: string, isSeen: (now: TierStats, before: TierStats) => boolean): Promise<void> => {
      const [before, from] = [told(), operations]
      while (operations - from <= 50 || !isSeen(told(), before)) await new Promise((resolve) => setTimeout(resolve, 10))
      phases[name] = operations - from
    }
    const isUsed = (now: TierStats, before: TierStats): boolean => now.writes > before.writes && now.hits > before.hits
    const isMissed = (now: TierStats, before: TierStats): boolean =>
      now.failures > before.failures && now.skipped > before.skipped
    await phase('up', isUsed)
    await redis?.kill()
    await phase('down', isMissed)
    await redis?.start()
    await phase('up again', isUsed)
    await redis?.kill()
    await phase('down again', isMissed)
    await redis?.start()
    await phase('up at the end', isUsed)
    isOver = true
    await Promise.all(workers)
    const { redis: stats } = cache.stats().tiers
    console.log('operations:', phases, 'Redis:', stats, 'warnings:', warnings.length)

    expect(errors).toEqual([])
    expect(wrong).toEqual([])
    expect(new Set(warnings.map(({ code }) => code))).toEqual(new Set(['tier_failed']))
    // It was used again after it came back.
    const isWell = async (): Promise<boolean> => {
      await cache.set('after', 1)
      return (await cache.get('after', { level: 'redis' })) === 1 && told().owed === 0
    }
    await expect.poll(isWell).toBe(true)
    await cache.close()
  })

  test('what was invalidated while Redis was away does not come back with it', async () => {
    // The line is cut, and the server keeps what it has.
    const line = await startCuttingProxy(url)
    const { cache, memory } = open({ prefix: 'away', server: line.url })
    const admin = await createClient({ url }).connect()
    const tag = conversationTag('acme', 'c1')
    await cache.set('k', 'old', { tags: [tag] })
    line.cutAll(true)
    await cache.invalidateTag(tag)
    await memory.clear()
    expect(cache.stats().tiers['redis']).toMatchObject({ failures: 1, owed: 1 })
    expect(await admin.exists('away:entry:k')).toBe(1)
    line.cutAll(false)
    const found: unknown[] = []
    const owed = async (): Promise<number | undefined> => {
      found.push(await cache.get('k'))
      return cache.stats().tiers['redis']?.owed
    }
    await expect.poll(owed).toBe(0)
    expect(new Set(found)).toEqual(new Set([undefined]))
    expect(await admin.exists('away:entry:k')).toBe(0)
    await cache.close()
    await admin.close()
    await line.close()
  })

  test('a process that starts without Redis works, and finds it when it is there', async () => {
    await redis?.kill()
    const { cache, warnings } = open({ prefix: 'start' })
    await cache.set('k', 'v')
    expect(await cache.get('k')).toBe('v')
    expect(warnings).toMatchObject([{ code: 'tier_failed', details: { level: 'redis' } }])
    await redis?.start()
    await expect
      .poll(
        async () => {
          await cache.set('k', 'v')
          return cache.get('k', { level: 'redis' })
        },
        { timeout: patientMs },
      )
      .toBe('v')
    await cache.close()
  })

  test('a hit on disk is in memory next, and in Redis', async () => {
    const one = open({ prefix: 'hit' })
    await one.cache.set('k', { answer: 42 })
    await one.cache.close()
    await redis?.kill()
    await redis?.start()
    const { cache } = open({ prefix: 'hit' })
    expect(await cache.get('k', { level: 'memory' })).toBeUndefined()
    expect(await cache.get('k')).toEqual({ answer: 42 })
    expect(await cache.get('k', { level: 'memory' })).toEqual({ answer: 42 })
    expect(await cache.get('k', { level: 'redis' })).toEqual({ answer: 42 })
    expect(cache.stats().tiers).toMatchObject({ disk: { hits: 1 } })
    await cache.close()
  })

  test('a damaged file on disk is a miss, and removed', async () => {
    const { cache, memory } = open({ prefix: 'damaged' })
    await cache.set('k', 'v'.repeat(500))
    await truncate(files()[0] as string, 300)
    await memory.clear()
    await redis?.kill()
    await redis?.start()
    expect(await cache.get('k', { level: 'disk' })).toBeUndefined()
    expect(files()).toEqual([])
    await cache.close()
  })

  test('what one process invalidates, another finds in no tier that they share', async () => {
    const [one, other] = [open({ prefix: 'shared' }), open({ prefix: 'shared' })]
    const tag = conversationTag('acme', 'c1')
    await one.cache.set('k', 'v', { tags: [tag] })
    expect(await other.cache.get('k', { level: 'redis' })).toBe('v')
    await other.cache.invalidateTag(tag)
    expect(await one.cache.get('k', { level: 'redis' })).toBeUndefined()
    expect(await one.cache.get('k', { level: 'disk' })).toBeUndefined()
    await one.cache.close()
    await other.cache.close()
  })

  test('a tag that Redis evicts costs a miss, and hides no invalidation', async () => {
    const { cache } = open({ prefix: 'evicted' })
    const admin = await createClient({ url }).connect()
    await cache.set('k', 'v', { tags: ['t'] })
    expect(await cache.get('k', { level: 'redis' })).toBe('v')
    await admin.del(['evicted:tag:t', 'evicted:keys:t'])
    expect(await cache.get('k', { level: 'redis' })).toBeUndefined()
    await cache.invalidateTag('t')
    await cache.set('other', 'w', { tags: ['t'] })
    expect(await cache.get('k', { level: 'redis' })).toBeUndefined()
    await cache.close()
    await admin.close()
  })

  test('a tag lives as long as the last of its entries', async () => {
    const { cache } = open({ prefix: 'longest' })
    const admin = await createClient({ url }).connect()
    for (const ttlMs of [1_000, 60_000, 2_000]) await cache.set(`k ${ttlMs}`, 'v', { tags: ['t'], ttlMs })
    for (const key of ['longest:tag:t', 'longest:keys:t']) expect(await admin.pTTL(key)).toBeGreaterThan(50_000)
    await cache.close()
    await admin.close()
  })

  test('an invalidation takes the bytes out of Redis too, and nothing stays without a TTL', async () => {
    const { cache } = open({ prefix: 'bytes' })
    const admin = await createClient({ url }).connect()
    for (let i = 0; i < 20; i++) await cache.set(`k${i}`, 'v', { tags: ['t'], ttlMs: 1_000 * (i + 1) })
    for (const key of await admin.keys('bytes:*')) expect(await admin.pTTL(key)).toBeGreaterThan(0)
    await cache.invalidateTag('t')
    expect(await admin.keys('bytes:*')).toEqual([])
    await cache.set('k', 'v', { tags: ['t'] })
    await cache.clear()
    expect(await admin.keys('bytes:*')).toEqual([])
    await cache.close()
    await admin.close()
  })

  test('50 parallel misses of a prompt ask the model once, and a conversation is forgotten in all tiers', async () => {
    const prompts = promptCache({ tiers: [redisTier({ url, prefix: 'prompts', timeoutMs: patientMs }), diskTier({ directory })] })
    const request = { tenant: 'acme', conversation: 'c1', prompt: 'why?', config: { model: 'm' } }
    let asked = 0
    const ask = async () => {
      asked += 1
      return 'because'
    }
    const answers = await Promise.all(Array.from({ length: 50 }, async () => prompts.getOrAsk(request, ask)))
    expect([asked, new Set(answers)]).toEqual([1, new Set(['because'])])
    expect(await prompts.get({ ...request, tenant: 'umbrella' })).toBeUndefined()
    await prompts.invalidateConversation('acme', 'c1')
    expect(files()).toEqual([])
    await prompts.getOrAsk(request, ask)
    expect(asked).toBe(2)
    await prompts.close()
  })
})
