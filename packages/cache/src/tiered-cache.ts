/**
 * Memory, then Redis, then disk: a hit in a lower tier is copied into those above it, a write goes to all of them, a removal too.
 *
 * A removal holds against everything that was stored before it ended: it waits for writes of the same key or tag that are under way, and
 * what is read or loaded while it lasts is neither copied upwards nor stored. In the same way a copy never overtakes a write. All that is
 * between calls of one cache; between processes it holds with `checkedBy`.
 */
import { CacheError } from './cache-error.ts'
import { type GuardedTier, guardTier, type Removal, type TierStats } from './guarded-tier.ts'
import { type Json, jsonText, parseFrozen } from './json.ts'
import { memoryTier } from './memory-tier.ts'
import type { CacheEntry, CacheTier } from './tier.ts'

export interface TieredCacheOptions {
  /** From the fastest to the slowest. Default `[memoryTier()]`. */
  readonly tiers?: readonly CacheTier[]
  /** How long a value lives that is set without a TTL. Default one hour. */
  readonly ttlMs?: number
  /** A tier that failed is not asked again for so long. Default 1 s. */
  readonly restMs?: number
  /**
   * The level of a tier that processes share: `redis`. What the other tiers have is then given out only when that one says that no process
   * invalidated it, deleted it or set it anew since; every process that shares the tier must have this set. It costs a round trip for each
   * hit, and while the tier is away everything is a miss. Who joins a call that is under way gets what was there when it began. Default:
   * none is asked, and what other processes do is not heard by tiers that they do not share.
   */
  readonly checkedBy?: string
  /** A tier failed; told once for each time it is left out. Default: a process warning. */
  readonly onWarning?: (warning: CacheError<'tier_failed'>) => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export interface SetOptions {
  /** Above 0. */
  readonly ttlMs?: number
  readonly tags?: readonly string[]
}

export interface TieredCache {
  /**
   * The value, frozen; undefined when no tier has it. With a `level` only that tier is asked, and nothing is copied.
   * @throws `key_invalid`, `option_invalid` (no such level), `cache_closed`; never for a tier
   */
  get<T extends Json = Json>(key: string, options?: { readonly level?: string }): Promise<T | undefined>
  /** Resolves when every tier that works has it. @throws `key_invalid`, `value_invalid`, `option_invalid`, `cache_closed`; never for a tier */
  set(key: string, value: Json, options?: SetOptions): Promise<void>
  /**
   * The value, or what `load` makes of it, which is then set. However many ask at a time, `load` runs once and they share its outcome, with
   * the options of the first; who asks after an invalidation of its key or a tag does not share what began before it. What `load` throws is
   * thrown, not kept.
   */
  getOrLoad<T extends Json>(key: string, load: () => Promise<T> | T, options?: SetOptions): Promise<T>
  delete(key: string): Promise<void>
  /** Removes every entry that carries the tag, in all tiers. */
  invalidateTag(tag: string): Promise<void>
  clear(): Promise<void>
  stats(): CacheStats
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface CacheStats {
  /** Of `get` and `getOrLoad`, whichever tier it was. */
  readonly hits: number
  readonly misses: number
  /** 0 to 1; 0 when nobody asked. */
  readonly hitRate: number
  /** How often a source was called. */
  readonly loads: number
  readonly tiers: Readonly<Record<string, TierStats>>
}

/** One run for all who ask for a key while it lasts. */
interface Flight<T> {
  readonly outcome: Promise<T>
  readonly brings: Brings
}

/** What a flight will bring. */
interface Brings {
  /** Undefined while nobody knows. */
  tags?: readonly string[]
}

/** A reading that is under way, and what was removed since it began. */
interface Reading {
  readonly removed: Removal[]
}

export function tieredCache(options: TieredCacheOptions = {}): TieredCache {
  const { ttlMs: defaultTtlMs = 3_600_000, restMs = 1_000, onWarning = warnProcess, now = Date.now } = options
  const tiers = (options.tiers ?? [memoryTier()]).map((tier) => guardTier(tier, { restMs, onWarning, now }))
  const byLevel = new Map(tiers.map((tier) => [tier.level, tier]))
  if (tiers.length === 0 || byLevel.size < tiers.length) {
    throw new CacheError('option_invalid', { option: 'tiers', problem: 'they need names of their own, and one at least' })
  }
  checkTtl(defaultTtlMs)
  const checker = options.checkedBy === undefined ? undefined : byLevel.get(options.checkedBy)
  if (
    options.checkedBy !== undefined &&
    !options.tiers?.some(({ level, generations }) => level === options.checkedBy && generations)
  ) {
    throw new CacheError('option_invalid', { option: 'checkedBy', problem: 'it names no tier that processes share' })
  }

  const counts = { hits: 0, misses: 0, loads: 0 }
  const readings = new Set<Reading>()
  const removing = new Set<{ readonly removal: Removal; readonly done: Promise<void> }>()
  /** The last write of a key that is under way; it ends after, and replaces, those before it, whose tags it has as well. */
  const writing = new Map<string, { readonly tags: readonly string[]; readonly done: Promise<void> }>()
  const finds = new Map<string, Flight<CacheEntry | undefined>>()
  const loads = new Map<string, Flight<{ readonly entry: CacheEntry; readonly isHit: boolean }>>()
  const values = new WeakMap<CacheEntry, Json>()
  let isClosed = false

  /** The value of an entry, parsed once for as long as memory keeps the entry. */
  function valueOf(entry: CacheEntry): Json {
    const known = values.get(entry)
    if (known !== undefined) return known
    const value = parseFrozen(entry.text)
    values.set(entry, value)
    return value
  }

  async function reading<T>(work: (reading: Reading) => Promise<T>): Promise<T> {
    const one: Reading = { removed: [] }
    readings.add(one)
    try {
      return await work(one)
    } finally {
      readings.delete(one)
    }
  }

  /** What was read may be old by now: it was removed, or another value is being written. */
  const isOld = (one: Reading, key: string, tags: readonly string[]): boolean =>
    writing.has(key) ||
    one.removed.some((removal) => concerns(removal, key, tags)) ||
    [...removing].some(({ removal }) => concerns(removal, key, tags))

  /** Everything that reads now is told; who comes later shares nothing with what it concerns. */
  function tellReadings(removal: Removal): void {
    for (const one of readings) one.removed.push(removal)
    if (removal !== 'everything' && 'key' in removal) {
      finds.delete(removal.key)
      loads.delete(removal.key)
      return
    }
    finds.clear()
    for (const [key, { brings }] of loads) {
      if (brings.tags === undefined || concerns(removal, key, brings.tags)) loads.delete(key)
    }
  }

  /** Who is asked about what a tier has; undefined: the tier itself is believed. */
  const judgeOf = (tier: GuardedTier): GuardedTier | undefined => (tier === checker ? undefined : checker)

  /** Before the value is looked for, so that what is invalidated meanwhile makes it old. Undefined: nobody could say that, so it is not kept. */
  async function begin(
    key: string,
    { ttlMs = defaultTtlMs, tags = [] }: SetOptions,
  ): Promise<Pick<CacheEntry, 'generations'> | undefined> {
    checkTtl(ttlMs)
    if (checker === undefined) return {}
    const generations = await checker.begin(key, { tags: [...new Set(tags)], expiresAt: now() + ttlMs })
    return generations && { generations }
  }

  async function find(key: string): Promise<CacheEntry | undefined> {
    return reading(async (one) => {
      for (const [i, tier] of tiers.entries()) {
        const entry = await tier.read(key)
        if (entry === undefined || entry.expiresAt <= now()) continue
        const judge = judgeOf(tier)
        if (judge && !(await judge.areCurrent(key, entry))) continue
        if (i > 0 && !isOld(one, key, entry.tags)) await write(key, entry, tiers.slice(0, i))
        return entry
      }
      return undefined
    })
  }

  /**
   * Writes of one key come one after the other, so that all tiers end with the same one. `atEnd` is called in the same moment in which the
   * key counts as written: no read may come in between.
   */
  async function write(key: string, entry: CacheEntry, into: readonly GuardedTier[], atEnd?: () => void): Promise<void> {
    const before = writing.get(key)
    const done = (async () => {
      await before?.done
      await Promise.all(into.map(async (tier) => tier.write(key, entry)))
    })()
    const mine = { tags: before ? [...new Set([...before.tags, ...entry.tags])] : entry.tags, done }
    writing.set(key, mine)
    await done
    atEnd?.()
    if (writing.get(key) === mine) writing.delete(key)
  }

  /** A new value, for all tiers: who read another one meanwhile must not copy it over this one. */
  const store = async (key: string, entry: CacheEntry): Promise<void> => write(key, entry, tiers, () => tellReadings({ key }))

  async function remove(removal: Removal): Promise<void> {
    assertOpen()
    const underWay = [...writing].filter(([key, { tags }]) => concerns(removal, key, tags))
    const done = (async () => {
      await Promise.all(underWay.map(async ([, write]) => write.done))
      await Promise.all(tiers.map(async (tier) => tier.remove(removal)))
    })()
    const mine = { removal, done }
    removing.add(mine)
    await done
    // From here on they have to remember it themselves.
    removing.delete(mine)
    tellReadings(removal)
  }

  async function load(key: string, source: () => unknown, setOptions: SetOptions): Promise<CacheEntry> {
    return reading(async (one) => {
      counts.loads += 1
      const began = await begin(key, setOptions)
      const entry = { ...entryOf((await source()) as Json, setOptions), ...began }
      if (began && !isOld(one, key, entry.tags) && !isClosed) await store(key, entry)
      return entry
    })
  }

  function entryOf(value: Json, { ttlMs = defaultTtlMs, tags = [] }: SetOptions): CacheEntry {
    checkTtl(ttlMs)
    return { text: jsonText(value), tags: [...new Set(tags)], expiresAt: Math.ceil(now() + ttlMs) }
  }

  function assertOpen(): void {
    if (isClosed) throw new CacheError('cache_closed', {})
  }

  function count(isHit: boolean): void {
    counts[isHit ? 'hits' : 'misses'] += 1
  }

  async function readOne(key: string, level: string): Promise<CacheEntry | undefined> {
    const tier = byLevel.get(level)
    if (tier === undefined) {
      const problem = `there is no tier "${level}", only ${[...byLevel.keys()].join(', ')}`
      throw new CacheError('option_invalid', { option: 'level', problem })
    }
    const entry = await tier.read(key)
    const judge = judgeOf(tier)
    return entry !== undefined && judge && !(await judge.areCurrent(key, entry)) ? undefined : entry
  }

  const cache: TieredCache = {
    async get<T extends Json>(key: string, { level }: { readonly level?: string } = {}) {
      assertOpen()
      checkKey(key)
      const entry = level === undefined ? await shared(finds, key, async () => find(key)) : await readOne(key, level)
      count(entry !== undefined)
      return entry === undefined ? undefined : (valueOf(entry) as T)
    },
    async set(key, value, setOptions = {}) {
      assertOpen()
      checkKey(key)
      const entry = entryOf(value, setOptions)
      // Nothing is waited for where nobody is asked: a removal that is called next finds this under way.
      const began = checker === undefined ? {} : await begin(key, setOptions)
      if (began === undefined) return remove({ key })
      await store(key, { ...entry, ...began })
    },
    async getOrLoad<T extends Json>(key: string, source: () => Promise<T> | T, setOptions: SetOptions = {}) {
      assertOpen()
      checkKey(key)
      const { entry, isHit } = await shared(loads, key, async (brings) => {
        const found = await shared(finds, key, async () => find(key))
        if (!found) brings.tags = setOptions.tags ?? []
        return found ? { entry: found, isHit: true } : { entry: await load(key, source, setOptions), isHit: false }
      })
      count(isHit)
      return valueOf(entry) as T
    },
    async delete(key) {
      checkKey(key)
      await remove({ key })
    },
    invalidateTag: async (tag) => remove({ tag }),
    clear: async () => remove('everything'),
    stats() {
      const asked = counts.hits + counts.misses
      return {
        ...counts,
        hitRate: asked === 0 ? 0 : counts.hits / asked,
        tiers: Object.fromEntries(tiers.map((tier) => [tier.level, tier.stats()])),
      }
    },
    async close() {
      isClosed = true
      await Promise.all([...writing.values(), ...removing].map(async ({ done }) => done))
      await Promise.all(tiers.map(async (tier) => tier.close()))
    },
    [Symbol.asyncDispose]: async () => cache.close(),
  }
  return cache
}

async function shared<T>(running: Map<string, Flight<T>>, key: string, run: (brings: Brings) => Promise<T>): Promise<T> {
  const present = running.get(key)
  if (present) return present.outcome
  const brings: Brings = {}
  const mine = { brings, outcome: run(brings) }
  running.set(key, mine)
  try {
    return await mine.outcome
  } finally {
    if (running.get(key) === mine) running.delete(key)
  }
}

function concerns(removal: Removal, key: string, tags: readonly string[]): boolean {
  if (removal === 'everything') return true
  return 'tag' in removal ? tags.includes(removal.tag) : removal.key === key
}

function checkKey(key: string): void {
  if (typeof key !== 'string' || key === '') throw new CacheError('key_invalid', { problem: 'it is no text, or an empty one' })
  if (key.length > 1_000) throw new CacheError('key_invalid', { problem: `it has ${key.length} characters, more than 1,000` })
}

function checkTtl(ttlMs: number): void {
  // Beyond that a date cannot be written.
  if (!(ttlMs > 0 && ttlMs <= 100 * 365 * 86_400_000)) {
    throw new CacheError('option_invalid', { option: 'ttlMs', problem: `${ttlMs} is not above 0, or more than a hundred years` })
  }
}

function warnProcess(warning: CacheError): void {
  process.emitWarning(warning.message, { code: 'COLLOQUY_CACHE' })
}
