/**
 * What a command prints: data on stdout, words on stderr. Tables only on a terminal, tab-separated lines without a heading
 * otherwise, JSON when asked for. Everything that goes out here is made harmless for a terminal first.
 */
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { styleText } from 'node:util'
import type { Model } from '@colloquy/agent'
import type { EventLog } from '@colloquy/core'
import type { GlobalOptions } from './context.ts'
import { OutputClosed } from './exit.ts'
import { commandLine, cutTo, displayWidth, printable, printableJson } from './printable.ts'
import type { Place } from './store.ts'

/** The world as a command sees it; tests hand in another. */
export interface Io {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly stdin: AsyncIterable<Uint8Array | string>
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where a configuration file is looked for. Default: the directory of the process. */
  readonly cwd?: string
  /** Ctrl-C. */
  readonly signal: AbortSignal
  /** Takes Ctrl-C over: `listener` is called for each one, and nothing else happens. @returns how to give it back */
  readonly onInterrupt?: (listener: () => void) => () => void
  /** Instead of opening the store that was named. */
  readonly openLog?: (place: Place) => Promise<EventLog>
  /** Instead of the model that was named. */
  readonly openModel?: (name: string) => Promise<Model>
}

export type OutputStream = Writable & { readonly isTTY?: boolean; readonly columns?: number }
export type Style = Parameters<typeof styleText>[0]

interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string | number
  /** On a terminal, when it should read otherwise than in a pipe. */
  readonly shown?: (row: Row) => string
  readonly align?: 'right'
  readonly style?: (row: Row) => Style | undefined
  /** Takes the room that is left, and is cut to it. The last column at most. */
  readonly isRest?: boolean
}

/** A list of things, each with an `id`, in all its forms. */
export interface Listing<Row> {
  readonly columns: readonly Column<Row>[]
  readonly json: (row: Row) => { readonly id: string | number }
}

type CommandWords = readonly (string | number)[]

/** How a command speaks: data to stdout, words to stderr.. */
export interface Output {
  readonly json: boolean
  /** Whether people look at stdout. */
  readonly isTerminal: boolean
  /** Columns of the terminal, or of an imagined one. */
  readonly width: number
  /** Data as it is, already harmless. @throws OutputClosed, unless the command goes on without a reader */
  write(text: string): Promise<void>
  /** One JSON document. */
  document(value: object): Promise<void>
  /** A list, page by page: never more than a page in memory. @returns how many rows there were */
  list<Row>(listing: Listing<Row>, pages: AsyncIterable<readonly Row[]> | Iterable<readonly Row[]>): Promise<number>
  /** Colours where stdout shows them. */
  paint(style: Style, text: string): string
  /** Words for people. */
  say(text: string): void
  /** A call of this command on the same store, to be pasted into a shell. */
  command(words: CommandWords): string
  /** The next useful commands. */
  next(...commands: readonly CommandWords[]): void
}

/** What a command does when whoever reads its output goes away (`| head`): nothing more, or all but the writing. */
export type WhenClosed = 'stop' | 'goOn'

/** Output as the options and the streams want it: for a terminal, a pipe or a program. */
export function makeOutput(
  io: Pick<Io, 'stdout' | 'stderr' | 'env'>,
  options: GlobalOptions,
  whenClosed: WhenClosed = 'stop',
): Output {
  const { stdout, stderr, env } = io
  const json = options.json ?? false
  const isTerminal = stdout.isTTY === true
  // A terminal that does not know its size says 0.
  const width = stdout.columns || 100
  const write = closeableWriter(stdout, whenClosed)
  const paint = (style: Style, text: string) => styleText(style, text, { stream: stdout })
  const command = (words: CommandWords) => `${commandName(env)} ${commandLine([...words, ...storeOptions(options)])}`
  const say = (text: string) => {
    if (!options.quiet) stderr.write(`${text}\n`)
  }
  return {
    json,
    isTerminal,
    width,
    write,
    document: (value) => write(`${printableJson(JSON.stringify(value, null, isTerminal ? 2 : undefined))}\n`),
    list: (listing, pages) =>
      json ? writeJsonList(listing, pages, write) : writeTable(listing.columns, pages, { isTerminal, width, write, paint }),
    paint,
    say,
    command,
    next: (...commands) => {
      for (const [index, words] of commands.entries()) {
        say(styleText('dim', `${index === 0 ? 'Next:' : '     '} ${command(words)}`, { stream: stderr }))
      }
    },
  }
}

/** How this command was called, so that what we tell people to type works where they are. */
export function commandName(env: Io['env']): string {
  if (env['npm_command'] === 'exec') return 'npx colloquy'
  const script = env['npm_lifecycle_event']
  return script === 'colloquy' || script === 'demo' ? 'npm run -s colloquy --' : 'colloquy'
}

/** What must be said again to come to the same store; a url only by its name, since it may hold a password. */
function storeOptions({ db, tenant }: GlobalOptions): string[] {
  return [
    ...(db === undefined ? [] : ['--db', db.includes(':') && db !== 'memory:' ? '<url>' : db]),
    ...(tenant === undefined ? [] : ['--tenant', tenant]),
  ]
}

function closeableWriter(stream: OutputStream, whenClosed: WhenClosed): (text: string) => Promise<void> {
  let failure: NodeJS.ErrnoException | undefined
  stream.on('error', (error: NodeJS.ErrnoException) => {
    failure = error
  })
  const isClosed = (): boolean => {
    if (failure === undefined) return false
    if (failure.code !== 'EPIPE') throw failure
    if (whenClosed === 'stop') throw new OutputClosed('the reader of the output went away', { cause: failure })
    return true
  }
  return async (text) => {
    if (isClosed()) return
    // Waiting for the reader keeps a long list out of memory.
    if (!stream.write(text)) await once(stream, 'drain').catch(() => {})
    isClosed()
  }
}

async function writeJsonList<Row>(
  { json }: Listing<Row>,
  pages: AsyncIterable<readonly Row[]> | Iterable<readonly Row[]>,
  write: Output['write'],
): Promise<number> {
  let count = 0
  try {
    for await (const page of pages) {
      const items = page.map((row) => printableJson(JSON.stringify(json(row))))
      if (items.length > 0) await write(`${count === 0 ? '[\n' : ',\n'}${items.join(',\n')}`)
      count += items.length
    }
  } catch (error) {
    // What was written before the failure can still be read; a reader that went away is told nothing more.
    if (count > 0 && !(error instanceof OutputClosed)) await write('\n]\n')
    throw error
  }
  await write(count === 0 ? '[]\n' : '\n]\n')
  return count
}

async function writeTable<Row>(
  columns: readonly Column<Row>[],
  pages: AsyncIterable<readonly Row[]> | Iterable<readonly Row[]>,
  to: Pick<Output, 'isTerminal' | 'width' | 'write' | 'paint'>,
): Promise<number> {
  let count = 0
  const titles = columns.map(({ title }) => title)
  let widths = titles.map((title) => title.length)
  for await (const page of pages) {
    if (page.length === 0) continue
    const cells = page.map((row) =>
      columns.map((column) => printable(String(to.isTerminal && column.shown ? column.shown(row) : column.value(row)))),
    )
    if (to.isTerminal) {
      widths = widths.map((width, i) => Math.max(width, ...cells.map((line) => displayWidth(line[i] ?? ''))))
      const lines = cells.map((line, r) => tableLine(line, columns, widths, to, page[r]))
      if (count === 0) lines.unshift(to.paint('bold', tableLine(titles, columns, widths, to)))
      await to.write(`${lines.join('\n')}\n`)
    } else {
      await to.write(`${cells.map((line) => line.join('\t')).join('\n')}\n`)
    }
    count += page.length
  }
  return count
}

/** Cells side by side; in the style of their columns when it is the line of a row. */
function tableLine<Row>(
  cells: readonly string[],
  columns: readonly Column<Row>[],
  widths: readonly number[],
  { width: room, paint }: Pick<Output, 'width' | 'paint'>,
  row?: Row,
): string {
  let left = room
  const padded = columns.map(({ align, isRest, style: styleOf }, i) => {
    const cell = cells[i] ?? ''
    const width = widths[i] ?? 0
    const fill = ' '.repeat(Math.max(0, width - displayWidth(cell)))
    const filled = isRest ? cutTo(cell, Math.max(20, left)) : align === 'right' ? fill + cell : cell + fill
    left -= width + 2
    const style = row && styleOf?.(row)
    return style === undefined ? filled : paint(style, filled)
  })
  return padded.join('  ').trimEnd()
}
