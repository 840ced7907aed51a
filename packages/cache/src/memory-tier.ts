import { LRUCache } from 'lru-cache'
import type { CacheEntry, CacheTier } from './tier.ts'

export interface MemoryTierOptions {
  /** The least recently used goes first. Default 1,000. */
  readonly maxEntries?: number
  /** Of the values' texts, two bytes a character. Default 64 MiB. */
  readonly maxBytes?: number
  /**
   * Nothing is kept longer. What another process invalidates in a tier that is shared is not heard here: without `checkedBy` this bounds for
   * how long an old value may still be given out. Default: as long as the entry lives.
   */
  readonly maxAgeMs?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export function memoryTier(options: MemoryTierOptions = {}): CacheTier & Required<Pick<CacheTier, 'count'>> {
  const { maxEntries = 1_000, maxBytes = 64 * 1024 * 1024, maxAgeMs = Number.POSITIVE_INFINITY, now = Date.now } = options
  const keysByTag = new Map<string, Set<string>>()
  const entries = new LRUCache<string, CacheEntry>({
    max: maxEntries,
    maxSize: maxBytes,
    sizeCalculation: ({ text }) => 2 * text.length + 1,
    // Whatever takes an entry out, the tags forget it.
    dispose({ tags }, key) {
      for (const tag of tags) {
        const keys = keysByTag.get(tag)
        keys?.delete(key)
        if (keys?.size === 0) keysByTag.delete(tag)
      }
    },
  })
  return {
    level: 'memory',
    async get(key) {
      const entry = entries.get(key)
      return entry === undefined || entry.expiresAt <= now() ? undefined : entry
    },
    async set(key, entry) {
      const until = Math.min(entry.expiresAt, now() + maxAgeMs)
      entries.set(key, until === entry.expiresAt ? entry : { ...entry, expiresAt: until })
      // It was too large to be kept.
      if (!entries.has(key)) return
      for (const tag of entry.tags) {
        const keys = keysByTag.get(tag) ?? new Set()
        keysByTag.set(tag, keys.add(key))
      }
    },
    async delete(key) {
      entries.delete(key)
    },
    async deleteTag(tag) {
      for (const key of keysByTag.get(tag) ?? []) entries.delete(key)
    },
    async clear() {
      entries.clear()
    },
    count() {
      const at = now()
      let expired = 0
      for (const { expiresAt } of entries.values()) if (expiresAt <= at) expired += 1
      return { total: entries.size, expired, capacity: maxEntries }
    },
    async close() {
      entries.clear()
    },
  }
}
