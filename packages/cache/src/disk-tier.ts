/**
 * A directory with one file for each key:
 *
 *     entries/ab/abcd...   SHA-256 of the key; first line the SHA-256 of the rest, then the entry. Its mtime is when it expires.
 *     tags/ef01.../abcd... SHA-256 of a tag, and in it an empty file for each entry that carries it
 *
 * Several processes may share it. A file appears whole, by rename, and is not synced: what a power loss leaves half written fails its
 * checksum, is a miss, and is removed.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CacheError } from './cache-error.ts'
import { keyIn, readEntry, writeEntry } from './entry-text.ts'
import type { CacheEntry, CacheTier } from './tier.ts'

export interface DiskTierOptions {
  /** Made when it is missing, readable by its owner only. Nothing else may be in it. */
  readonly directory: string
  /** What is over goes in the next sweep, those that expire first first. Default 100,000. */
  readonly maxEntries?: number
  /** Of the files. Default 1 GiB. */
  readonly maxBytes?: number
  /** The directory is swept so often while it is written to, and after a tenth of `maxEntries` writes. Default 5 minutes. */
  readonly sweepEveryMs?: number
  /** Default 2 s. */
  readonly timeoutMs?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

export interface DiskTier extends CacheTier {
  /** Removes what has expired, what is over the limits, and what crashed writers left behind. @returns how many entries are left */
  sweep(): Promise<number>
}

/** What a writer has not finished after this long, nobody will. */
const abandonedMs = 3_600_000

export function diskTier(options: DiskTierOptions): DiskTier {
  const { directory, maxEntries = 100_000, maxBytes = 1024 ** 3, sweepEveryMs = 300_000, timeoutMs = 2_000 } = options
  const now = options.now ?? Date.now
  if (directory === '') throw new CacheError('option_invalid', { option: 'directory', problem: 'it is empty' })
  const [entries, tags] = [join(directory, 'entries'), join(directory, 'tags')]
  const fileOf = (name: string): string => join(entries, name.slice(0, 2), name)
  let lastSweep = now()
  let writes = 0
  let sweeping: Promise<unknown> = Promise.resolve()

  /** The entry in a file; undefined, and the file removed, when it is damaged, expired or of another key. */
  async function readFileOf(name: string, key?: string): Promise<CacheEntry | undefined> {
    const bytes = await readFile(fileOf(name)).catch(unlessMissing)
    if (bytes === undefined) return undefined
    const entry = unsealed(bytes, name, key)
    if (entry !== undefined && entry.expiresAt > now()) return entry
    await rm(fileOf(name), { force: true })
    return undefined
  }

  async function mark(entry: CacheEntry, name: string): Promise<void> {
    for (const tag of entry.tags) await writeInto(join(tags, sha256(tag), name), '')
  }

  async function sweep(): Promise<number> {
    lastSweep = now()
    writes = 0
    const kept: { readonly path: string; readonly expiresAt: number; readonly bytes: number }[] = []
    for (const shard of await list(entries)) {
      for (const name of await list(join(entries, shard))) {
        const path = join(entries, shard, name)
        const found = await stat(path).catch(unlessMissing)
        if (found === undefined) continue
        // The mtime of an unfinished file may lie in the future already.
        const isOver = name.endsWith('.tmp') ? found.ctimeMs + abandonedMs <= now() : found.mtimeMs <= now()
        if (isOver) await rm(path, { force: true })
        else if (!name.endsWith('.tmp')) kept.push({ path, expiresAt: found.mtimeMs, bytes: found.size })
      }
    }
    kept.sort((a, b) => a.expiresAt - b.expiresAt)
    let bytes = kept.reduce((sum, file) => sum + file.bytes, 0)
    let left = kept.length
    for (const file of kept) {
      if (left <= maxEntries && bytes <= maxBytes) break
      await rm(file.path, { force: true })
      left -= 1
      bytes -= file.bytes
    }
    for (const tag of await list(tags)) await sweepTag(join(tags, tag))
    return left
  }

  async function sweepTag(path: string): Promise<void> {
    for (const name of await list(path)) {
      const mark = await stat(join(path, name)).catch(unlessMissing)
      // A young one may be of an entry that is just being written.
      if (mark === undefined || mark.mtimeMs + abandonedMs > now()) continue
      if ((await stat(fileOf(name)).catch(unlessMissing)) === undefined) await rm(join(path, name), { force: true })
    }
    // Only an empty one goes.
    await rmdir(path).catch(() => {})
  }

  return {
    level: 'disk',
    timeoutMs,
    get: async (key) => readFileOf(sha256(key), key),
    async set(key, entry) {
      const name = sha256(key)
      // Before it can be read it can be found by its tags; and again after, since a deletion may have come in between.
      await mark(entry, name)
      const temporary = `${fileOf(name)}.${randomUUID()}.tmp`
      try {
        await writeInto(temporary, sealed(key, entry))
        await utimes(temporary, new Date(now()), new Date(entry.expiresAt))
        await rename(temporary, fileOf(name))
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {})
        throw error
      }
      await mark(entry, name)
      writes += 1
      if (now() - lastSweep >= sweepEveryMs || writes > maxEntries / 10) sweeping = sweep().catch(() => {})
    },
    async delete(key) {
      await rm(fileOf(sha256(key)), { force: true })
    },
    async deleteTag(tag) {
      const path = join(tags, sha256(tag))
      for (const name of await list(path)) {
        const isTagged = async (): Promise<boolean> => (await readFileOf(name))?.tags.includes(tag) === true
        if (await isTagged()) await rm(fileOf(name), { force: true })
        // The mark goes last, so that a crash leaves it; and who wrote in between is seen after that.
        await rm(join(path, name), { force: true })
        if (await isTagged()) await rm(fileOf(name), { force: true })
      }
    },
    async clear() {
      await rm(entries, { recursive: true, force: true })
      await rm(tags, { recursive: true, force: true })
    },
    sweep,
    async close() {
      await sweeping
    },
  }
}

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

function sealed(key: string, entry: CacheEntry): string {
  const written = writeEntry(key, entry)
  return `${sha256(written)}\n${written}`
}

/** Without a key, of the one that it names itself, if the file has that key's name. */
function unsealed(bytes: Buffer, name: string, key?: string): CacheEntry | undefined {
  const body = bytes.subarray(65)
  if (bytes[64] !== 0x0a || bytes.toString('latin1', 0, 64) !== sha256(body)) return undefined
  const written = body.toString('utf8')
  const named = key ?? keyIn(written)
  return named === undefined || sha256(named) !== name ? undefined : readEntry(named, written)
}

/** Makes the directory when it is missing, also when it is removed at the same time. */
async function writeInto(path: string, text: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await writeFile(path, text, { mode: 0o600 })
      return
    } catch (error) {
      if (!isMissing(error) || attempt === 10) throw error
      // It fails like this where a sweep takes a directory above away in the meantime.
      await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch(unlessMissing)
    }
  }
}

const list = async (path: string): Promise<readonly string[]> => (await readdir(path).catch(unlessMissing)) ?? []

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT'

function unlessMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error
}
