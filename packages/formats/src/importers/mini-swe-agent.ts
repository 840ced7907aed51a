/**
 * Trajectories of mini-swe-agent: an object with `info` and `messages`, or, in the first versions, the list of messages alone.
 *
 * The program writes the whole file after every step, and nothing in it names the run: so the conversation is known by all that the
 * file says. The first versions have no tool calls, only text with a block of commands, and stay the text that the model was shown.
 */
import {
  type ConversationAction,
  defaultLimits,
  type ImportedFile,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
} from '@colloquy/core'
import { contentId, conversationIds } from './content-id.ts'
import { asList, asObject, asString } from './fields.ts'
import {
  type DocumentRecords,
  documentRecords,
  type FileRecord,
  fileRecords,
  foreignEntry,
  keptMeta,
  keptRecord,
} from './file-records.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { bodyOf, modelFrom, usageFrom } from './messages/openai-chat-message.ts'
import { refusingAt } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { placedTexts, withSlices } from './text-slices.ts'
import { turnMarks } from './turn-marks.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'mini-swe-agent'

export const miniSweAgent: TranscriptFormat = {
  id: format,
  describe: 'trajectories of mini-swe-agent',
  files: ['json'],
  matches: (file) => isTrajectory(file.jsonDocument()?.value),
  importFile,
}

function isTrajectory(value: Json | undefined): boolean {
  const { trajectory_format: version, messages } = asObject(value) ?? {}
  if (messages !== undefined && asString(version)?.startsWith('mini-swe-agent')) return true
  const list = asList(value) ?? []
  return list.every(isPlainMessage) && list.some((message) => isOutput(asObject(message)))
}

function isPlainMessage(value: Json): boolean {
  const { role, content, ...rest } = asObject(value) ?? {}
  return typeof role === 'string' && typeof content === 'string' && Object.keys(rest).every((key) => key === 'extra')
}

/** What the program writes around the output of a command. */
const isOutput = (message: JsonObject | undefined): boolean =>
  message?.role === 'user' && asString(message.content)?.startsWith('<returncode>') === true

/** @throws `import_refused` with the field that is no list, or the number of a message that cannot be stored */
function importFile(file: SourceFile): ImportedFile {
  const value = file.jsonDocument()?.value ?? null
  const { header, lists, remarks } = Array.isArray(value) ? listAlone(file) : documentRecords(file, 'messages')
  const messages = lists.get('messages') ?? []
  const media = mediaShelf(file.sha256)
  const instanceId = asString(header?.fields.instance_id)
  const written = writeThread({
    source: file.source,
    format,
    conversationId: conversationIds(file.options)(`${format}-${contentId(value, file.sha256)}`),
    started: { source: { format, ...(instanceId !== undefined && { id: instanceId }) } },
    entries: entriesOf(file.source, messages, header, media),
    media,
    envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    turns: 'marked',
  })
  return {
    format,
    records: messages.length + (header ? 1 : 0),
    conversations: [written.conversation],
    skipped: [],
    remarks: [...remarks, ...written.remarks],
  }
}

function listAlone(file: SourceFile): Omit<DocumentRecords, 'header'> & { readonly header?: FileRecord } {
  const { records, remarks } = fileRecords(file)
  return { lists: new Map([['messages', records]]), remarks }
}

function entriesOf(
  source: string,
  messages: readonly FileRecord[],
  header: FileRecord | undefined,
  media: MediaShelf,
): ThreadEntry[] {
  const turns = turnMarks()
  const config = asObject(asObject(asObject(header?.fields.info)?.config)?.model)
  const provider = /^([\w.-]+)\//.exec(asString(config?.model_name) ?? '')?.[1]
  let hasPrompt = false
  const entries = messages.map((record) => refusingAt(source, record.line, () => messageEntry(record) ?? foreign(record)))
  return header ? [...entries, outcomeEntry(header)] : entries

  function messageEntry(record: FileRecord): ThreadEntry | undefined {
    const { fields, line } = record
    const at = placed(record)
    if (fields.role === 'exit') {
      const status = asString(asObject(fields.extra)?.exit_status)
      const actions = runEnded(status, { meta: keptMeta(media, record) })
      return actions.length > 0 ? { kind: 'actions', ...at, actions } : undefined
    }
    const body = record.unread === undefined ? bodyOf(fields, media) : undefined
    if (body === undefined) return undefined
    const extra = asObject(fields.extra) ?? {}
    const response = asObject(extra.response)
    const model = body.role === 'assistant' && response ? modelFrom(response, provider) : undefined
    const isPrompt = body.role === 'user' && !hasPrompt
    hasPrompt ||= isPrompt
    const message = {
      ...body,
      parts: body.parts.map((part) => withOutcome(part, extra)),
      ...(at.occurredAt !== undefined && { createdAt: at.occurredAt }),
      ...(model && { model }),
      ...(body.role === 'user' && { meta: { kind: isPrompt ? 'prompt' : 'observation' } }),
    }
    const rest = fields.extra === undefined ? fields : { ...fields, extra: withSlices(extra, placedTexts('', message)) }
    return {
      kind: 'message',
      ...at,
      message,
      usage: response && usageFrom(response.usage, extra.cost),
      ...(body.role === 'user' && !isPrompt && { participant: { id: 'environment', kind: 'program' as const } }),
      ...(isPrompt && { before: turns.start(at.id) }),
      ...(submits(body, line) && { after: turns.end('submitted') }),
      records: [keptRecord(record, rest)],
    }
  }

  /** The first versions say in the last command alone that the run is over. */
  function submits({ role, parts }: Pick<Message, 'role' | 'parts'>, line: number): boolean {
    const isLast = !messages.slice(line).some(({ fields }) => fields.role === 'assistant')
    const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
    return (
      header === undefined &&
      role === 'assistant' &&
      isLast &&
      /COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|MINI_SWE_AGENT_FINAL_OUTPUT/.test(text)
    )
  }

  function runEnded(status: string | undefined, extra?: { readonly meta: JsonObject }): ConversationAction[] {
    if (status === undefined) return []
    return status.toLowerCase() === 'submitted' ? turns.end(status, extra) : turns.interrupt(status || 'ended', extra)
  }

  function outcomeEntry(record: FileRecord): ThreadEntry {
    const info = asObject(record.fields.info) ?? {}
    const set = Object.fromEntries(
      Object.entries({
        exitStatus: info.exit_status,
        miniVersion: info.mini_version,
        instanceId: record.fields.instance_id,
      }).filter(([, value]) => typeof value === 'string'),
    ) as JsonObject
    const about = metadataChanged({ set }, { meta: keptMeta(media, record) })
    return { kind: 'actions', line: 1, id: 'info', actions: [about, ...runEnded(asString(info.exit_status))] }
  }

  function foreign(record: FileRecord): ThreadEntry {
    const recordType = asString(record.fields.role) ?? 'unknown'
    return foreignEntry({
      format,
      record,
      recordType,
      reason: 'a role that this version does not know',
      media,
      ...placed(record),
    })
  }
}

const placed = ({ line, fields }: FileRecord) => ({
  line,
  id: `messages:${line}`,
  occurredAt: microseconds(asObject(fields.extra)?.timestamp),
})

function withOutcome(
  part: Message['parts'][number],
  { returncode, exception_info: exception }: JsonObject,
): Message['parts'][number] {
  if (part.type !== 'tool_result') return part
  const hasFailed = (typeof returncode === 'number' && returncode !== 0) || (typeof exception === 'string' && exception !== '')
  return hasFailed ? { ...part, status: 'error' } : part
}

/** Seconds since 1970, with a fraction. */
function microseconds(seconds: Json | undefined): number | undefined {
  const time = typeof seconds === 'number' ? Math.round(seconds * 1_000_000) : Number.NaN
  return Number.isSafeInteger(time) && time >= 0 ? time : undefined
}
