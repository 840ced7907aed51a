/**
 * A lock on a directory, held by a process. A live holder is never robbed; what a dead one left is taken over.
 *
 * A lock is a file that says who holds it. It is never replaced, since between judging it dead and replacing it somebody else may have
 * done so. Instead every lock names its successor, by a random word in it:
 *
 *     lock            {pid 100, word a}   dead
 *     lock.a          {pid 200, word b}   dead, took over from 100
 *     lock.b          {pid 300, word c}   the holder: the end of the chain
 *
 * Whoever finds the end dead creates the one file that follows; the file system lets one of many succeed. After that it walks the chain
 * again, because a holder that left in the meantime has removed the first link, and with it the whole chain. Releasing removes the
 * first link first for the same reason.
 *
 * A lock appears with all its content. One that cannot be read was cut off with the machine, and its holder too: it is dead, and its
 * successor is `lock.unreadable`.
 */

import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { link, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { ColloquyError } from '@colloquy/core'

export interface DirectoryLock {
  /** Idempotent. */
  readonly release: () => Promise<void>
}

interface Holder {
  readonly pid: number
  /** When the process started, in the system's own words: a number that is used again belongs to another process. */
  readonly startedAt: string | null
  /** Where the pid counts: a host, and on Linux a namespace of processes. */
  readonly place: string
  /** ISO 8601, for people. */
  readonly since: string
  readonly word: string
}

interface Link {
  readonly file: string
  readonly holder: Holder
}

/** Locks `directory` for this process. @throws `directory_locked`, and what the file system throws */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const own: Holder = {
    pid: process.pid,
    startedAt: await startOf(process.pid),
    place: await placeOfProcesses(),
    since: new Date().toISOString(),
    word: randomUUID(),
  }
  for (;;) {
    const { links, next } = await readChain(directory)
    const last = links.at(-1)
    if (last && (await isAlive(last.holder, own.place))) throw lockedBy(directory, last.holder, own.place)
    if (!(await createWhole(next, own))) continue
    const chain = await readChain(directory)
    if (chain.links.at(-1)?.holder.word === own.word) {
      await removeOldDrafts(directory)
      return { release: () => remove(chain.links) }
    }
    await rm(next, { force: true })
  }
}

async function readChain(directory: string): Promise<{ readonly links: readonly Link[]; readonly next: string }> {
  const links: Link[] = []
  let next = join(directory, 'lock')
  for (;;) {
    const holder = await readHolder(next)
    if (!holder) return { links, next }
    links.push({ file: next, holder })
    next = join(directory, `lock.${holder.word}`)
  }
}

async function readHolder(file: string): Promise<Holder | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    const { pid, startedAt, place, since, word } = JSON.parse(text) as Holder
    if (Number.isInteger(pid) && typeof place === 'string' && typeof word === 'string')
      return { pid, startedAt, place, since, word }
  } catch {
    // As one without the fields.
  }
  return { pid: nobody, startedAt: null, place: '', since: '', word: `${basename(file)}.unreadable`.slice('lock.'.length) }
}

/** No process has this number. */
const nobody = 0

/** Creates `file` with its content in one step, so that nobody reads half of it. @returns false when it exists already */
async function createWhole(file: string, holder: Holder): Promise<boolean> {
  const draft = `${file}.${holder.word}.draft`
  await writeFile(draft, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
  try {
    await link(draft, file)
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

async function remove(links: readonly Link[]): Promise<void> {
  for (const { file } of links) await rm(file, { force: true })
}

/** Older ones than this were left by processes that ended between two steps: a draft is needed for a moment. */
const draftMs = 60_000

async function removeOldDrafts(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!/^lock\..*\.draft$/.test(name)) continue
    const file = join(directory, name)
    const made = await stat(file).catch(() => undefined)
    if (made && made.mtimeMs < Date.now() - draftMs) await rm(file, { force: true })
  }
}

function lockedBy(directory: string, { pid, since, place }: Holder, ownPlace: string): ColloquyError {
  // The first link: without it the chain is gone.
  const elsewhere = place === ownPlace ? {} : { place, file: join(directory, 'lock') }
  return new ColloquyError('directory_locked', { directory, pid, since, ...elsewhere })
}

async function isAlive(holder: Holder, place: string): Promise<boolean> {
  if (holder.pid === nobody) return false
  // A process of another machine or container cannot be asked, and must not be robbed.
  if (holder.place !== place) return true
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // Anything else, such as EPERM, says that there is such a process.
    if (isErrno(error, 'ESRCH')) return false
  }
  const startedAt = await startOf(holder.pid)
  return holder.startedAt === null || startedAt === null || startedAt === holder.startedAt
}

async function placeOfProcesses(): Promise<string> {
  const namespace = process.platform === 'linux' ? await readlink('/proc/self/ns/pid').catch(() => '') : ''
  return [hostname(), namespace].join(' ').trim()
}

const run = promisify(execFile)

/** When a process started, in a form only good for comparing; null when the system does not tell. */
async function startOf(pid: number): Promise<string | null> {
  try {
    if (process.platform === 'linux') return await startOnLinux(pid)
    if (process.platform === 'win32') return null
    const { stdout } = await run('ps', ['-o', 'lstart=', '-p', String(pid)])
    return stdout.trim() || null
  } catch {
    return null
  }
}

async function startOnLinux(pid: number): Promise<string> {
  const [boot, stat] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readFile(`/proc/${pid}/stat`, 'utf8'),
  ])
  // Fields 3 and on follow the name, which may hold spaces and brackets: state is the 3rd, start in ticks since boot the 22nd.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? 'ended, not yet reaped' : `${boot.trim()} ${fields[19]}`
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
