import { basename } from 'node:path'
import {
  assertConversationId,
  ColloquyError,
  type ErrorCode,
  type ImportedConversation,
  type ImportedFile,
  isColloquyError,
  toHex,
} from '@colloquy/core'
import { type ImportedResult, sha256 } from '@colloquy/engine'
import { type ImportOptions as FormatOptions, type OpenedTranscript, openTranscript } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodeOf, exitCodes, failureText } from '../exit.ts'
import type { Listing } from '../output.ts'
import { printable } from '../printable.ts'
import { type Progress, startProgress } from '../progress.ts'
import { openStore, type Store } from '../store.ts'
import { type FoundFile, findFiles, openFile, openStdin } from '../transcript-files.ts'

export interface ImportOptions {
  readonly id?: string
  readonly allowTruncated?: boolean
  readonly keepBadLines?: boolean
}

/** What is told of a file when it is done: its content is not kept. */
type ImportReport = { readonly file: string } & (
  | { readonly skipped: string }
  | (Pick<ImportedFile, 'format' | 'records' | 'skipped' | 'remarks'> & { readonly results: readonly ImportedResult[] })
)
type Imported = Extract<ImportReport, { results: unknown }>

/**
 * Imports transcripts. Each file is checked whole before its first append, and stands for itself: one that is refused leaves
 * nothing and does not keep the others out.
 */
export async function importFiles(context: Context, paths: readonly string[], options: ImportOptions): Promise<ExitCode> {
  const { output } = context
  const files: FoundFile[] = []
  for await (const file of findFiles(paths)) files.push(file)
  if (options.id !== undefined && (files.length !== 1 || paths.length !== 1)) {
    throw new ColloquyError('usage_invalid', {
      problem: `--id names the conversation of one file, and ${Math.max(files.length, paths.length)} were given`,
    })
  }
  if (options.id !== undefined) assertConversationId(options.id)
  if (files.length === 0) {
    if (output.json) await output.list(fileListing, [])
    output.say(`There is no file in ${paths.map((path) => printable(path)).join(', ')}, so nothing was imported.`)
    return exitCodes.ok
  }
  await using store = await openStore(context, 'create')
  const reports: ImportReport[] = []
  let failures = 0
  let failed: ExitCode = exitCodes.ok
  for (const [index, file] of files.entries()) {
    if ('skipped' in file) {
      reports.push({ file: file.path, skipped: file.skipped })
      continue
    }
    const counted = files.length > 1 ? ` (${index + 1} of ${files.length})` : ''
    try {
      reports.push(await importOne(context, store, { ...file, label: `${basename(file.path)}${counted}` }, options))
    } catch (error) {
      if (!isAboutFile(error)) throw error
      failures += 1
      failed = exitCodeOf(error)
      const style = { json: output.json, debug: context.options.debug ?? false }
      const about = isColloquyError(error, 'import_refused') ? {} : { file: file.path }
      context.io.stderr.write(`${failureText(error, { ...style, ...about })}\n`)
    }
  }
  await report(context, reports, failures)
  return failed
}

async function importOne(
  context: Context,
  store: Store,
  { path, isAsked, label }: { readonly path: string; readonly isAsked: boolean; readonly label: string },
  { id, ...flags }: ImportOptions,
): Promise<ImportReport> {
  const options: FormatOptions = { ...flags, ...(id !== undefined && { conversationId: id }) }
  const source = path === '-' ? 'stdin' : path
  let reading: Progress | undefined
  using file = path === '-' ? await openStdin(context.io) : openFile(path, (bytes) => reading?.advance(bytes))
  let opened: OpenedTranscript
  try {
    opened = openTranscript({ source, content: file.content, sha256, options })
  } catch (error) {
    if (isAsked || !isColloquyError(error, 'import_refused')) throw error
    return { file: source, skipped: error.details.problem }
  }
  // Directories hold other files too; one that was asked for is refused by `import`.
  if (opened.problem !== undefined && !isAsked) return { file: source, skipped: opened.problem }
  // Read once for its lines and once for what they say.
  reading = startProgress(context.io, `Reading ${label}`, file.content.size * 2, { isHidden: context.options.quiet ?? false })
  let content: ImportedFile<ImportedConversation>
  try {
    content = opened.import()
  } finally {
    reading[Symbol.dispose]()
    reading = undefined
  }
  const { format, records, skipped, remarks, conversations } = content
  using _progress = store.progress(
    `Importing ${label}`,
    conversations.reduce((sum, conversation) => sum + actionsIn(conversation), 0),
  )
  return { file: source, format, records, skipped, remarks, results: await store.engine.importConversation(conversations) }
}

function actionsIn({ checked, commands }: ImportedConversation): number {
  return checked?.actions ?? [...commands].reduce((sum, { actions }) => sum + actions.length, 0)
}

/** Failures of the store end everything; all others say something about the file. */
const storeFailures: readonly ErrorCode[] = ['database_unreachable', 'database_failed', 'append_outcome_unknown', 'log_corrupt']

function isAboutFile(error: unknown): boolean {
  return isColloquyError(error) && !storeFailures.includes(error.code)
}

async function report({ output }: Context, reports: readonly ImportReport[], failures: number): Promise<void> {
  const imported = reports.filter((one): one is Imported => 'results' in one)
  if (output.json) await output.list(fileListing, [reports])
  else {
    const rows = imported.flatMap(({ file, results }) => results.map((result) => ({ ...result, file })))
    await output.list(conversationListing, [rows])
  }
  for (const { file, skipped, remarks, records } of imported) {
    if (skipped.length > 0)
      output.say(`${printable(file)}: ${skipped.length} of ${records} records became no action of their own:`)
    for (const line of grouped(skipped.map((record) => ({ ...record, text: `${record.recordType}: ${record.reason}` }))))
      output.say(line)
    if (remarks.length > 0) output.say(`${printable(file)}: worth knowing:`)
    for (const line of grouped(remarks.map(({ line, remark }) => ({ line, text: remark })))) output.say(line)
  }
  for (const one of reports) if (!('results' in one)) output.say(`${printable(one.file)}: skipped: ${printable(one.skipped)}`)
  if (reports.length + failures > 1) output.say(summary(imported, reports.length - imported.length, failures))
  const first = imported[0]?.results[0]?.conversationId
  if (first !== undefined) output.next(['list'], ['show', first], ['replay', first, '--verify'])
}

function summary(imported: readonly Imported[], skipped: number, failures: number): string {
  const results = imported.flatMap((one) => one.results)
  const whole = results.filter(({ appended }) => appended === 0).length
  const actions = results.reduce((sum, { appended }) => sum + appended, 0)
  const files = (count: number) => `${count} ${count === 1 ? 'file' : 'files'}`
  return [
    `${files(imported.length)} with ${results.length} ${results.length === 1 ? 'conversation' : 'conversations'} imported`,
    `${actions} actions stored, ${whole} of the conversations were there already`,
    `${files(skipped)} skipped`,
    `${failures} refused`,
  ].join('; ')
}

const linesShown = 5
const kindsShown = 20

/** Remarks that differ in nothing but the lines and ids that they name as one, with the lines that they are about. */
function grouped(remarks: readonly { readonly line: number; readonly text: string }[]): string[] {
  const groups = [
    ...Map.groupBy(remarks, ({ text }) => text.replace(/\bline \d+/g, 'line …').replace(/\(uuid \S+\)/, '(uuid …)')),
  ]
  const shown = groups.slice(0, kindsShown).map(([kind, group]) => {
    const [first] = group
    const isOne = group.every(({ text }) => text === first?.text)
    const lines = group.slice(0, linesShown).map(({ line }) => line)
    const more = group.length > linesShown ? ` and ${group.length - linesShown} more` : ''
    return `  ${group.length} × ${printable(isOne ? (first?.text ?? kind) : kind)} (line ${lines.join(', ')}${more})`
  })
  const left = groups.slice(kindsShown).reduce((sum, [, group]) => sum + group.length, 0)
  return left > 0 ? [...shown, `  ${left} × something else: --json tells all of it`] : shown
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
  json: (report) =>
    'results' in report
      ? {
          id: report.file,
          format: report.format,
          records: report.records,
          conversations: report.results.map(({ conversationId, stateHash, ...rest }) => ({
            id: conversationId,
            ...rest,
            stateHash: toHex(stateHash),
          })),
          skipped: report.skipped,
          remarks: report.remarks,
        }
      : { id: report.file, isSkipped: true, reason: report.skipped },
}
