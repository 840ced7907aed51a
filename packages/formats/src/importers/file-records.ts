/** The records of a file: of JSON lines, of one JSON list, or of lists that stand in one JSON object. */
import {
  type ConversationAction,
  foreignRecordKept,
  type ImportRemark,
  type Json,
  type JsonObject,
  type SkippedRecord,
} from '@colloquy/core'
import { asList, asObject } from './fields.ts'
import { acceptBadLine, fileValues, keptAsText } from './file-values.ts'
import { type JsonRecord } from './json-lines.ts'
import type { MediaShelf } from './media-shelf.ts'
import { refusal } from './refusal.ts'
import type { SourceFile } from './source-file.ts'
import { storable } from './without-words.ts'
import type { ThreadActions, ThreadMessage } from './write-thread.ts'

export interface FileRecord {
  /** The line, or the number in the list; from 1. */
  readonly line: number
  /** From 1: a line may hold several records. */
  readonly ordinal: number
  readonly value: Json
  /** The record's own fields; none when it is no object. */
  readonly fields: JsonObject
  /** Why it is kept raw whatever it says; undefined: it is read. */
  readonly unread: string | undefined
  /** A line that is no JSON, taken as text. */
  readonly isBadLine: boolean
}

export interface FileRecords {
  readonly records: readonly FileRecord[]
  /** All there are: also those that are skipped already. */
  readonly count: number
  readonly skipped: SkippedRecord[]
  readonly remarks: ImportRemark[]
}

/**
 * The records of JSON lines, or of one list. Those of a file that is not held read their values again when they are asked for them:
 * what has to be known of all of them at once is gathered by `look`, which gets each one as it is read.
 * @throws `import_refused` for a line that is no JSON, unless the options take it
 */
export function fileRecords(file: SourceFile, look: (record: FileRecord) => void = () => {}): FileRecords {
  const records: FileRecord[] = []
  const skipped: SkippedRecord[] = []
  const remarks: ImportRemark[] = []
  let count = 0
  for (const item of file.lines()) {
    count += 1
    if ('value' in item) {
      records.push(new LineRecord(item))
      for (const { path, problem } of item.problems) remarks.push(keptAsText(item.line, path, problem))
    } else if (acceptBadLine(item, file, skipped)) {
      records.push(badRecord(item.line, item.ordinal, item.text, item.problem))
    } else continue
    look(records.at(-1) as FileRecord)
  }
  return { records, count, skipped, remarks }
}

/** A record that leaves its value where it is: in memory, or in the file. */
class LineRecord implements FileRecord {
  readonly line: number
  readonly ordinal: number
  readonly unread: string | undefined
  readonly isBadLine = false
  readonly #record: JsonRecord

  constructor(record: JsonRecord) {
    this.line = record.line
    this.ordinal = record.ordinal
    this.unread = unreadReason(record.value)
    this.#record = record
  }

  get value(): Json {
    return this.#record.value
  }

  get fields(): JsonObject {
    return asObject(this.value) ?? {}
  }
}

/** What one JSON object holds: its lists of records, and its other fields as one record. */
export interface DocumentRecords {
  readonly header: FileRecord
  /** Under the names that were asked for; empty where the object has no such field. */
  readonly lists: ReadonlyMap<string, readonly FileRecord[]>
  readonly remarks: readonly ImportRemark[]
}

/** @throws `import_refused` for a field of these names that is no list */
export function documentRecords(file: SourceFile, ...names: readonly string[]): DocumentRecords {
  const { values, remarks } = fileValues(file)
  const fields = asObject(values[0]?.value) ?? {}
  const lists = names.map((name): [string, FileRecord[]] => {
    const list = asList(fields[name] ?? [])
    if (list === undefined) throw refusal(file.source, 1, `$.${name} is not a list. Give a transcript as its program wrote it`)
    return [name, list.map((value, index) => fileRecord(index + 1, 1, value))]
  })
  const rest = Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))
  return { header: fileRecord(1, 1, rest), lists: new Map(lists), remarks }
}

/** For detection: the records that can be read, without judging the rest. */
export function readableRecords(file: SourceFile): readonly Json[] {
  const value = file.jsonDocument()?.value
  return Array.isArray(value) ? (value as readonly Json[]) : file.jsonLines().records.map((record) => record.value)
}

export function fileRecord(line: number, ordinal: number, value: Json): FileRecord {
  return { line, ordinal, value, fields: asObject(value) ?? {}, unread: unreadReason(value), isBadLine: false }
}

function unreadReason(value: Json): string | undefined {
  const fields = asObject(value)
  const isText = typeof fields?.$text === 'string' && Object.keys(fields).length === 1
  return isText ? 'it holds what JSON here would change: kept as text' : undefined
}

function badRecord(line: number, ordinal: number, text: string, problem: string): FileRecord {
  return { line, ordinal, value: text, fields: {}, unread: `${problem}: kept as text`, isBadLine: true }
}

/** Where a record stands, as ids say it. It stays while the file only grows at its end. */
export const placeOf = ({ line, ordinal }: FileRecord): string => `line:${line}${ordinal > 1 ? `.${ordinal}` : ''}`

/** A record, or what of it is told nowhere else, as `meta.records` keeps it. */
export const keptRecord = ({ line, ordinal, value }: FileRecord, record: Json = value): JsonObject => ({
  line,
  ...(ordinal > 1 && { ordinal }),
  record,
})

/** `meta` of an action that says what a record says: the record, or what of it is told nowhere else, with its files by hash. */
export const keptMeta = (media: MediaShelf, record: FileRecord, value?: Json): { readonly records: readonly Json[] } => ({
  records: [storable(media.replaceIn(keptRecord(record, value)))],
})

/** Where and when a record stands, under the id of what is made of it. */
export interface Place {
  readonly line: number
  readonly id: string
  readonly occurredAt: number | undefined
}

export const createdAt = ({ occurredAt }: Pick<Place, 'occurredAt'>) => occurredAt !== undefined && { createdAt: occurredAt }

/** A record that says something, as a message of the time at which it stands. */
export function saidEntry(place: Place, record: FileRecord, message: ThreadMessage['message']): ThreadMessage {
  return { kind: 'message', ...place, message: { ...message, ...createdAt(place) }, records: [keptRecord(record)] }
}

export function actionsEntry(place: Place, ...actions: readonly ConversationAction[]): ThreadActions {
  return { kind: 'actions', ...place, actions }
}

export interface ForeignRecord {
  readonly format: string
  readonly record: FileRecord
  readonly recordType: string
  readonly reason: string
  readonly media: MediaShelf
  readonly occurredAt?: number | undefined
  /** Default: its place. */
  readonly id?: string | undefined
}

/** A record that has no meaning for us, kept as it was. */
export function foreignEntry({ format, record, recordType, reason, media, occurredAt, id }: ForeignRecord): ThreadActions {
  const { line, value, unread, isBadLine } = record
  const kept = {
    format,
    recordType: isBadLine ? 'unreadable' : recordType,
    line,
    reason: unread ?? reason,
    record: storable(media.replaceIn(value)),
  }
  return { kind: 'actions', line, id: id ?? placeOf(record), occurredAt, actions: [foreignRecordKept(kept)] }
}
