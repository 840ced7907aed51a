/**
 * Sessions of the coding agent pi, as `~/.pi/agent/sessions` holds them: a header, then messages and changes in file order.
 *
 * Records of older versions have no ids, so a record is known by its line, and a compaction names the first entry that the model
 * is still shown by its number. That counts every record of the session from 0, those that stand glued together on a line too.
 */
import {
  type ConversationAction,
  conversationTitled,
  defaultLimits,
  errorRecorded,
  type ImportedConversation,
  type ImportedFile,
  type ImportRemark,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
  type Part,
  type Usage,
} from '@colloquy/core'
import { parseIsoTime } from '../iso-time.ts'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asCallId, asCount, asId, asList, asObject, asString } from './fields.ts'
import {
  actionsEntry,
  type FileRecord,
  fileRecords,
  foreignEntry,
  keptMeta,
  keptRecord,
  type Place,
  placeOf,
  readableRecords,
  saidEntry,
} from './file-records.ts'
import type { MediaShelf } from './media-shelf.ts'
import { refusingAt } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { argumentsFromValue } from './tool-arguments.ts'
import { turnMarks } from './turn-marks.ts'
import { type ThreadEntry, type ThreadMessage, writeLongThread } from './write-thread.ts'

const format = 'pi'

export const pi: TranscriptFormat = {
  id: format,
  describe: 'sessions of the coding agent pi',
  files: ['jsonl', 'json'],
  matches: (file) => readableRecords(file).some(isHeader),
  streams: true,
  importFile,
}

function isHeader(value: Json): boolean {
  const { type, id, cwd, timestamp } = asObject(value) ?? {}
  return type === 'session' && typeof id === 'string' && typeof cwd === 'string' && typeof timestamp === 'string'
}

/** What is known of each record of the file at once, whether the file is held or not. */
interface Known {
  readonly id: string
  readonly isHeader: boolean
  readonly occurredAt: number | undefined
}

/** @throws `import_refused` with the line: one that is no JSON (see the options), or a record too large for an envelope */
function importFile(file: SourceFile): ImportedFile<ImportedConversation> {
  const known = new Map<FileRecord, Known>()
  const { records, count, skipped, remarks } = fileRecords(file, (record) => {
    known.set(record, { id: idOf(record), isHeader: isHeader(record.value), occurredAt: timeOf(record) })
  })
  const nextId = conversationIds(file.options)
  const conversations = sessionsOf(records, known).map((session) => {
    const header = session.find((record) => known.get(record)?.isHeader)
    const id = asConversationId(header?.fields.id)
    return writeLongThread(
      {
        source: file.source,
        format,
        conversationId: nextId(id ?? `pi-${contentId(header?.value ?? null, file.sha256)}`),
        started: { source: { format, ...(id !== undefined && { id }) } },
        startedAt: session.map((record) => known.get(record)?.occurredAt).find((time) => time !== undefined),
        entriesFor: (media, notes) => entriesOf(session, { source: file.source, header, known }, media, notes.remarks),
        file,
        envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
        turns: 'marked',
      },
      { skipped, remarks },
    )
  })
  return { format, records: count, conversations, skipped, remarks }
}

/** Every header begins a session; what stands before the first belongs to it. */
function sessionsOf(records: readonly FileRecord[], known: ReadonlyMap<FileRecord, Known>): FileRecord[][] {
  const sessions: FileRecord[][] = []
  let hasHeader = false
  for (const record of records) {
    const isHeader = known.get(record)?.isHeader === true
    if (sessions.length === 0 || (isHeader && hasHeader)) sessions.push([record])
    else sessions.at(-1)?.push(record)
    hasHeader ||= isHeader
  }
  return sessions
}

function* entriesOf(
  records: readonly FileRecord[],
  {
    source,
    header,
    known,
  }: {
    readonly source: string
    readonly header: FileRecord | undefined
    readonly known: ReadonlyMap<FileRecord, Known>
  },
  media: MediaShelf,
  remarks: ImportRemark[],
): Generator<ThreadEntry> {
  const turns = turnMarks()
  /** The numbers by which compactions name entries; pi cannot read a bad line and does not count it. */
  const counted = records.filter(({ isBadLine }) => !isBadLine)
  const numberOf = new Map<string, number>(counted.map((record, number) => [known.get(record)?.id ?? '', number]))
  let previous: string | undefined

  for (const record of records) {
    const parent = asId(record.fields.parentId)
    if (parent !== undefined && previous !== undefined && parent !== previous) {
      remarks.push({
        line: record.line,
        remark: `it goes on from ${parent}, not from the entry before it: branches are kept in file order`,
      })
    }
    previous = asId(record.fields.id) ?? previous
    yield refusingAt(source, record.line, () => entryOf(record))
  }

  function entryOf(record: FileRecord): ThreadEntry {
    const { fields, line, unread } = record
    const occurredAt = timeOf(record)
    const at = { line, id: idOf(record), occurredAt }
    const change = (names: readonly string[]): ThreadEntry | undefined => {
      const set = stringsIn(fields, names)
      const meta = keptMeta(media, record)
      return Object.keys(set).length > 0 ? actionsEntry(at, metadataChanged({ set }, { meta })) : undefined
    }
    const type = asString(fields.type) ?? 'unknown'
    const said = unread === undefined && type === 'message' ? messageEntry(record, at) : undefined
    const known = said ?? (unread === undefined ? otherEntry() : undefined)
    return known ?? foreignEntry({ format, record, recordType: type, reason: reasonFor(type), media, occurredAt, id: at.id })

    function otherEntry(): ThreadEntry | undefined {
      switch (type) {
        case 'session':
          return record === header
            ? change(['cwd', 'provider', 'modelId', 'thinkingLevel', 'version', 'branchedFrom'])
            : undefined
        case 'model_change':
          return change(['provider', 'modelId'])
        case 'thinking_level_change':
          return change(['thinkingLevel'])
        case 'session_info':
          return typeof fields.name === 'string' && fields.name !== ''
            ? actionsEntry(at, conversationTitled({ title: fields.name }, { meta: keptMeta(media, record) }))
            : undefined
        case 'compaction':
          return compactionEntry(record, at)
        default:
          return undefined
      }
    }
  }

  function messageEntry(record: FileRecord, at: Place): ThreadMessage | undefined {
    const message = asObject(record.fields.message)
    switch (message?.role) {
      case 'user':
        return userEntry(record, message, at)
      case 'assistant':
        return answerEntry(record, message, at)
      case 'toolResult':
        return resultEntry(record, message, at)
      case 'bashExecution':
        return commandEntry(record, message, at)
      default:
        return undefined
    }
  }

  function userEntry(record: FileRecord, message: JsonObject, at: Place): ThreadMessage | undefined {
    const parts = blocksOf(message.content)?.map((block) => plainPart(block, media))
    if (parts === undefined) return undefined
    return { ...saidEntry(at, record, { role: 'user', parts, meta: { kind: 'prompt' } }), before: turns.start(at.id) }
  }

  function answerEntry(record: FileRecord, raw: JsonObject, at: Place): ThreadMessage | undefined {
    const blocks = blocksOf(raw.content)
    if (blocks === undefined) return undefined
    const model = modelOf(raw)
    const origin = model && { provider: model.provider, ...(model.api !== undefined && { api: model.api }) }
    const parts = blocks.map((block) => answerPart(block, origin, media))
    const usage = usageOf(raw.usage)
    const calls = parts.some((part) => part.type === 'tool_call')
    return { ...saidEntry(at, record, { role: 'assistant', parts, ...(model && { model }) }), usage, after: ending(raw, calls) }
  }

  function ending(raw: JsonObject, calls: boolean): ConversationAction[] {
    const problem = asString(raw.errorMessage) ?? ''
    switch (raw.stopReason) {
      case 'aborted':
        return turns.interrupt(problem || 'aborted')
      case 'error':
        return [
          errorRecorded({ kind: 'model_error', problem: problem || 'the answer failed; the record does not say why' }),
          ...turns.interrupt('the model failed'),
        ]
      default:
        return calls ? [] : turns.end()
    }
  }

  function resultEntry(record: FileRecord, raw: JsonObject, at: Place): ThreadMessage | undefined {
    const callId = asCallId(raw.toolCallId)
    const blocks = blocksOf(raw.content)
    if (callId === undefined || blocks === undefined) return undefined
    const content = blocks.map((block) => plainPart(block, media))
    const part: Part = { type: 'tool_result', callId, status: statusOf(raw, content), content }
    return saidEntry(at, record, { role: 'tool', parts: [part] })
  }

  function compactionEntry(record: FileRecord, at: Place): ThreadEntry | undefined {
    const { summary, firstKeptEntryIndex, firstKeptEntryId } = record.fields
    if (typeof summary !== 'string') return undefined
    const wanted = asCount(firstKeptEntryIndex) ?? numberOf.get(asString(firstKeptEntryId) ?? '')
    const own = numberOf.get(at.id) ?? 0
    if (wanted === undefined) {
      remarks.push({ line: at.line, remark: 'the compaction does not say which entries stay: it covers all before it' })
    }
    const firstKept = wanted ?? own
    return {
      kind: 'compaction',
      ...at,
      keeps: (id) => (numberOf.get(id) ?? -1) >= firstKept,
      summary: {
        role: 'user',
        parts: [{ type: 'compaction', content: summary }],
        ...(at.occurredAt !== undefined && { createdAt: at.occurredAt }),
        meta: { kind: 'compact_summary' },
      },
      records: [keptRecord(record)],
      otherwise: [],
    }
  }
}

/** A command that the user ran in the shell; the model is shown it and its output as if the user had said them. */
function commandEntry(record: FileRecord, raw: JsonObject, at: Place): ThreadMessage | undefined {
  if (typeof raw.command !== 'string' || typeof raw.output !== 'string') return undefined
  const parts: Part[] = [
    { type: 'text', text: raw.command },
    { type: 'text', text: raw.output },
  ]
  return saidEntry(at, record, { role: 'user', parts, meta: { kind: 'local_command' } })
}

/** Newer versions give entries ids; a header's is that of the session. */
const idOf = (record: FileRecord): string =>
  (record.fields.type === 'session' ? undefined : asId(record.fields.id)) ?? placeOf(record)

const timeOf = ({ fields }: FileRecord): number | undefined => parseIsoTime(fields.timestamp)

function stringsIn(fields: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.flatMap((name) => (typeof fields[name] === 'string' ? [[name, fields[name]]] : [])))
}

function reasonFor(type: string): string {
  switch (type) {
    case 'message':
      return 'a message without a role or content that could be read'
    case 'session':
      return 'a header in the middle of a session'
    case 'compaction':
    case 'model_change':
    case 'thinking_level_change':
    case 'session_info':
      return 'it does not say what it should'
    default:
      return 'a type of record that this version does not know'
  }
}

/** The blocks of a content; a string is one text block. Undefined: there is no content that could be read. */
function blocksOf(content: Json | undefined): readonly Json[] | undefined {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : asList(content)
}

function answerPart(block: Json, origin: Part['origin'], media: MediaShelf): Part {
  const fields = asObject(block)
  if (fields?.type === 'thinking' && typeof fields.thinking === 'string') {
    const signature = asString(fields.thinkingSignature)
    return {
      type: 'reasoning',
      text: fields.thinking,
      ...(signature && { signature }),
      redacted: false,
      ...(origin && { origin }),
    }
  }
  const callId = asCallId(fields?.id)
  if (fields?.type === 'toolCall' && callId !== undefined && typeof fields.name === 'string') {
    const args = argumentsFromValue(fields.arguments)
    return { type: 'tool_call', callId, name: fields.name, args, executor: { kind: 'client' } }
  }
  return plainPart(block, media)
}

type PlainPart = Extract<Part, { type: 'tool_result' }>['content'][number]

function plainPart(block: Json, media: MediaShelf): PlainPart {
  const fields = asObject(block)
  if (fields?.type === 'text' && typeof fields.text === 'string') return { type: 'text', text: fields.text }
  if (fields?.type === 'image' && typeof fields.data === 'string' && typeof fields.mimeType === 'string') {
    const stored = media.put(fields.mimeType, fields.data)
    if (stored) return { type: 'media', kind: 'image', mediaType: fields.mimeType, source: { kind: 'hash', ...stored } }
  }
  return { type: 'custom', kind: `pi.${asString(fields?.type) ?? 'unknown'}`, payload: media.replaceIn(block) }
}

/** That a tool was stopped is only in the words that the model was told. */
function statusOf(raw: JsonObject, content: readonly PlainPart[]): Extract<Part, { type: 'tool_result' }>['status'] {
  if (raw.isError !== true) return 'ok'
  const last = content.at(-1)
  return last?.type === 'text' && /(?:^|\n)(?:Command|Operation) aborted$/.test(last.text) ? 'interrupted' : 'error'
}

/** pi names APIs after their provider, we after what they are. */
const apis: Readonly<Record<string, string>> = {
  'anthropic-messages': 'messages',
  'openai-responses': 'responses',
  'openai-completions': 'chat',
}
const stops = { stop: 'end', length: 'length', toolUse: 'tool_calls', error: 'error', aborted: 'interrupted' } as const

function modelOf(raw: JsonObject): Message['model'] {
  const [id, provider, api, stop] = [asString(raw.model), asString(raw.provider), asString(raw.api), asString(raw.stopReason)]
  if (!id) return undefined
  const unified = stop !== undefined && Object.hasOwn(stops, stop) ? stops[stop as keyof typeof stops] : 'other'
  return {
    provider: provider ?? 'unknown',
    ...(api !== undefined && { api: (Object.hasOwn(apis, api) && apis[api]) || api }),
    id,
    ...(stop !== undefined && { stop: { unified, raw: stop } }),
  }
}

/** Undefined when nothing was counted: a call that was stopped before it began. */
function usageOf(value: Json | undefined): Usage | undefined {
  const raw = asObject(value)
  const [input, output] = [asCount(raw?.input) ?? 0, asCount(raw?.output) ?? 0]
  const [cacheRead, cacheWrite] = [asCount(raw?.cacheRead) ?? 0, asCount(raw?.cacheWrite) ?? 0]
  if (raw === undefined || input + output + cacheRead + cacheWrite === 0) return undefined
  const dollars = asObject(raw.cost)?.total
  const costMicros = typeof dollars === 'number' ? asCount(Math.round(dollars * 1_000_000)) : undefined
  return {
    input,
    output,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: cacheWrite },
    reasoning: 0,
    ...(costMicros !== undefined && { costMicros }),
    raw,
  }
}
