import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { ColloquyError, type ErrorCode, type ImportedFile, isColloquyError, toHex } from '@colloquy/core'
import { type ImportedResult, sha256 } from '@colloquy/engine'
import { type ImportOptions as FormatOptions, importFile } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodeOf, exitCodes, failureText } from '../exit.ts'
import type { Listing } from '../output.ts'
import { printable } from '../printable.ts'
import { openStore, type Store } from '../store.ts'

export interface ImportOptions {
  readonly id?: string
  readonly allowTruncated?: boolean
  readonly keepBadLines?: boolean
}

interface ImportReport {
  readonly file: string
  readonly content: ImportedFile
  readonly results: readonly ImportedResult[]
}

/**
 * Imports transcripts. Each file is checked whole before its first append, and stands for itself: one that is refused leaves
 * nothing and does not keep the others out.
 */
export async function importFiles(context: Context, files: readonly string[], options: ImportOptions): Promise<ExitCode> {
  const { output } = context
  if (options.id !== undefined && files.length > 1) {
    throw new ColloquyError('usage_invalid', {
      problem: `--id names the conversation of one file, and ${files.length} were given`,
    })
  }
  await using store = await openStore(context, 'create')
  const reports: ImportReport[] = []
  let failed: ExitCode = exitCodes.ok
  for (const file of files) {
    try {
      reports.push(await importOne(context, store, file, options))
    } catch (error) {
      if (!isAboutFile(error)) throw error
      failed = exitCodeOf(error)
      context.io.stderr.write(`${failureText(error, { json: output.json, debug: context.options.debug ?? false })}\n`)
    }
  }
  await report(context, reports)
  return failed
}

async function importOne(context: Context, store: Store, file: string, { id, ...flags }: ImportOptions): Promise<ImportReport> {
  const formatOptions: FormatOptions = { ...flags, ...(id !== undefined && { conversationId: id }) }
  const source = file === '-' ? 'stdin' : file
  const content = importFile({ source, content: await contentOf(context, file), sha256, options: formatOptions })
  const actions = content.conversations
    .flatMap(({ commands }) => commands)
    .reduce((sum, command) => sum + command.actions.length, 0)
  using _progress = store.progress(`Importing ${basename(source)}`, actions)
  return { file: source, content, results: await store.engine.importConversation(content.conversations) }
}

async function contentOf({ io }: Context, file: string): Promise<Uint8Array> {
  if (file === '-') {
    const chunks: Uint8Array[] = []
    for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  }
  try {
    return await readFile(file)
  } catch (cause) {
    const problem = `the file cannot be read (${(cause as Error).message})`
    throw new ColloquyError('import_refused', { source: file, line: 0, problem }, { cause })
  }
}

/** Failures of the store end everything; all others say something about the file. */
const storeFailures: readonly ErrorCode[] = ['database_unreachable', 'database_failed', 'append_outcome_unknown', 'log_corrupt']

function isAboutFile(error: unknown): boolean {
  return isColloquyError(error) && !storeFailures.includes(error.code)
}

async function report({ output }: Context, reports: readonly ImportReport[]): Promise<void> {
  if (output.json) await output.list(fileListing, [reports])
  else {
    const rows = reports.flatMap(({ file, results }) => results.map((result) => ({ ...result, file })))
    await output.list(conversationListing, [rows])
  }
  for (const { file, content } of reports) {
    const { skipped, remarks, records } = content
    if (skipped.length > 0)
      output.say(`${printable(file)}: ${skipped.length} of ${records} records became no action of their own:`)
    for (const line of grouped(skipped.map((record) => ({ ...record, text: `${record.recordType}: ${record.reason}` }))))
      output.say(line)
    if (remarks.length > 0) output.say(`${printable(file)}: worth knowing:`)
    for (const line of grouped(remarks.map(({ line, remark }) => ({ line, text: remark })))) output.say(line)
  }
  const first = reports[0]?.results[0]?.conversationId
  if (first !== undefined) output.next(['list'], ['show', first], ['replay', first, '--verify'])
}

const linesShown = 5

/** Equal remarks as one, with the lines that they are about. */
function grouped(remarks: readonly { readonly line: number; readonly text: string }[]): string[] {
  const groups = Map.groupBy(remarks, ({ text }) => text)
  return [...groups].map(([text, group]) => {
    const lines = group.slice(0, linesShown).map(({ line }) => line)
    const more = group.length > linesShown ? ` and ${group.length - linesShown} more` : ''
    return `  ${group.length} × ${printable(text)} (line ${lines.join(', ')}${more})`
  })
}

const conversationListing: Listing<ImportedResult & { readonly file: string }> = {
  columns: [
    { title: 'ID', value: ({ conversationId }) => conversationId, style: () => 'cyan' },
    { title: 'APPENDED', value: ({ appended }) => appended, align: 'right' },
    { title: 'ALREADY THERE', value: ({ alreadyThere }) => alreadyThere, align: 'right' },
    { title: 'POSITION', value: ({ position }) => position, align: 'right' },
    { title: 'FILE', value: ({ file }) => file, shown: ({ file }) => basename(file), isRest: true },
  ],
  json: ({ conversationId }) => ({ id: conversationId }),
}

/** What was skipped belongs to the file, so in JSON the files are the list. */
const fileListing: Listing<ImportReport> = {
  columns: [],
  json: ({ file, content, results }) => ({
    id: file,
    format: content.format,
    records: content.records,
    conversations: results.map(({ conversationId, stateHash, ...rest }) => ({
      id: conversationId,
      ...rest,
      stateHash: toHex(stateHash),
    })),
    skipped: content.skipped,
    remarks: content.remarks,
  }),
}
