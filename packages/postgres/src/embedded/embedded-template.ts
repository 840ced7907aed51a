/**
 * A database that is made and migrated already. To make one (initdb) takes seconds, to copy one a fraction: so the first store of a
 * machine leaves a copy in the user's cache, and later ones begin with it. The cache can be deleted at any time, and is not needed.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'

/** A tar of a whole database. */
export type Template = Uint8Array<ArrayBuffer>

/**
 * The template in the cache; where there is none, a new one, which goes there if it can.
 * @param parts what the content depends on
 */
export async function cachedTemplate(parts: readonly string[], make: () => Promise<Template>): Promise<Template> {
  const file = join(
    cacheDirectory(),
    `embedded-${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)}.tar`,
  )
  const cached = await readFile(file).catch(() => undefined)
  // Files come by a rename, so one that is there is whole; the end says so too.
  if (cached && isWhole(cached)) return cached
  const made = await make()
  await keep(file, made).catch(() => {
    // Without a cache every new store takes as long as the first.
  })
  return made
}

/** As each system has it; `COLLOQUY_CACHE` names another. */
function cacheDirectory(): string {
  const { COLLOQUY_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (COLLOQUY_CACHE) return COLLOQUY_CACHE
  if (process.platform === 'win32' && LOCALAPPDATA) return join(LOCALAPPDATA, 'colloquy', 'cache')
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'colloquy')
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'colloquy')
}

/** Any number of processes may do this at once: each writes a file of its own, and the last rename stays. */
async function keep(file: string, template: Template): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${randomUUID()}.draft`
  try {
    await writeFile(draft, template, { mode: 0o600 })
    await rename(draft, file)
  } finally {
    await rm(draft, { force: true })
  }
  await removeOld(dirname(file))
}

/** Of earlier versions. One that somebody still uses is made again. */
const oldMs = 30 * 24 * 60 * 60 * 1000

async function removeOld(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith('embedded-')) continue
    const file = join(directory, name)
    if ((await stat(file)).mtimeMs < Date.now() - oldMs) await rm(file, { force: true })
  }
}

const blockBytes = 512

/** A tar ends with two empty blocks. */
function isWhole(tar: Uint8Array): boolean {
  return tar.length % blockBytes === 0 && tar.length > 2 * blockBytes && tar.subarray(-2 * blockBytes).every((byte) => byte === 0)
}

/**
 * Puts the database into `directory`, which must not exist: it appears there whole, or not at all. The thousand small files are written
 * without waiting for each in turn, which takes a fifth of the time; the database that starts next holds the process up for longer. One
 * process at a time does this: what another left that was killed over it is removed.
 * @throws what the file system throws
 */
export async function unpackTemplate(template: Template, directory: string): Promise<void> {
  const parent = dirname(directory)
  for (const name of await readdir(parent))
    if (name.startsWith(`${basename(directory)}.`) && name.endsWith('.draft')) await rm(join(parent, name), { recursive: true })
  const draft = `${directory}.${randomUUID()}.draft`
  try {
    const made = new Set<string>()
    for (const { name, isDirectory, bytes } of entriesOf(template)) {
      const path = join(draft, name)
      const parent = isDirectory ? path : dirname(path)
      if (!made.has(parent)) mkdirSync(parent, { recursive: true, mode: 0o700 })
      made.add(parent)
      if (!isDirectory) writeFileSync(path, bytes, { mode: 0o600 })
    }
    await rename(draft, directory)
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

interface Entry {
  readonly name: string
  readonly isDirectory: boolean
  readonly bytes: Uint8Array
}

/** Names and sizes as in POSIX' ustar: name at 0, size in octal digits at 124, kind at 156, the beginning of a long name at 345. */
function* entriesOf(tar: Uint8Array): Generator<Entry> {
  const text = (from: number, length: number) => {
    const bytes = tar.subarray(from, from + length)
    const end = bytes.indexOf(0)
    return Buffer.from(end === -1 ? bytes : bytes.subarray(0, end)).toString('utf8')
  }
  for (let at = 0; at + blockBytes <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || '0', 8)
    const prefix = text(at + 345, 155)
    const name = [prefix, text(at, 100)].filter(Boolean).join('/')
    const from = at + blockBytes
    yield { name, isDirectory: text(at + 156, 1) === '5', bytes: tar.subarray(from, from + size) }
    at = from + Math.ceil(size / blockBytes) * blockBytes
  }
}
