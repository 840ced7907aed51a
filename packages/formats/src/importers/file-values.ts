import { foreignRecordKept, type ImportRemark, type Json, type SkippedRecord } from '@colloquy/core'
import { type BadLine } from './json-lines.ts'
import { refusal } from './refusal.ts'
import type { SourceFile } from './source-file.ts'
import type { ThreadActions } from './write-thread.ts'

/** One thing of a file that may hold one or many: an element of its list, the whole of it, or a value of its lines. */
export interface FileValue {
  /** The line where there are lines, else the number of the element; from 1. */
  readonly line: number
  /** `$`, or `$[n]` for an element of the list. */
  readonly path: string
  readonly value: Json
}

export interface FileValues {
  readonly values: readonly FileValue[]
  readonly remarks: readonly ImportRemark[]
  /** Lines that are no JSON and are taken as text all the same; the options ask for that. */
  readonly badLines: readonly BadLine[]
  readonly skipped: readonly SkippedRecord[]
}

/** A line that is no JSON, kept as text in the first conversation of the file. */
export function badLineEntry(format: string, { line, ordinal, text, problem }: BadLine): ThreadActions {
  const record = { format, recordType: 'unreadable', line, reason: `${problem}: kept as text`, record: text }
  return { kind: 'actions', line, id: `line:${line}${ordinal > 1 ? `.${ordinal}` : ''}`, actions: [foreignRecordKept(record)] }
}

/** For detection: what can be read of a file, without judging the rest. */
export function valuesIn(file: SourceFile): readonly FileValue[] {
  const document = file.jsonDocument()
  if (document !== undefined) return elementsOf(document.value)
  return file.jsonLines().records.map(({ line, value }) => ({ line, path: '$', value }))
}

/**
 * The values of a file that is one JSON value or JSON lines.
 * @throws `import_refused` for a line that is no JSON, unless the options take it
 */
export function fileValues(file: SourceFile): FileValues {
  const document = file.jsonDocument()
  if (document !== undefined) {
    const remarks = document.problems.map(({ path, problem }) => keptAsText(lineOf(path, document.value), path, problem))
    return { values: elementsOf(document.value), remarks, badLines: [], skipped: [] }
  }
  const { records, bad } = file.jsonLines()
  const skipped: SkippedRecord[] = []
  const badLines = bad.filter((line) => acceptBadLine(line, file, skipped))
  const remarks = records.flatMap(({ line, problems }) => problems.map(({ path, problem }) => keptAsText(line, path, problem)))
  return { values: valuesIn(file), remarks, badLines, skipped }
}

function elementsOf(value: Json): FileValue[] {
  if (!Array.isArray(value)) return [{ line: 1, path: '$', value }]
  return (value as readonly Json[]).map((element, index) => ({ line: index + 1, path: `$[${index}]`, value: element }))
}

/** What to tell of a value that JSON here would change. */
export const keptAsText = (line: number, path: string, problem: string): ImportRemark => ({
  line,
  remark: `${path} holds ${problem}, which JSON here would change: kept as text`,
})

function lineOf(path: string, value: Json): number {
  return Array.isArray(value) ? Number(/^\$\[(\d+)\]/.exec(path)?.[1] ?? 0) + 1 : 1
}

/** Whether a line that is no JSON is to be taken as text. @throws `import_refused` unless the options take it */
export function acceptBadLine({ line, problem, isTruncated }: BadLine, file: SourceFile, skipped: SkippedRecord[]): boolean {
  if (isTruncated && file.options.allowTruncated) {
    skipped.push({ line, recordType: 'cut line', reason: `${problem}: the file was cut here, or is still being written` })
    return false
  }
  if (file.options.keepBadLines) return true
  const next = isTruncated
    ? 'The file was cut here, or is still being written: import it when it is whole, or take what is whole of it with --allow-truncated (allowTruncated)'
    : 'Repair the line, or keep such lines as text with --keep-bad-lines (keepBadLines)'
  throw refusal(file.source, line, `${problem}. ${next}`)
}
