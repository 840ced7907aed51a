/** The caches that are compared, behind the few calls that the workloads make. */
import { diskTier, memoryTier, tieredCache } from '@colloquy/cache'
import { redisTier } from '@colloquy/cache/redis'

export type Value = { readonly [field: string]: string | number }

export interface Measured {
  readonly get: (key: string) => Promise<unknown>
  readonly set: (key: string, value: Value, tag?: string) => Promise<unknown>
  readonly getOrLoad: (key: string, load: () => Promise<Value>) => Promise<unknown>
  /** Undefined where it has no tags. */
  readonly invalidateTag?: (tag: string) => Promise<unknown>
  readonly close: () => Promise<unknown>
}

/** Below memory, which holds 1,000 entries in each of them; each opening shares what is below with the others of its kind. */
export interface Below {
  readonly redisUrl?: string
  readonly directory?: string
}

export interface Kind {
  readonly name: string
  /** Undefined where it does not have these layers. */
  readonly open: (below: Below) => Promise<Measured> | undefined
}

const maxEntries = 1_000
const ttlMs = 3_600_000

const colloquy: Kind = {
  name: 'Colloquy',
  async open({ redisUrl, directory }) {
    const cache = tieredCache({
      ttlMs,
      tiers: [
        memoryTier({ maxEntries }),
        ...(redisUrl === undefined ? [] : [redisTier({ url: redisUrl })]),
        ...(directory === undefined ? [] : [diskTier({ directory: `${directory}/colloquy` })]),
      ],
    })
    return {
      get: async (key) => cache.get(key),
      set: async (key, value, tag) => cache.set(key, value, tag === undefined ? {} : { tags: [tag] }),
      getOrLoad: async (key, load) => cache.getOrLoad(key, load),
      invalidateTag: async (tag) => cache.invalidateTag(tag),
      close: async () => cache.close(),
    }
  },
}

/** The part of bentocache that is used here. */
interface Bento {
  readonly BentoCache: new (options: {
    readonly default: 'only'
    readonly stores: { readonly only: unknown }
  }) => {
    readonly get: (of: { key: string }) => Promise<unknown>
    readonly set: (of: { key: string; value: Value; ttl: number; tags?: string[] }) => Promise<unknown>
    readonly getOrSet: (of: { key: string; factory: () => Promise<Value>; ttl: number }) => Promise<unknown>
    readonly deleteByTag: (of: { tags: string[] }) => Promise<unknown>
    readonly disconnectAll: () => Promise<unknown>
  }
  readonly bentostore: () => BentoStore
}
interface BentoStore {
  readonly useL1Layer: (driver: unknown) => BentoStore
  readonly useL2Layer: (driver: unknown) => BentoStore
}
interface BentoDrivers {
  readonly memoryDriver: (options: { readonly maxItems: number }) => unknown
  readonly redisDriver: (options: { readonly connection: { readonly host: string; readonly port: number } }) => unknown
  readonly fileDriver: (options: { readonly directory: string; readonly pruneInterval: false }) => unknown
}

const bentocache: Kind = {
  name: 'bentocache',
  open({ redisUrl, directory }) {
    // Two layers are all it has.
    if (redisUrl !== undefined && directory !== undefined) return undefined
    return openBento({
      ...(redisUrl !== undefined && { redisUrl }),
      ...(directory !== undefined && { directory }),
    })
  },
}

async function openBento({ redisUrl, directory }: Below): Promise<Measured> {
  const { BentoCache, bentostore } = await load<Bento>('bentocache')
  const { memoryDriver } = await load<BentoDrivers>('bentocache/drivers/memory')
  let store = bentostore().useL1Layer(memoryDriver({ maxItems: maxEntries }))
  if (redisUrl !== undefined) {
    const { redisDriver } = await load<BentoDrivers>('bentocache/drivers/redis')
    const { hostname, port } = new URL(redisUrl)
    store = store.useL2Layer(redisDriver({ connection: { host: hostname, port: Number(port) } }))
  }
  if (directory !== undefined) {
    const { fileDriver } = await load<BentoDrivers>('bentocache/drivers/file')
    store = store.useL2Layer(fileDriver({ directory: `${directory}/bento`, pruneInterval: false }))
  }
  const bento = new BentoCache({ default: 'only', stores: { only: store } })
  return {
    get: async (key) => bento.get({ key }),
    set: async (key, value, tag) => bento.set({ key, value, ttl: ttlMs, ...(tag !== undefined && { tags: [tag] }) }),
    getOrLoad: async (key, factory) => bento.getOrSet({ key, factory, ttl: ttlMs }),
    invalidateTag: async (tag) => bento.deleteByTag({ tags: [tag] }),
    close: async () => bento.disconnectAll(),
  }
}

/** The part of cache-manager, and of Keyv below it, that is used here. */
interface CacheManager {
  readonly createCache: (options: { readonly stores: readonly unknown[]; readonly ttl: number }) => {
    readonly get: (key: string) => Promise<unknown>
    readonly set: (key: string, value: Value) => Promise<unknown>
    readonly wrap: (key: string, load: () => Promise<Value>) => Promise<unknown>
    readonly disconnect: () => Promise<unknown>
  }
}
interface KeyvModule {
  readonly Keyv: new (options: { readonly store?: unknown }) => unknown
}
interface KeyvRedisModule {
  readonly default: new (url: string) => unknown
}

const cacheManager: Kind = {
  name: 'cache-manager',
  open({ redisUrl, directory }) {
    // There is no store on disk among its own.
    if (directory !== undefined) return undefined
    return openCacheManager(redisUrl)
  },
}

async function openCacheManager(redisUrl: string | undefined): Promise<Measured> {
  const { createCache } = await load<CacheManager>('cache-manager')
  const { Keyv } = await load<KeyvModule>('keyv')
  const stores = [new Keyv({})]
  if (redisUrl !== undefined) {
    const KeyvRedis = (await load<KeyvRedisModule>('@keyv/redis')).default
    stores.push(new Keyv({ store: new KeyvRedis(redisUrl) }))
  }
  const cache = createCache({ stores, ttl: ttlMs })
  return {
    get: async (key) => cache.get(key),
    set: async (key, value) => cache.set(key, value),
    getOrLoad: async (key, source) => cache.wrap(key, source),
    close: async () => cache.disconnect(),
  }
}

// By a variable, so that no compiler looks for what is not installed yet.
const load = async <T>(name: string): Promise<T> => (await import(name)) as T

export const kinds: readonly Kind[] = [colloquy, bentocache, cacheManager]
