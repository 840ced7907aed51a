import type { Json, JsonObject } from '@colloquy/core'
import { parseIsoTime } from '../../iso-time.ts'
import { asId, asObject, asString } from '../fields.ts'
import type { JsonRecord } from '../json-lines.ts'

/** A record of a session file, with what every step asks it for. */
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
  readonly parentUuid: string | undefined
  readonly isSidechain: boolean
  /** Microseconds since 1970. */
  readonly occurredAt: number | undefined
  /** Of user and assistant records. */
  readonly message: JsonObject | undefined
  /** Why it is kept raw whatever it says; undefined: it is read. */
  readonly unread: string | undefined
}

export function sessionRecord({ line, ordinal, value, problems }: JsonRecord): SessionRecord {
  const fields = asObject(value) ?? {}
  const subtype = asString(fields.subtype)
  const type = asString(fields.type) ?? 'unknown'
  return {
    line,
    ordinal,
    raw: value,
    fields,
    type: subtype === undefined ? type : `${type}/${subtype}`,
    uuid: asId(fields.uuid),
    parentUuid: asId(fields.parentUuid),
    isSidechain: fields.isSidechain === true,
    occurredAt: parseIsoTime(fields.timestamp),
    message: type === 'user' || type === 'assistant' ? asObject(fields.message) : undefined,
    unread: problems.some(({ member }) => member === undefined)
      ? 'it holds what JSON here would change: kept as text'
      : undefined,
  }
}

/** The command id of a record: by uuid, else by its place, which stays while the file only grows at its end. */
export function commandIdOf({ uuid, line, ordinal }: SessionRecord): string {
  return uuid === undefined ? `claude-code:line:${line}${ordinal > 1 ? `.${ordinal}` : ''}` : `claude-code:${uuid}`
}

/** The answer that an assistant record is a piece of: the id of the API's message, else of the record itself. */
export function answerIdOf(record: SessionRecord): string {
  return asId(record.message?.id) ?? record.uuid ?? `line-${record.line}.${record.ordinal}`
}

/** The blocks of a message; a string is one text block. Undefined: there is no content that could be read. */
export function blocksOf(record: SessionRecord): readonly Json[] | undefined {
  const content = record.message?.content
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return Array.isArray(content) ? (content as readonly Json[]) : undefined
}

/** The text of a message that is nothing but text. */
export function plainTextOf(record: SessionRecord): string | undefined {
  const texts = blocksOf(record)?.map((block) => (asObject(block)?.type === 'text' ? asString(asObject(block)?.text) : undefined))
  return texts === undefined || texts.length === 0 || texts.includes(undefined) ? undefined : texts.join('\n')
}
