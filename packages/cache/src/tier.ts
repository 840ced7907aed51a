/** What a tier keeps under a key. */
export interface CacheEntry {
  /** The value as JSON text. */
  readonly text: string
  readonly tags: readonly string[]
  /** Milliseconds since 1970. At that time it is gone, whether or not the tier has removed it. */
  readonly expiresAt: number
  /** Of its key and its tags, where a tier that processes share has given them: see `Generations`. */
  readonly generations?: readonly string[]
}

/**
 * What a tier that processes share knows of all of them: every key and every tag has a generation, which an invalidation ends, by whichever
 * process. A generation that the tier has lost has ended.
 */
export interface Generations {
  /** Begins a new one of the key: what was written under it before has ended. @returns it, and those of the tags */
  begin(key: string, entry: Pick<CacheEntry, 'tags' | 'expiresAt'>): Promise<readonly string[]>
  /** Whether all that the entry was written under last. */
  areCurrent(key: string, entry: CacheEntry): Promise<boolean>
}

/**
 * One place that keeps entries. May fail, and may forget whatever it likes; what it must never do is give out an entry of another key, one
 * that has expired, or one whose key or tag was deleted before. A damaged entry is a miss.
 */
export interface CacheTier {
  /** `memory`, `redis`, `disk`, or a name of your own; once in a cache. */
  readonly level: string
  /** After so long an operation counts as failed. Undefined: it cannot hang. */
  readonly timeoutMs?: number
  /** Where processes share the tier. */
  readonly generations?: Generations
  get(key: string): Promise<CacheEntry | undefined>
  set(key: string, entry: CacheEntry): Promise<void>
  delete(key: string): Promise<void>
  /** Every entry that carries the tag. */
  deleteTag(tag: string): Promise<void>
  clear(): Promise<void>
  /** How many entries there are, those that have expired and are still kept among them; where that is cheap to say. */
  count?(): { readonly total: number; readonly expired: number; readonly capacity: number }
  close(): Promise<void>
}
