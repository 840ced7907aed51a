/** The entry point `@colloquy/cache/redis`: apart, since `redis` is an optional peer. */
import { randomUUID } from 'node:crypto'
import { createClient } from 'redis'
import { CacheError } from './cache-error.ts'
import { readEntry, writeEntry } from './entry-text.ts'
import type { CacheTier } from './tier.ts'

export interface RedisTierOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string
  /** Of every key; letters, digits and `:._-`. One for each cache that shares a server. Default `colloquy-cache`. */
  readonly prefix?: string
  /** Default 500 ms: past that the next tier is faster. */
  readonly timeoutMs?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** Generations last so much longer than the entry: they are begun before its source is called. */
const longestLoadMs = 600_000

/**
 * Entries under `<prefix>:entry:<key>`, with their TTL. A tag has a generation, `<prefix>:tag:<tag>`, and an entry names those it was written
 * under: deleting a tag takes its generation away, and what names another one is a miss. So a tag that the server evicts costs misses,
 * never a stale hit, and a writer that is overtaken by a deletion writes what nobody reads. `<prefix>:keys:<tag>` lists the entries of a
 * tag, only so that their bytes go at once too. A cache that is `checkedBy` this tier has a generation of each key as well,
 * `<prefix>:key:<key>`.
 *
 * The connection is made again when it breaks, and meanwhile every call fails at once.
 */
export function redisTier(options: RedisTierOptions): CacheTier {
  const { url, prefix = 'colloquy-cache', timeoutMs = 500, now = Date.now } = options
  if (!/^[\w:.-]+$/.test(prefix)) {
    throw new CacheError('option_invalid', {
      option: 'prefix',
      problem: `"${prefix}" has other characters than letters, digits and :._-`,
    })
  }
  const client = createClient({
    url,
    // What waits for a server that is away is of no use when it is back.
    disableOfflineQueue: true,
    socket: { connectTimeout: 5_000, reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, 2_000) },
  })
  let problem = 'it is not connected yet'
  client.on('error', (error: Error) => {
    problem = error.message
  })
  // The first calls wait for the connection; later ones find it as it is.
  const began = Promise.race([client.connect().catch(() => {}), new Promise((resolve) => client.once('error', resolve))])

  async function connected(): Promise<typeof client> {
    await began
    if (!client.isReady) throw new CacheError('tier_failed', { level: 'redis', problem })
    return client
  }

  const entryKey = (key: string): string => `${prefix}:entry:${key}`
  const tagKey = (tag: string): string => `${prefix}:tag:${tag}`
  const keyKey = (key: string): string => `${prefix}:key:${key}`
  const listKey = (tag: string): string => `${prefix}:keys:${tag}`

  /** Those that are there, and new ones for the other tags; they last as long as the entry. */
  async function generationsOf(redis: typeof client, tags: readonly string[], ttlMs: number): Promise<readonly string[]> {
    return Promise.all(
      tags.map(async (tag) => {
        const set = redis.set(tagKey(tag), randomUUID(), { condition: 'NX', expiration: { type: 'PX', value: ttlMs } })
        const [, , generation] = await Promise.all([set, redis.pExpire(tagKey(tag), ttlMs, 'GT'), redis.get(tagKey(tag))])
        return generation ?? ''
      }),
    )
  }

  async function areCurrent(redis: typeof client, names: readonly string[], generations: readonly string[]): Promise<boolean> {
    if (names.length === 0) return true
    const present = await redis.mGet([...names])
    return present.every((generation, i) => generation !== null && generation === generations[i])
  }

  return {
    level: 'redis',
    timeoutMs,
    generations: {
      async begin(key, { tags, expiresAt }) {
        const redis = await connected()
        const ttlMs = Math.ceil(expiresAt - now()) + longestLoadMs
        const generation = randomUUID()
        const set = redis.set(keyKey(key), generation, { expiration: { type: 'PX', value: ttlMs } })
        const [ofTags] = await Promise.all([generationsOf(redis, tags, ttlMs), set])
        return [generation, ...ofTags]
      },
      async areCurrent(key, { tags, generations = [] }) {
        // An entry that was written without them may be anything.
        if (generations.length !== tags.length + 1) return false
        return areCurrent(await connected(), [keyKey(key), ...tags.map(tagKey)], generations)
      },
    },
    async get(key) {
      const redis = await connected()
      const written = await redis.get(entryKey(key))
      const entry = written === null ? undefined : readEntry(key, written)
      if (entry === undefined || entry.expiresAt <= now()) return undefined
      const { generations = [], ...rest } = entry
      const ofTags = rest.tags.map(tagKey)
      const isChecked = generations.length > ofTags.length
      if (!(await areCurrent(redis, isChecked ? [keyKey(key), ...ofTags] : ofTags, generations))) return undefined
      return isChecked ? entry : rest
    },
    async set(key, entry) {
      const redis = await connected()
      const ttlMs = Math.ceil(entry.expiresAt - now())
      if (ttlMs <= 0) {
        await redis.unlink(entryKey(key))
        return
      }
      const generations = entry.generations ?? (await generationsOf(redis, entry.tags, ttlMs))
      const written = writeEntry(key, { ...entry, generations })
      await Promise.all([
        redis.set(entryKey(key), written, { expiration: { type: 'PX', value: ttlMs } }),
        ...entry.tags.flatMap((tag) => [
          redis.zAdd(listKey(tag), { score: entry.expiresAt, value: key }),
          redis.zRemRangeByScore(listKey(tag), 0, now()),
          redis.pExpire(listKey(tag), ttlMs, 'NX'),
          redis.pExpire(listKey(tag), ttlMs, 'GT'),
        ]),
      ])
    },
    async delete(key) {
      const redis = await connected()
      await redis.unlink([entryKey(key), keyKey(key)])
    },
    async deleteTag(tag) {
      const redis = await connected()
      await redis.unlink(tagKey(tag))
      const keys = await redis.zRange(listKey(tag), 0, -1)
      if (keys.length === 0) return
      const written = await redis.mGet(keys.map(entryKey))
      // An entry that was written anew without the tag stays.
      const tagged = keys.filter((key, i) => readEntry(key, written[i] ?? '')?.tags.includes(tag))
      if (tagged.length > 0) await redis.unlink(tagged.map(entryKey))
      await redis.zRem(listKey(tag), keys)
    },
    async clear() {
      const redis = await connected()
      for await (const keys of redis.scanIterator({ MATCH: `${prefix}:*`, COUNT: 1_000 })) {
        if (keys.length > 0) await redis.unlink(keys)
      }
    },
    async close() {
      if (client.isReady) await client.close()
      else client.destroy()
    },
  }
}
