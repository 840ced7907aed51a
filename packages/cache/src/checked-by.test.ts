/** Caches of several processes, with memories and directories of their own, over one Redis. */
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { startRedis } from '../../../test/support/redis-server.ts'
import { diskTier } from './disk-tier.ts'
import { memoryTier } from './memory-tier.ts'
import { promptCache } from './prompt-cache.ts'
import { redisTier } from './redis-tier.ts'
import { tieredCache } from './tiered-cache.ts'

const redis = await startRedis()
const directory = mkdtempSync(join(tmpdir(), 'colloquy-checked-'))
let processes = 0

afterAll(async () => {
  await redis?.kill()
  await rm(directory, { recursive: true })
})

/** However slow the machine is, Redis is not away. */
const shared = (prefix: string) => redisTier({ url: redis?.url ?? '', prefix, timeoutMs: 60_000 })

/** Of a process on a machine of its own. */
function open(prefix: string) {
  return tieredCache({
    tiers: [memoryTier(), shared(prefix), diskTier({ directory: join(directory, String(++processes)) })],
    checkedBy: 'redis',
    restMs: 0,
    onWarning: () => {},
  })
}

describe.skipIf(!redis)(`a cache that asks Redis${redis ? '' : ' (skipped: there is no redis-server)'}`, () => {
  test.each([
    ['invalidates its tag', (cache: ReturnType<typeof open>) => cache.invalidateTag('t')],
    ['clears the cache', (cache: ReturnType<typeof open>) => cache.clear()],
    ['deletes it', (cache: ReturnType<typeof open>) => cache.delete('k')],
    ['sets it anew', (cache: ReturnType<typeof open>) => cache.set('k', 'new', { tags: ['t'] })],
  ])('gives nothing out of memory or disk when another process %s', async (what, change) => {
    const prefix = `checked-${what.replaceAll(' ', '-')}`
    await using one = open(prefix)
    await using other = open(prefix)
    for (const options of [{ tags: ['t'] }, {}]) {
      await one.set('k', 'old', options)
      for (const level of ['memory', 'redis', 'disk']) expect(await one.get('k', { level })).toBe('old')
      expect(await other.get('k')).toBe('old')
      if (what.includes('tag') && options.tags === undefined) continue
      await change(other)
      const left = what === 'sets it anew' ? 'new' : undefined
      for (const level of ['memory', 'disk']) expect(await one.get('k', { level }), level).toBeUndefined()
      expect(await one.get('k')).toBe(left)
      expect(await other.get('k')).toBe(left)
    }
  })

  test('goes on giving out of memory what nobody invalidated', async () => {
    await using one = open('kept')
    await using other = open('kept')
    await one.set('k', 'v', { tags: ['t', 'u'] })
    await other.set('l', 'w', { tags: ['t'] })
    await other.invalidateTag('another')
    expect(await one.get('k', { level: 'memory' })).toBe('v')
    // What is found below is copied upwards, and is as good there.
    expect(await one.get('l')).toBe('w')
    expect(await one.get('l', { level: 'memory' })).toBe('w')
    await other.invalidateTag('t')
    expect(await one.get('k')).toBeUndefined()
    expect(await one.get('l')).toBeUndefined()
  })

  test('does not keep what was loaded while another process invalidated it', async () => {
    await using one = open('loading')
    await using other = open('loading')
    const load = async (): Promise<string> => {
      await other.invalidateTag('t')
      return 'from before'
    }
    expect(await one.getOrLoad('k', load, { tags: ['t'] })).toBe('from before')
    expect(await one.get('k')).toBeUndefined()
    expect(await one.getOrLoad('k', () => 'from after', { tags: ['t'] })).toBe('from after')
    expect(await other.get('k')).toBe('from after')
  })

  test('forgets the answers of a conversation that another process has cleared', async () => {
    const prompts = () => promptCache({ tiers: [shared('prompts')], checkedBy: 'redis' })
    await using one = prompts()
    await using other = prompts()
    const question = { tenant: 'acme', conversation: 'c', prompt: 'Why?', config: { model: 'm' } }
    await one.set(question, 'because')
    expect(await one.get(question)).toBe('because')
    await other.invalidateConversation('acme', 'c')
    expect(await one.get(question)).toBeUndefined()
  })

  test('knows nothing while Redis is away, and fails nobody', async () => {
    const server = await startRedis()
    if (server === undefined) throw new Error('there was one before')
    const tiers = () => [memoryTier(), redisTier({ url: server.url, prefix: 'away', timeoutMs: 60_000 })]
    await using one = tieredCache({ tiers: tiers(), checkedBy: 'redis', restMs: 0, onWarning: () => {} })
    await one.set('k', 'v', { tags: ['t'] })
    await server.kill()
    expect(await one.get('k')).toBeUndefined()
    const loads = await Promise.all(Array.from({ length: 10 }, () => one.getOrLoad('k', () => 'asked', { tags: ['t'] })))
    expect(loads).toEqual(Array.from({ length: 10 }, () => 'asked'))
    expect(one.stats().loads).toBe(1)
    await one.set('k', 'w')
    expect(await one.get('k')).toBeUndefined()
  })
})

test('only a tier that processes share can be asked', () => {
  for (const checkedBy of ['memory', 'nobody']) {
    expect(() => tieredCache({ checkedBy })).toThrow(expect.objectContaining({ code: 'option_invalid' }))
  }
})
