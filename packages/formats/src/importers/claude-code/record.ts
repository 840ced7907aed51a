import type { Json, JsonObject } from '@colloquy/core'
import { parseIsoTime } from '../../iso-time.ts'
import { asId, asObject, asString } from '../fields.ts'
import type { JsonRecord } from '../json-lines.ts'
import { blocksIn, factsOf, plainText, type RecordFacts } from './record-facts.ts'

/** A record of a session file, with what every step asks it for. Its content may be read from the file again each time. */
export interface SessionRecord {
  readonly line: number
  /** From 1: a line may hold several records. */
  readonly ordinal: number
  readonly raw: Json
  /** The record's own fields; none when it is no object. */
  readonly fields: JsonObject
  /** `user`, `assistant`, `system/api_error`, ... */
  readonly type: string
  /** Undefined when the record has none that can be an id. */
  readonly uuid: string | undefined
  /** Of sidechains, which are told apart by it. */
  readonly parentUuid: string | undefined
  readonly isSidechain: boolean
  /** Microseconds since 1970. */
  readonly occurredAt: number | undefined
  /** Of user and assistant records. */
  readonly message: JsonObject | undefined
  readonly facts: RecordFacts
  /** Why it is kept raw whatever it says; undefined: it is read. */
  readonly unread: string | undefined
}

/** `unreadable`: a line that is no JSON, and why. */
export function sessionRecord(record: JsonRecord, unreadable?: string): SessionRecord {
  return new LineRecord(record, unreadable)
}

/** The record under no uuid, to be kept raw. */
export function unreadRecord(record: SessionRecord, reason: string): SessionRecord {
  const { line, ordinal, type, parentUuid, isSidechain, occurredAt, facts } = record
  return {
    line,
    ordinal,
    type,
    parentUuid,
    isSidechain,
    occurredAt,
    facts,
    uuid: undefined,
    unread: reason,
    get raw() {
      return record.raw
    },
    get fields() {
      return record.fields
    },
    get message() {
      return record.message
    },
  }
}

class LineRecord implements SessionRecord {
  readonly line: number
  readonly ordinal: number
  readonly type: string
  readonly uuid: string | undefined
  readonly parentUuid: string | undefined
  readonly isSidechain: boolean
  readonly occurredAt: number | undefined
  readonly facts: RecordFacts
  readonly unread: string | undefined
  readonly #record: JsonRecord

  constructor(record: JsonRecord, unreadable: string | undefined) {
    this.#record = record
    const { fields } = this
    const subtype = asString(fields.subtype)
    const type = asString(fields.type) ?? 'unknown'
    this.line = record.line
    this.ordinal = record.ordinal
    this.type = unreadable !== undefined ? 'unreadable' : subtype === undefined ? type : `${type}/${subtype}`
    this.uuid = asId(fields.uuid)
    this.isSidechain = fields.isSidechain === true
    this.parentUuid = this.isSidechain ? asId(fields.parentUuid) : undefined
    this.occurredAt = parseIsoTime(fields.timestamp)
    this.facts = factsOf(fields, this.message)
    this.unread = unreadable ?? unreadReason(record)
  }

  get raw(): Json {
    return this.#record.value
  }

  get fields(): JsonObject {
    return asObject(this.#record.value) ?? {}
  }

  get message(): JsonObject | undefined {
    return this.type === 'user' || this.type === 'assistant' ? asObject(this.fields.message) : undefined
  }
}

function unreadReason({ problems }: JsonRecord): string | undefined {
  const isKeptWhole = problems.some(({ member }) => member === undefined)
  return isKeptWhole ? 'it holds what JSON here would change: kept as text' : undefined
}

/** The command id of a record: by uuid, else by its place, which stays while the file only grows at its end. */
export function commandIdOf({ uuid, line, ordinal }: SessionRecord): string {
  return uuid === undefined ? `claude-code:line:${line}${ordinal > 1 ? `.${ordinal}` : ''}` : `claude-code:${uuid}`
}

/** The answer that an assistant record is a piece of: the id of the API's message, else of the record itself. */
export function answerIdOf({ facts, uuid, line, ordinal }: SessionRecord): string {
  return facts.answerId ?? uuid ?? `line-${line}.${ordinal}`
}

export const blocksOf = ({ message }: SessionRecord): readonly Json[] | undefined => blocksIn(message)

export const plainTextOf = ({ message }: SessionRecord): string | undefined => plainText(blocksIn(message))
