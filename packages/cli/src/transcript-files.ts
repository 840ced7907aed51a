/** What `import` is given: files, directories and stdin, as content that can be read more than once. */
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join, sep } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { ColloquyError } from '@colloquy/core'
import { type ByteSource, formats } from '@colloquy/formats'
import type { Io } from './output.ts'

export type FoundFile =
  /** `isAsked`: it was named itself, not found in a directory. */
  { readonly path: string; readonly isAsked: boolean } | { readonly path: string; readonly skipped: string }

/** An open file. */
export interface OpenFile extends Disposable {
  readonly content: ByteSource
}

const endings = ['json', 'jsonl', 'ndjson', ...formats.flatMap(({ files }) => files)]
const otherPlaces = ['node_modules', '.git']

/**
 * The files that were named, and those in the directories that were named: all levels, by name. What could be no transcript is
 * there with the reason, and links are: where they lead is either imported by its own name or none of the directory's business.
 */
export async function* findFiles(paths: readonly string[]): AsyncGenerator<FoundFile> {
  for (const path of paths) {
    if (path !== '-' && (await isDirectory(path))) yield* filesIn(path, await realpath(path))
    else yield { path, isAsked: true }
  }
}

async function* filesIn(directory: string, root: string): AsyncGenerator<FoundFile> {
  let entries: Awaited<ReturnType<typeof entriesOf>>
  try {
    entries = await entriesOf(directory)
  } catch (error) {
    yield { path: directory, skipped: `the directory cannot be read (${(error as Error).message})` }
    return
  }
  for (const entry of entries) {
    const path = join(directory, entry.name)
    const ending = extname(entry.name).slice(1).toLowerCase()
    if (entry.isSymbolicLink()) yield { path, skipped: await linkReason(path, root) }
    else if (entry.isDirectory() && otherPlaces.includes(entry.name)) yield { path, skipped: 'nobody keeps transcripts there' }
    else if (entry.isDirectory()) yield* filesIn(path, root)
    else if (!entry.isFile()) yield { path, skipped: 'it is no regular file' }
    else if (!endings.includes(ending)) yield { path, skipped: `its name does not end as a transcript's does (${endingsText})` }
    else yield { path, isAsked: false }
  }
}

const endingsText = [...new Set(endings)].map((ending) => `.${ending}`).join(', ')

async function entriesOf(directory: string) {
  const entries = await readdir(directory, { withFileTypes: true })
  return entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

async function linkReason(path: string, root: string): Promise<string> {
  const target = await realpath(path).catch(() => undefined)
  if (target === undefined) return 'a link that leads nowhere'
  const isInside = target === root || target.startsWith(root.endsWith(sep) ? root : root + sep)
  return isInside ? 'a link to what is in the directory already' : 'a link that leads out of the directory'
}

const isDirectory = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isDirectory() === true

/** A file as it is now: what is appended to it later is not read. @throws `import_refused` when it cannot be read */
export function openFile(path: string, onRead: (bytes: number) => void = () => {}): OpenFile {
  let descriptor: number
  try {
    descriptor = openSync(path, 'r')
  } catch (cause) {
    throw unreadable(path, cause)
  }
  const info = fstatSync(descriptor)
  if (!info.isFile()) {
    closeSync(descriptor)
    throw unreadable(path, new Error('it is no regular file; pipe it in, as -'))
  }
  return openDescriptor(path, descriptor, info.size, onRead)
}

/** In memory as long as it is short, then in a file that has no name any more. */
const heldBytes = 2 ** 23

/** All of stdin. What is long is held in a file without a name, which ends with the process. */
export async function openStdin({ stdin }: Pick<Io, 'stdin'>): Promise<OpenFile> {
  const chunks: Uint8Array[] = []
  let size = 0
  let descriptor: number | undefined
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk)
    size += bytes.length
    chunks.push(bytes)
    if (size <= heldBytes) continue
    descriptor ??= openNameless()
    for (const piece of chunks.splice(0)) writeSync(descriptor, piece)
  }
  if (descriptor !== undefined) return openDescriptor('stdin', descriptor, size)
  const whole = Buffer.concat(chunks)
  const read = (target: Uint8Array, from: number) => whole.copy(target, 0, from, from + target.length)
  return { content: { size, read }, [Symbol.dispose]() {} }
}

/** What was piped in may be read by nobody else and must not stay behind, however the process ends. */
function openNameless(): number {
  const directory = mkdtempSync(join(tmpdir(), 'colloquy-stdin-'))
  try {
    return openSync(join(directory, 'content'), 'wx+', 0o600)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function openDescriptor(path: string, descriptor: number, size: number, onRead: (bytes: number) => void = () => {}): OpenFile {
  if (size > heldBytes) collectSooner()
  return {
    content: {
      size,
      read(target, from) {
        let count = 0
        try {
          while (count < target.length) {
            const got = readSync(descriptor, target, count, target.length - count, from + count)
            if (got === 0) break
            count += got
          }
        } catch (cause) {
          throw unreadable(path, cause)
        }
        onRead(count)
        return count
      },
    },
    [Symbol.dispose]: () => closeSync(descriptor),
  }
}

/**
 * Of a long file nearly all is garbage at once, and on a large machine V8 lets it grow to four times what is in use before it looks, and
 * the space for new objects to 100 MB. Looking at a sixth more, and a space that stays small, cost a tenth of the time, and keep 100 MB of
 * JSON lines at 285 instead of 405 MB (our measurement, Node 24.21).
 */
function collectSooner(): void {
  setFlagsFromString('--heap-growing-percent=15')
  setFlagsFromString('--semi-space-growth-factor=1')
}

function unreadable(source: string, cause: unknown): ColloquyError<'import_refused'> {
  const problem = `the file cannot be read (${(cause as Error).message})`
  return new ColloquyError('import_refused', { source, line: 0, problem }, { cause })
}
