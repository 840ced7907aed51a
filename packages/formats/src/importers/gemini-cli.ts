/**
 * Sessions of the Gemini CLI: one JSON object with the messages in it.
 *
 * A message of the model holds its tool calls together with their results, and becomes two of ours: what the model said, and what
 * the tools answered. `lastUpdated` is left out, because it changes whenever the file is written: a session that went on then gives
 * the commands it gave before, and more.
 */
import {
  conversationTitled,
  defaultLimits,
  errorRecorded,
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
import { createdAt, documentRecords, type FileRecord, foreignEntry, keptMeta, keptRecord } from './file-records.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { refusingAt } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { argumentsFromValue } from './tool-arguments.ts'
import { wordsOf } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'gemini-cli'
const origin = { provider: 'gemini', api: 'generate_content' }

export const geminiCli: TranscriptFormat = {
  id: format,
  describe: 'chats of the Gemini CLI',
  files: ['json'],
  matches: (file) => isSession(file.jsonDocument()?.value),
  importFile,
}

function isSession(value: Json | undefined): boolean {
  const { sessionId, projectHash, startTime, messages } = asObject(value) ?? {}
  return (
    typeof sessionId === 'string' && messages !== undefined && (typeof projectHash === 'string' || typeof startTime === 'string')
  )
}

/** @throws `import_refused` with the field that is no list, or the number of a message that cannot be stored */
function importFile(file: SourceFile): ImportedFile {
  const { header, lists, remarks } = documentRecords(file, 'messages')
  const messages = lists.get('messages') ?? []
  const id = asConversationId(header.fields.sessionId)
  const media = mediaShelf(file.sha256)
  const written = writeThread({
    source: file.source,
    format,
    conversationId: conversationIds(file.options)(id ?? `${format}-${contentId(header.fields.startTime ?? null, file.sha256)}`),
    started: { source: { format, ...(id !== undefined && { id }) } },
    entries: [
      ...aboutSession(header, media),
      ...messages.flatMap((record) => refusingAt(file.source, record.line, () => entriesOf(record, media))),
      ...titleOf(header),
    ],
    media,
    envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
  })
  return {
    format,
    records: 1 + messages.length,
    conversations: [written.conversation],
    skipped: [],
    remarks: [...remarks, ...lastUpdated(header), ...written.remarks],
  }
}

function aboutSession(header: FileRecord, media: MediaShelf): ThreadEntry[] {
  const { lastUpdated: _, summary, ...fields } = header.fields
  const record = typeof summary === 'string' ? fields : { ...fields, ...(summary !== undefined && { summary }) }
  const projectHash = asString(fields.projectHash)
  const about = metadataChanged(
    { set: projectHash === undefined ? {} : { projectHash } },
    { meta: keptMeta(media, header, record) },
  )
  return [{ kind: 'actions', line: 1, id: 'session', occurredAt: parseIsoTime(fields.startTime), actions: [about] }]
}

/** A summary is written when the session is over. */
function titleOf({ fields }: FileRecord): ThreadEntry[] {
  const title = asString(fields.summary)
  return title ? [{ kind: 'actions', line: 1, id: 'title', actions: [conversationTitled({ title })] }] : []
}

function lastUpdated({ fields, line }: FileRecord): ImportRemark[] {
  const remark = 'lastUpdated is left out: it changes whenever the file is written, and the last message has its time'
  return fields.lastUpdated === undefined ? [] : [{ line, remark }]
}

/** A message: what was said, and what the tools answered. */
function entriesOf(record: FileRecord, media: MediaShelf): ThreadEntry[] {
  const { fields, line } = record
  const at = { line, id: asId(fields.id) ?? `message:${line}`, occurredAt: parseIsoTime(fields.timestamp) }
  const type = asString(fields.type) ?? 'unknown'
  const parts = record.unread === undefined ? contentParts(fields.content, media) : undefined
  if (type === 'user' && parts !== undefined) {
    const message = { role: 'user' as const, parts, ...createdAt(at), meta: { kind: 'prompt' } }
    return [{ kind: 'message', ...at, message, records: [keptRecord(record)] }]
  }
  if (type === 'gemini' && parts !== undefined) {
    const calls = (asList(fields.toolCalls) ?? []).map((call) => callOf(call, media))
    const results = calls.flatMap(({ result }) => result ?? [])
    const model = modelOf(fields)
    const said = [...thoughtParts(fields.thoughts), ...parts, ...calls.map(({ part }) => part)]
    return [
      {
        kind: 'message',
        ...at,
        message: { role: 'assistant', parts: said, ...createdAt(at), ...(model && { model }) },
        usage: usageOf(fields.tokens),
        records: [keptRecord(record)],
        otherWords: wordsOf({ parts: results }, `${at.id}:results`),
      },
      ...(results.length === 0
        ? []
        : [
            {
              kind: 'message' as const,
              ...at,
              id: `${at.id}:results`,
              message: { role: 'tool' as const, parts: results, ...createdAt(at), meta: { kind: 'tool_results' } },
              records: [],
            },
          ]),
    ]
  }
  if (type === 'error' && typeof fields.content === 'string') {
    const failed = errorRecorded({ kind: 'gemini_error', problem: fields.content }, { meta: keptMeta(media, record) })
    return [{ kind: 'actions', ...at, actions: [failed] }]
  }
  const isNotice = type === 'info' || type === 'warning'
  const reason = isNotice
    ? 'a notice of the program, for the screen'
    : 'a message of a type or content that this version does not know'
  return [foreignEntry({ format, record, recordType: type, reason, media, ...at })]
}

interface Call {
  readonly part: Part
  /** Undefined while the call runs, and when it is none that could be read. */
  readonly result: Extract<Part, { type: 'tool_result' }> | undefined
}

const outcomes = { success: 'ok', error: 'error', cancelled: 'interrupted' } as const

function callOf(call: Json, media: MediaShelf): Call {
  const fields = asObject(call)
  const callId = asCallId(fields?.id)
  if (fields === undefined || callId === undefined || typeof fields.name !== 'string') {
    return { part: { type: 'custom', kind: 'gemini-cli.toolCall', payload: media.replaceIn(call) }, result: undefined }
  }
  const status = asString(fields.status) ?? ''
  const outcome = Object.hasOwn(outcomes, status) ? outcomes[status as keyof typeof outcomes] : undefined
  const content = (asList(fields.result) ?? []).map((response) => responsePart(response, media))
  return {
    part: { type: 'tool_call', callId, name: fields.name, args: argumentsFromValue(fields.args), executor: { kind: 'client' } },
    result: outcome && { type: 'tool_result', callId, status: outcome, content },
  }
}

type ResultPart = Extract<Part, { type: 'tool_result' }>['content'][number]

/** What the model was told: mostly `{functionResponse: {response: {output}}}`, where an error stands instead of the output. */
function responsePart(response: Json, media: MediaShelf): ResultPart {
  const inner = asObject(asObject(asObject(response)?.functionResponse)?.response)
  const text = asString(inner?.output) ?? asString(inner?.error)
  if (inner !== undefined && text !== undefined && Object.keys(inner).length === 1) return { type: 'text', text }
  return contentPart(response, media)
}

/** A text, or a list of Gemini's parts. Undefined: there is no content that could be read. */
function contentParts(content: Json | undefined, media: MediaShelf): Part[] | undefined {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  const list = asList(content) ?? (asObject(content) ? [content as Json] : undefined)
  return list?.map((part) => contentPart(part, media))
}

function contentPart(part: Json, media: MediaShelf): ResultPart {
  const fields = asObject(part)
  if (typeof part === 'string') return { type: 'text', text: part }
  if (typeof fields?.text === 'string' && fields.thought !== true) return { type: 'text', text: fields.text }
  const inline = asObject(fields?.inlineData)
  const mediaType = asString(inline?.mimeType) ?? asString(asObject(fields?.fileData)?.mimeType) ?? 'application/octet-stream'
  const kind = /^(image|audio|video)\//.exec(mediaType)?.[1] as 'image' | 'audio' | 'video' | undefined
  const stored = typeof inline?.data === 'string' ? media.put(mediaType, inline.data) : undefined
  if (stored) return { type: 'media', kind: kind ?? 'file', mediaType, source: { kind: 'hash', ...stored } }
  const url = asString(asObject(fields?.fileData)?.fileUri)
  if (url !== undefined) return { type: 'media', kind: kind ?? 'file', mediaType, source: { kind: 'url', url } }
  return { type: 'custom', kind: `gemini.${Object.keys(fields ?? {})[0] ?? 'unknown'}`, payload: media.replaceIn(part) }
}

/** Summaries of what the model thought; its thoughts themselves are not in the file. */
function thoughtParts(thoughts: Json | undefined): Part[] {
  return (asList(thoughts) ?? []).map((thought): Part => {
    const { subject, description } = asObject(thought) ?? {}
    const summary = [subject, description].filter((text) => typeof text === 'string')
    return { type: 'reasoning', summary, redacted: false, origin }
  })
}

function modelOf(fields: JsonObject): Message['model'] {
  const id = asString(fields.model)
  return id ? { ...origin, id } : undefined
}

/** `input` holds what was read from the cache, and `total` what tools were prompted with besides; thoughts are paid as output. */
function usageOf(value: Json | undefined): Usage | undefined {
  const raw = asObject(value)
  const [input, output] = [asCount(raw?.input), asCount(raw?.output)]
  if (raw === undefined || input === undefined || output === undefined) return undefined
  const [thoughts, tool] = [asCount(raw.thoughts) ?? 0, asCount(raw.tool) ?? 0]
  const cacheRead = Math.min(asCount(raw.cached) ?? 0, input)
  return {
    input: input - cacheRead + tool,
    output: output + thoughts,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
    reasoning: thoughts,
    raw,
  }
}
