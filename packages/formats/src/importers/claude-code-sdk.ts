/**
 * What the Claude Code SDK and `claude -p --output-format stream-json` print: JSON lines, or one list of the same records.
 *
 * A run goes from `system/init` to `result` and is one turn; its prompt is an argument of the program and not printed. The lines of
 * one answer become one message at the place of the first, as in session files. What sub-agents say carries the id of the call that
 * began them, and becomes a conversation of its own. Command ids are made from uuids and message ids where there are any, else from
 * the place.
 */
import {
  type ConversationAction,
  defaultLimits,
  errorRecorded,
  type HeldConversation,
  type ImportedFile,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
  type Part,
  type SkippedRecord,
} from '@colloquy/core'
import { parseIsoTime } from '../iso-time.ts'
import { partOf, toolResultPart } from './claude-code/parts.ts'
import { unifiedStop } from './claude-code/stop-reason.ts'
import { durationOf, statusOf } from './claude-code/tool-outcome.ts'
import { usageOf } from './claude-code/usage.ts'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asCount, asDuration, asId, asList, asObject, asString } from './fields.ts'
import {
  createdAt,
  type FileRecord,
  fileRecords,
  foreignEntry,
  keptMeta,
  keptRecord,
  placeOf,
  readableRecords,
} from './file-records.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { refusingAt } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { turnMarks } from './turn-marks.ts'
import { type ThreadEntry, type ThreadMessage, writeThread } from './write-thread.ts'

const format = 'claude-code-sdk'

export const claudeCodeSdk: TranscriptFormat = {
  id: format,
  describe: 'what the Claude Code SDK and `claude -p` print as stream-json',
  files: ['jsonl', 'json'],
  matches: (file) => readableRecords(file).some(isSdkRecord),
  importFile,
}

const types = ['system', 'assistant', 'user', 'result', 'stream_event']

function isSdkRecord(value: Json): boolean {
  const { type, session_id: sessionId, sessionId: ofSessionFile } = asObject(value) ?? {}
  return typeof sessionId === 'string' && ofSessionFile === undefined && types.includes(asString(type) ?? '')
}

/** @throws `import_refused` with the line: one that is no JSON (see the options), or a record too large for an envelope */
function importFile(file: SourceFile): ImportedFile {
  const { records, count, skipped, remarks } = fileRecords(file)
  const nextId = conversationIds(file.options)
  const conversations: HeldConversation[] = []
  const answerIds = new Set(records.map(({ fields }) => asString(asObject(fields.message)?.id)))
  for (const session of sessionsOf(records)) {
    const id = asConversationId(session.find(({ value }) => isSdkRecord(value))?.fields.session_id)
    const conversationId = nextId(id ?? `${format}-${contentId(session[0]?.value ?? null, file.sha256)}`)
    const callers = callersIn(session)
    for (const [callId, branch] of branchesOf(session)) {
      const media = mediaShelf(file.sha256)
      const isSidechain = callId !== undefined
      const messageId = isSidechain ? callers.get(callId) : undefined
      const parent = isSidechain && { relation: 'sidechain' as const, conversationId, ...(messageId && { messageId, callId }) }
      const written = writeThread({
        source: file.source,
        format,
        conversationId: isSidechain ? nextId(`${conversationId}:sidechain:${callId}`) : conversationId,
        started: { source: { format, ...(id !== undefined && { id }) }, ...(parent && { parent }) },
        entries: entriesOf(branch, { source: file.source, isSidechain, answerIds }, media, skipped),
        media,
        envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
        ...(!isSidechain && { turns: 'marked' }),
      })
      conversations.push(written.conversation)
      remarks.push(...written.remarks)
    }
  }
  return { format, records: count, conversations, skipped, remarks }
}

/** Records without a session's id belong to the session of the one before them. */
function sessionsOf(records: readonly FileRecord[]): FileRecord[][] {
  const sessions = new Map<string | undefined, FileRecord[]>()
  let current = records.map(({ fields }) => asString(fields.session_id)).find((id) => id !== undefined)
  for (const record of records) {
    current = asString(record.fields.session_id) ?? current
    const session = sessions.get(current)
    if (session) session.push(record)
    else sessions.set(current, [record])
  }
  return [...sessions.values()]
}

/** The session itself, and its sub-agents by the call that began them. */
function branchesOf(records: readonly FileRecord[]): Map<string | undefined, FileRecord[]> {
  const branches = new Map<string | undefined, FileRecord[]>([[undefined, []]])
  for (const record of records) {
    const callId = asConversationId(record.fields.parent_tool_use_id)
    const branch = branches.get(callId)
    if (branch) branch.push(record)
    else branches.set(callId, [record])
  }
  return branches
}

/** The message of each call of the session itself. */
function callersIn(records: readonly FileRecord[]): Map<string, string> {
  const callers = new Map<string, string>()
  for (const record of records) {
    for (const block of blocksOf(record) ?? []) {
      const fields = asObject(block)
      const callId = fields?.type === 'tool_use' ? asId(fields.id) : undefined
      if (callId !== undefined) callers.set(callId, answerIdOf(record))
    }
  }
  return callers
}

/** Records that are told together: the lines of an answer, a compaction with its summary. */
interface Unit {
  readonly kind: string
  readonly records: [FileRecord, ...FileRecord[]]
}

function unitsOf(records: readonly FileRecord[]): Unit[] {
  const units: Unit[] = []
  const answers = new Map<string, Unit>()
  for (const record of records) {
    const kind = kindOf(record)
    const previous = units.at(-1)
    const joined = kind === 'assistant' ? answers.get(answerIdOf(record)) : undefined
    if (joined) {
      joined.records.push(record)
    } else if (previous?.kind === 'system/compact_boundary' && previous.records.length === 1 && isSummary(record)) {
      previous.records.push(record)
    } else {
      const unit: Unit = { kind, records: [record] }
      units.push(unit)
      if (kind === 'assistant') answers.set(answerIdOf(record), unit)
    }
  }
  return units
}

function kindOf(record: FileRecord): string {
  if (record.unread !== undefined) return 'unread'
  const kind = typeOf(record)
  return (kind === 'assistant' || kind === 'user') && blocksOf(record) === undefined ? 'unreadable message' : kind
}

function typeOf({ fields }: FileRecord): string {
  const [type, subtype] = [asString(fields.type) ?? 'unknown', asString(fields.subtype)]
  return type === 'system' && subtype !== undefined ? `${type}/${subtype}` : type
}

/** `answerIds`: of all answers of the file that are there whole. */
function entriesOf(
  records: readonly FileRecord[],
  {
    source,
    isSidechain,
    answerIds,
  }: { readonly source: string; readonly isSidechain: boolean; readonly answerIds: ReadonlySet<string | undefined> },
  media: MediaShelf,
  skipped: SkippedRecord[],
): ThreadEntry[] {
  const turns = turnMarks()
  let streamedId: string | undefined
  return unitsOf(records).flatMap((unit) => refusingAt(source, unit.records[0].line, () => unitEntries(unit)))

  function unitEntries(unit: Unit): ThreadEntry[] {
    const [record] = unit.records
    switch (unit.kind) {
      case 'assistant':
        return [answerEntry(unit.records, media)]
      case 'user':
        return [userEntry(record, isSidechain, media)]
      case 'system/compact_boundary':
        return [compactionEntry(unit.records, media)]
      case 'system/init':
        return [initEntry(record)]
      case 'result':
        return [resultEntry(record)]
      case 'stream_event':
        return streamEvent(record)
      default:
        return [foreign(record)]
    }
  }

  function foreign(record: FileRecord): ThreadEntry {
    const reason =
      kindOf(record) === 'unreadable message' ? 'a message without content that could be read' : 'a note of the program'
    return foreignEntry({ format, record, recordType: typeOf(record), reason, media, ...at(record) })
  }

  function initEntry(record: FileRecord): ThreadEntry {
    const set = Object.fromEntries(
      ['cwd', 'model', 'permissionMode', 'claude_code_version'].flatMap((name) => {
        const value = asString(record.fields[name])
        return value === undefined ? [] : [[name === 'claude_code_version' ? 'claudeCodeVersion' : name, value]]
      }),
    )
    const about = metadataChanged({ set }, { meta: keptMeta(media, record) })
    return { kind: 'actions', ...at(record), actions: [about, ...turns.start(at(record).id)] }
  }

  function resultEntry(record: FileRecord): ThreadEntry {
    const { total_cost_usd: cost, duration_ms: duration, num_turns: calls, is_error: isError, subtype } = record.fields
    const set: JsonObject = {
      ...(asDuration(cost) !== undefined && { totalCostUsd: cost as number }),
      ...(asDuration(duration) !== undefined && { durationMs: duration as number }),
      ...(asCount(calls) !== undefined && { modelCalls: calls as number }),
    }
    const hasFailed = isError === true || asString(subtype)?.startsWith('error') === true
    const problem = asString(subtype)?.startsWith('error')
      ? (subtype as string)
      : asString(record.fields.result) || 'the run failed'
    const actions: ConversationAction[] = [
      metadataChanged({ set }, { meta: keptMeta(media, record) }),
      ...(hasFailed ? [errorRecorded({ kind: 'run_failed', problem }), ...turns.interrupt(problem)] : turns.end()),
    ]
    return { kind: 'actions', ...at(record), actions }
  }

  /** Pieces of an answer as it was written. Where the answer stands whole, they say nothing more. */
  function streamEvent(record: FileRecord): ThreadEntry[] {
    const event = asObject(record.fields.event)
    if (event?.type === 'message_start') streamedId = asString(asObject(event.message)?.id)
    if (streamedId === undefined || !answerIds.has(streamedId)) return [foreign(record)]
    skipped.push({
      line: record.line,
      recordType: 'stream_event',
      reason: `a piece of the answer ${streamedId}, which stands whole`,
    })
    return []
  }
}

function answerEntry(records: Unit['records'], media: MediaShelf): ThreadEntry {
  const [first] = records
  const place = { ...at(first), id: answerIdOf(first) }
  const messages = records.map(({ fields }) => asObject(fields.message))
  const id = asString(messages[0]?.model)
  const isSynthetic = id === undefined || id === '' || id === '<synthetic>'
  const responseId = asString(messages[0]?.id)
  const stop = messages.map((message) => asString(message?.stop_reason)).findLast((reason) => reason !== undefined)
  const model: Message['model'] = {
    provider: 'anthropic',
    api: 'messages',
    id: id ?? '',
    ...(responseId !== undefined && { responseId }),
    ...(stop !== undefined && { stop: { unified: unifiedStop(stop), raw: stop } }),
  }
  return {
    kind: 'message',
    ...place,
    message: {
      role: 'assistant',
      parts: records.flatMap((record) => (blocksOf(record) ?? []).map((block) => partOf(block, media))),
      ...createdAt(place),
      ...(isSynthetic ? { author: { name: 'Claude Code' }, meta: { kind: 'synthetic' } } : { model }),
    },
    usage: isSynthetic ? undefined : usageOf(messages.map((message) => ({ message }))),
    records: records.map((record) => keptRecord(record)),
  }
}

/** Results of tools, or what a person or the calling agent said. */
function userEntry(record: FileRecord, isSidechain: boolean, media: MediaShelf): ThreadMessage {
  const blocks = blocksOf(record) ?? []
  const results = blocks.filter((block) => asObject(block)?.type === 'tool_result')
  // The richer copy beside the results belongs to one call, so it tells of a single result only.
  const details = results.length === 1 ? record.fields.tool_use_result : undefined
  const parts = blocks.map((block): Part => {
    const fields = asObject(block)
    if (fields?.type !== 'tool_result') return partOf(block, media)
    return toolResultPart(fields, statusOf(fields, details), undefined, media) ?? partOf(block, media)
  })
  const place = at(record)
  return {
    kind: 'message',
    ...place,
    message: {
      role: results.length > 0 ? 'tool' : 'user',
      parts,
      ...createdAt(place),
      meta: { kind: results.length > 0 ? 'tool_results' : 'prompt' },
    },
    ...(isSidechain && results.length === 0 && { participant: { id: 'parent', kind: 'program' as const } }),
    durationMs: durationOf(details),
    records: [keptRecord(record)],
  }
}

function compactionEntry([boundary, summary]: Unit['records'], media: MediaShelf): ThreadEntry {
  const parts = summary === undefined ? [] : (blocksOf(summary) ?? []).map((block) => summaryPart(block, media))
  const message: ThreadMessage['message'] = { role: 'user', parts, meta: { kind: 'compact_summary' } }
  return {
    kind: 'compaction',
    ...at(boundary),
    ...(summary && { summary: { ...message, ...createdAt(at(summary)) } }),
    records: [boundary, ...(summary ? [summary] : [])].map((record) => keptRecord(record)),
    otherwise: foreignEntry({
      format,
      record: boundary,
      recordType: typeOf(boundary),
      reason: 'a compaction with nothing before it in the file',
      media,
    }).actions,
  }
}

function summaryPart(block: Json, media: MediaShelf): Part {
  const text = asString(asObject(block)?.text)
  return text === undefined ? partOf(block, media) : { type: 'compaction', content: text }
}

const isSummary = ({ fields }: FileRecord): boolean =>
  fields.type === 'user' &&
  (fields.isSynthetic === true || fields.isCompactSummary === true) &&
  asObject(fields.message) !== undefined

/** The blocks of a message; a string is one text block. Undefined: there is no content that could be read. */
function blocksOf({ fields }: FileRecord): readonly Json[] | undefined {
  const content = asObject(fields.message)?.content
  return typeof content === 'string' ? [{ type: 'text', text: content }] : asList(content)
}

/** The answer that an assistant record is a piece of: the id of the API's message, else of the record itself. */
const answerIdOf = (record: FileRecord): string => asId(asObject(record.fields.message)?.id) ?? at(record).id

const at = (record: FileRecord) => ({
  line: record.line,
  id: asId(record.fields.uuid) ?? placeOf(record),
  occurredAt: parseIsoTime(record.fields.timestamp),
})
