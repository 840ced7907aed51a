import { randomUUID } from 'node:crypto'
import { lstat, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ColloquyError, type OpenedEnvelope, openEnvelope } from '@colloquy/core'
import { type Exporter, exporters, exportJsonLine } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { ExportFormat } from '../export-formats.ts'
import { printableJson, printableLines } from '../printable.ts'
import { headOf, openStore, type Store } from '../store.ts'

export interface ExportOptions {
  readonly format: ExportFormat
  /** A file, or a directory for a file of the usual name; '-' is stdout. */
  readonly output?: string
}

/**
 * Writes a conversation out: `jsonl` is the log, one envelope a line, byte for byte; the others are the transcript, as the exporters
 * of formats make it. Only what goes to a terminal is made harmless: a file or a pipe gets what is stored.
 */
export async function exportConversation(context: Context, id: string, options: ExportOptions): Promise<ExitCode> {
  const { output } = context
  const { format, output: target = '-' } = options
  await using store = await openStore(context)
  const { position } = await headOf(store, id)
  const exporter = exporters.find((one) => one.id === format)
  const exported = exporter ? await transcript(store, id, exporter) : logOf(store, id)
  if (target === '-') {
    const harmless = exported.extension.startsWith('json') ? printableJson : printableLines
    for await (const text of exported.texts) await output.write(output.isTerminal ? harmless(text) : text)
  } else {
    const isPlaced = await isDirectory(target)
    const file = isPlaced ? join(target, exported.name) : target
    if (isPlaced && !exported.isOwnName) await assertFree(file)
    await writeWhole(file, exported.texts)
    output.say(`Wrote ${position} positions of ${id} to ${file}.`)
  }
  output.next(['verify', id])
  return exitCodes.ok
}

interface Exported {
  readonly texts: AsyncIterable<string> | Iterable<string>
  readonly extension: string
  /** What the file is called where only its directory was named. */
  readonly name: string
  /** No other conversation is called so. */
  readonly isOwnName: boolean
}

function logOf(store: Store, id: string): Exported {
  async function* texts(): AsyncGenerator<string> {
    for await (const page of store.log.read(store.key(id))) yield page.map((envelope) => `${exportJsonLine(envelope)}\n`).join('')
  }
  return { texts: texts(), extension: 'jsonl', name: `${fileSafe(id)}.jsonl`, isOwnName: true }
}

async function transcript(store: Store, id: string, exporter: Exporter): Promise<Exported> {
  const envelopes: OpenedEnvelope[] = []
  for await (const page of store.log.read(store.key(id))) envelopes.push(...page.map(openEnvelope))
  const text = await withMedia(store, id, (media) => exporter.export(envelopes, { media }))
  const { extension } = exporter
  const given = exporter.fileName?.(envelopes)
  const name = fileSafe(given ?? `${id}.${endingOf(exporter)}`)
  return { texts: [text.endsWith('\n') ? text : `${text}\n`], extension, name, isOwnName: given === undefined }
}

/** Of formats that end alike the one that is called so has the ending alone: exports in one directory do not replace each other. */
function endingOf({ id, extension }: Exporter): string {
  const isAlone = extension !== 'jsonl' && exporters.every((other) => other.id === id || other.extension !== extension)
  return isAlone || id === extension ? extension : `${id}.${extension}`
}

/** Files are read only when an exporter asks for them, and exporters wait for nothing: so it is asked twice when it wants any. */
async function withMedia(
  { log, key }: Store,
  id: string,
  write: (media: (hash: string) => Uint8Array | undefined) => string,
): Promise<string> {
  const found = new Map<string, Uint8Array | undefined>()
  const wanted = new Set<string>()
  const text = write((hash) => void wanted.add(hash))
  if (wanted.size === 0) return text
  for (const hash of wanted) found.set(hash, (await log.media(key(id), hash))?.bytes)
  return write((hash) => found.get(hash))
}

const isDirectory = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isDirectory() === true

/** @throws `file_unwritable` when there is something */
async function assertFree(file: string): Promise<void> {
  const present = await stat(file).catch(() => undefined)
  const problem = 'a file of that name is there already, and may be of another conversation'
  if (present !== undefined) throw new ColloquyError('file_unwritable', { file, problem })
}

/** Ids and names in files come from anywhere; a name must not lead to another directory, or be hidden. */
const fileSafe = (name: string): string => name.replace(/[^\w.@+=-]/g, '_').replace(/^\./, '_')

/**
 * Whole or not at all, and for nobody else to read: written beside the file first, then put in its place.
 * @throws `file_unwritable`
 */
async function writeWhole(file: string, texts: Exported['texts']): Promise<void> {
  const unwritable = (problem: string, cause?: unknown) => new ColloquyError('file_unwritable', { file, problem }, { cause })
  // A link stays one: what it leads to is written.
  const target = await realpath(file).catch(() => file)
  const present = await lstat(target).catch(() => undefined)
  if (present?.isSymbolicLink()) throw unwritable('it is a link that leads nowhere')
  if (present !== undefined && !present.isFile()) throw unwritable('it is no regular file, and would be replaced by one')
  const beside = join(dirname(target), `.${basename(target).slice(0, 100)}.${randomUUID()}`)
  try {
    await using handle = await open(beside, 'wx', 0o600)
    for await (const text of texts) await handle.appendFile(text)
    await handle.sync()
    await rename(beside, target)
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {})
    if (!isSystemError(error)) throw error
    throw unwritable(error.message.replaceAll(beside, file), error)
  }
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && 'syscall' in error
