import { CacheError } from './cache-error.ts'
import type { CacheEntry, CacheTier } from './tier.ts'

/** What is to be gone from a tier. */
export type Removal = { readonly key: string } | { readonly tag: string } | 'everything'

/** A tier that cannot fail: when it does, it is a warning, a miss, and left out for a while. */
export interface GuardedTier {
  readonly level: string
  read(key: string): Promise<CacheEntry | undefined>
  write(key: string, entry: CacheEntry): Promise<void>
  remove(removal: Removal): Promise<void>
  /** Of the tier's `generations`: undefined when it fails. */
  begin(key: string, entry: Pick<CacheEntry, 'tags' | 'expiresAt'>): Promise<readonly string[] | undefined>
  /** What it cannot say is not current. */
  areCurrent(key: string, entry: CacheEntry): Promise<boolean>
  stats(): TierStats
  close(): Promise<void>
}

export interface TierStats {
  readonly hits: number
  readonly misses: number
  readonly writes: number
  /** Operations that the tier failed, and those it was not asked for after that. */
  readonly failures: number
  readonly skipped: number
  /** Removals that the tier still owes: they come first when it is back, or when a write that was given up has ended. */
  readonly owed: number
  readonly entries?: { readonly total: number; readonly expired: number; readonly capacity: number }
}

export interface GuardOptions {
  /** A tier that failed is left out for so long. */
  readonly restMs: number
  readonly onWarning: (warning: CacheError<'tier_failed'>) => void
  readonly now: () => number
}

/** More than that is owed as "everything". */
const mostOwed = 10_000

/**
 * What could not be removed from a tier is owed, and done before it is asked for anything again: a Redis that comes back must not give out
 * what was invalidated while it was away, nor the old value of a key that was set meanwhile. The debt is this process's; a process that ends
 * with one leaves the old entry there until its TTL.
 *
 * A write that takes too long is given up, yet it may still end, after whatever removed or replaced it. Until then its key is not asked for
 * there, and when it ends the key is owed again.
 */
export function guardTier(tier: CacheTier, { restMs, onWarning, now }: GuardOptions): GuardedTier {
  const counts = { hits: 0, misses: 0, writes: 0, failures: 0, skipped: 0 }
  const owed = new Map<string, Removal>()
  /** The keys of writes that were given up and still run. */
  const late = new Set<string>()
  let restsUntil = Number.NEGATIVE_INFINITY
  let settling: Promise<void> | undefined

  /** Undefined when the tier failed or rests. */
  async function ask<T>(
    operation: () => Promise<T>,
    onLate?: (running: Promise<T>) => void,
  ): Promise<{ readonly answer: T } | undefined> {
    if (now() < restsUntil) {
      counts.skipped += 1
      return undefined
    }
    try {
      // Again, when something was owed in the meantime.
      while (owed.size > 0) {
        settling ??= settle().finally(() => {
          settling = undefined
        })
        await settling
      }
      return { answer: await withinTime(operation, tier, onLate) }
    } catch (error) {
      counts.failures += 1
      // Calls that were under way when it failed say nothing new.
      if (now() >= restsUntil) {
        restsUntil = now() + restMs
        const problem = error instanceof Error ? error.message : String(error)
        warn(onWarning, new CacheError('tier_failed', { level: tier.level, problem }, { cause: error }))
      }
      return undefined
    }
  }

  async function settle(): Promise<void> {
    for (const [name, removal] of owed) {
      await withinTime(async () => removeFrom(tier, removal), tier)
      // Not if it was owed again meanwhile.
      if (owed.get(name) === removal) owed.delete(name)
    }
  }

  function owe(removal: Removal): void {
    const owes = owed.size >= mostOwed || owed.has('everything') ? 'everything' : removal
    if (owes === 'everything') owed.clear()
    owed.set(nameOf(owes), owes)
  }

  function awaitLate(key: string, running: Promise<void>): void {
    const end = (): void => {
      late.delete(key)
      owe({ key })
    }
    late.add(key)
    running.then(end, end)
  }

  return {
    level: tier.level,
    async read(key) {
      const entry = (await ask(async () => (late.has(key) ? undefined : tier.get(key))))?.answer
      if (entry === undefined) counts.misses += 1
      else counts.hits += 1
      return entry
    },
    async write(key, entry) {
      // Two of one key would end in any order.
      if (late.has(key)) {
        counts.skipped += 1
        return
      }
      const isSet = await ask(
        async () => tier.set(key, entry),
        (running) => awaitLate(key, running),
      )
      if (isSet) counts.writes += 1
      else owe({ key })
    },
    async remove(removal) {
      if (!(await ask(async () => removeFrom(tier, removal)))) owe(removal)
    },
    begin: async (key, entry) => (await ask(async () => tier.generations?.begin(key, entry)))?.answer,
    areCurrent: async (key, entry) => (await ask(async () => tier.generations?.areCurrent(key, entry)))?.answer === true,
    stats: () => ({ ...counts, owed: owed.size + late.size, ...(tier.count && { entries: tier.count() }) }),
    async close() {
      await withinTime(async () => tier.close(), tier).catch(() => {})
    },
  }
}

async function removeFrom(tier: CacheTier, removal: Removal): Promise<void> {
  if (removal === 'everything') await tier.clear()
  else if ('tag' in removal) await tier.deleteTag(removal.tag)
  else await tier.delete(removal.key)
}

function nameOf(removal: Removal): string {
  if (removal === 'everything') return removal
  return 'tag' in removal ? `tag ${removal.tag}` : `key ${removal.key}`
}

async function withinTime<T>(
  operation: () => Promise<T>,
  { timeoutMs = Number.POSITIVE_INFINITY }: CacheTier,
  onLate?: (running: Promise<T>) => void,
): Promise<T> {
  if (timeoutMs === Number.POSITIVE_INFINITY) return operation()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const running = operation()
  const timer = setTimeout(() => {
    onLate?.(running)
    reject(new Error(`no answer within ${timeoutMs} ms`))
  }, timeoutMs)
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Who listens must not be what fails the caller. */
function warn(onWarning: GuardOptions['onWarning'], warning: CacheError<'tier_failed'>): void {
  try {
    onWarning(warning)
  } catch {
    // There is nobody left to tell.
  }
}
