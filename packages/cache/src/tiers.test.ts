/** What every tier promises, over memory, a real Redis and a directory. */
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { startRedis } from '../../../test/support/redis-server.ts'
import { diskTier } from './disk-tier.ts'
import { memoryTier } from './memory-tier.ts'
import { redisTier } from './redis-tier.ts'
import type { CacheEntry } from './tier.ts'

const redis = await startRedis()
const directory = mkdtempSync(join(tmpdir(), 'colloquy-cache-'))
let time = Date.now()
const now = () => time

const tiers = {
  memory: memoryTier({ now }),
  redis: redis && redisTier({ url: redis.url, prefix: 'tiers', now }),
  disk: diskTier({ directory, now }),
}

afterAll(async () => {
  for (const tier of Object.values(tiers)) await tier?.close()
  await redis?.kill()
  await rm(directory, { recursive: true })
})

describe.each(Object.entries(tiers))('the tier %s', (level, made) => {
  const title = made ? '' : ' (skipped: there is no redis-server)'
  describe.skipIf(!made)(`keeps entries${title}`, () => {
    const tier = made as NonNullable<typeof made>
    const entry = (text: string, tags: readonly string[] = [], ttlMs = 60_000): CacheEntry => ({
      text: JSON.stringify(text),
      tags,
      expiresAt: now() + ttlMs,
    })

    beforeEach(async () => {
      time = Date.now()
      await tier.clear()
    })

    test('under its own name', () => expect(tier.level).toBe(level))

    test('and gives them out as they were', async () => {
      const kept = entry('snow', ['a', 'b'])
      await tier.set('k', kept)
      expect(await tier.get('k')).toEqual(kept)
      expect(await tier.get('other')).toBeUndefined()
    })

    test('the last one that was set', async () => {
      await tier.set('k', entry('1'))
      await tier.set('k', entry('2'))
      expect(await tier.get('k')).toMatchObject({ text: '"2"' })
    })

    test('until they are deleted', async () => {
      await tier.set('k', entry('1'))
      await tier.delete('k')
      await tier.delete('k')
      expect(await tier.get('k')).toBeUndefined()
    })

    test('until they expire', async () => {
      await tier.set('k', entry('1', ['a'], 5_000))
      time += 4_999
      expect(await tier.get('k')).toBeDefined()
      time += 1
      expect(await tier.get('k')).toBeUndefined()
    })

    test('until their tag is deleted, and no others', async () => {
      await tier.set('k1', entry('1', ['a', 'b']))
      await tier.set('k2', entry('2', ['b']))
      await tier.set('k3', entry('3'))
      await tier.deleteTag('a')
      await tier.deleteTag('never seen')
      expect(await tier.get('k1')).toBeUndefined()
      expect(await tier.get('k2')).toBeDefined()
      await tier.deleteTag('b')
      expect(await tier.get('k2')).toBeUndefined()
      expect(await tier.get('k3')).toBeDefined()
    })

    test('also when they are set again after their tag was deleted', async () => {
      await tier.set('k', entry('1', ['a']))
      await tier.deleteTag('a')
      await tier.set('k', entry('2', ['a']))
      expect(await tier.get('k')).toMatchObject({ text: '"2"' })
      await tier.deleteTag('a')
      expect(await tier.get('k')).toBeUndefined()
    })

    test('by the tags of the last time they were set', async () => {
      await tier.set('k', entry('1', ['a']))
      await tier.set('k', entry('2', ['b']))
      await tier.deleteTag('a')
      expect(await tier.get('k')).toMatchObject({ text: '"2"' })
      await tier.deleteTag('b')
      expect(await tier.get('k')).toBeUndefined()
    })

    test('whatever is in keys, tags and values', async () => {
      const text = fc.string({ unit: 'binary', minLength: 1 })
      await fc.assert(
        fc.asyncProperty(text, text, fc.jsonValue(), async (key, tag, value) => {
          const kept = { text: JSON.stringify(value), tags: [tag], expiresAt: now() + 60_000 }
          await tier.set(key, kept)
          expect(await tier.get(key)).toEqual(kept)
          await tier.deleteTag(tag)
          expect(await tier.get(key)).toBeUndefined()
        }),
        {
          numRuns: 40,
          examples: [
            ['\ud800', '\ud800', '\ud800'],
            ['../../etc/passwd', '*', 'a\nb'],
            ['__proto__', 'constructor', null],
          ],
        },
      )
    })

    test('and does not take two keys for one that only some encodings tell apart', async () => {
      await tier.set('\ud800', entry('1'))
      expect(await tier.get('\ud801')).toBeUndefined()
    })

    test('many at a time', async () => {
      const keys = Array.from({ length: 200 }, (_, i) => `k${i}`)
      await Promise.all(keys.map(async (key) => tier.set(key, entry(key, ['all']))))
      const found = await Promise.all(keys.map(async (key) => tier.get(key)))
      expect(found.map((one) => one?.text)).toEqual(keys.map((key) => JSON.stringify(key)))
      await tier.deleteTag('all')
      expect(await Promise.all(keys.map(async (key) => tier.get(key)))).toEqual(keys.map(() => undefined))
    })
  })
})
