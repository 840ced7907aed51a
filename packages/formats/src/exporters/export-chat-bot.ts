import { type ConversationAction, type Json, type JsonObject, type Message, type OpenedEnvelope, type Part } from '@colloquy/core'
import { chatBotFormat, chatBotName, idOf, isChatBotEntry, type MessageType } from '../importers/chat-bot.ts'
import { asList, asObject } from '../importers/fields.ts'
import { readJsonDocument } from '../importers/json-document.ts'
import { withWords } from '../importers/without-words.ts'
import { formatIsoTime } from '../iso-time.ts'

interface ChatBotConversation extends JsonObject {
  readonly history: readonly Json[]
}

/**
 * The conversation as the chat bot of a Discord-style service keeps it. What was imported from such a file comes out as it was, to
 * the last field and digit; participants are read from the log.
 *
 * Losses of other conversations: a message becomes one entry for each text, thought, call and result; media, citations and what
 * only a provider can read are named in a line of text or left out; compactions, errors, usage and turns are left out. Redacted
 * and erased messages are there without words.
 */
export function exportChatBot(envelopes: Iterable<OpenedEnvelope>): string {
  return `${write(conversationOf(envelopes), '')}\n`
}

/** `2026-03-01_conversation-with-42-in-7.json`; the date is that of `created_at`. */
export function chatBotFileName(envelopes: Iterable<OpenedEnvelope>): string {
  return `${chatBotName(conversationOf(envelopes))}.json`
}

function conversationOf(envelopes: Iterable<OpenedEnvelope>): ChatBotConversation {
  const all = [...envelopes]
  const redacted = new Set(all.flatMap(({ action }) => (isAction(action, 'messageRedacted') ? [action.payload.messageId] : [])))
  const history: Json[] = []
  const people = new Map<string, Json>()
  let about: JsonObject | undefined
  let title: string | undefined
  let metadata: Record<string, Json> = {}
  const requesters = new Set<string | undefined>()
  let isGrown = false

  for (const { action, salt } of all) {
    const at = formatIsoTime(action.occurredAt)
    if (salt === null) {
      if (action.type === 'messageAdded') history.push(entry(at, 'chat', '', { erased: true }))
      continue
    }
    if (isAction(action, 'conversationStarted')) title = action.payload.title ?? title
    else if (isAction(action, 'conversationTitled')) title = action.payload.title
    else if (isAction(action, 'metadataChanged')) metadata = { ...metadata, ...action.payload.set }
    else if (isAction(action, 'foreignRecordKept')) {
      const { format, recordType, record } = action.payload
      if (format === chatBotFormat && recordType === 'conversation') about = asObject(asWritten(record)) ?? about
    } else if (isAction(action, 'participantJoined') && action.payload.kind === 'person') {
      const { participantId, name } = action.payload
      people.set(participantId, name === undefined ? participantId : { id: participantId, name })
    } else if (isAction(action, 'messageAdded')) {
      const { message } = action.payload
      const record = recordOf(action.meta, message)
      if (redacted.has(message.id)) history.push(entry(at, typeOf(message), '', { redacted: true }))
      else if (record !== undefined) history.push(record)
      else history.push(...entriesOf(message, at))
      isGrown ||= record === undefined
      if (record !== undefined) requesters.add(idOf(asObject(asObject(record)?.meta)?.requester))
    }
  }
  const [first, last] = [all[0], all.at(-1)].map((envelope) => (envelope ? formatIsoTime(envelope.action.occurredAt) : null))
  if (about !== undefined) {
    return { ...about, ...(isGrown && { updated_at: last as Json }), ...withPeople(about, people, requesters), history }
  }
  return {
    created_at: first as Json,
    updated_at: last as Json,
    summary: metadata.summary ?? title ?? null,
    guild_id: metadata.guild_id ?? null,
    guild_name: metadata.guild_name ?? null,
    requester: [...people.values()][0] ?? null,
    participants: [...people.values()],
    history,
  }
}

/** Those whom the file names, as it names them, and those who joined since. */
function withPeople(
  about: JsonObject,
  people: ReadonlyMap<string, Json>,
  requesters: ReadonlySet<string | undefined>,
): JsonObject {
  const named = asList(about.participants)
  const known = new Set([about.requester, ...(named ?? [])].map(idOf))
  const isNew = (id: string): boolean => !known.has(id) && !requesters.has(id) && id !== 'user'
  const joined = [...people].filter(([id]) => isNew(id)).map(([, person]) => person)
  return joined.length === 0 ? {} : { participants: [...(named ?? []), ...joined] }
}

function isAction<Type extends ConversationAction['type']>(
  action: { readonly type: string },
  type: Type,
): action is Extract<ConversationAction, { type: Type }> {
  // Stored actions were checked by their schemas.
  return action.type === type
}

/** The entry of the file that a message was imported from, when that was one of this format. */
function recordOf(meta: JsonObject | undefined, message: Message): Json | undefined {
  const kept = asObject(asList(meta?.records)?.[0])
  const record = kept?.record === undefined ? undefined : asWritten(withWords(kept.record, message))
  return isChatBotEntry(record) ? record : undefined
}

/** Objects `{"$text": ...}` that stand for a piece of JSON, such as a number with more digits than JavaScript can hold. */
const pieces = new WeakSet<object>()

/** A record as the file has it. One that has a `$text` of its own is kept as text as a whole. */
function asWritten(record: Json): Json {
  const text = asObject(record)?.$text
  const document = typeof text === 'string' ? readJsonDocument(text) : undefined
  if (document === undefined) return withPieces(record, () => true)
  const keptPaths = new Set(document.problems.map(({ path }) => path))
  return withPieces(document.value, (path) => keptPaths.has(path))
}

function withPieces(value: Json, isPiece: (path: string) => boolean, path = '$'): Json {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item: Json, index) => withPieces(item, isPiece, `${path}[${index}]`))
  const fields = Object.entries(value as JsonObject)
  const [only] = fields
  if (fields.length === 1 && only?.[0] === '$text' && typeof only[1] === 'string' && isPiece(path)) {
    const piece = { $text: only[1] }
    pieces.add(piece)
    return piece
  }
  return Object.fromEntries(fields.map(([key, field]) => [key, withPieces(field, isPiece, `${path}.${key}`)]))
}

const entry = (createdAt: string, type: MessageType, content: Json, meta: JsonObject = {}): JsonObject => ({
  created_at: createdAt,
  message_type: type,
  message_content: content,
  meta: { tools: [], requester: null, ...meta },
})

function typeOf({ role, parts }: Message): MessageType {
  if (role === 'tool') return 'tool_call_response'
  const [part] = parts
  return part?.type === 'reasoning' ? 'thinking' : part?.type === 'tool_call' ? 'tool_call' : 'chat'
}

function entriesOf({ role, parts, author, createdAt }: Message, at: string): JsonObject[] {
  const time = createdAt === undefined ? at : formatIsoTime(createdAt)
  // A chat message with a requester is a person's.
  const requester = role === 'user' ? (author?.id ?? author?.name ?? 'user') : null
  return parts.flatMap((part): JsonObject[] => {
    switch (part.type) {
      case 'reasoning': {
        const words = part.text ?? part.summary?.join('\n\n')
        return words ? [entry(time, 'thinking', words)] : []
      }
      case 'tool_call': {
        const { callId: id, name, args } = part
        return [entry(time, 'tool_call', { id, name, arguments: args.raw }, { tools: [name] })]
      }
      case 'tool_result': {
        const { callId, status, content } = part
        return [entry(time, 'tool_call_response', { tool_call_id: callId, status, content: content.map(wordsIn).join('\n') })]
      }
      default: {
        const words = wordsIn(part)
        return words === '' ? [] : [entry(time, 'chat', words, { requester })]
      }
    }
  })
}

function wordsIn(part: Part): string {
  if (part.type === 'text' || part.type === 'refusal') return part.text
  if (part.type === 'compaction') return part.content ?? ''
  if (part.type === 'media') return `[${part.kind}${part.filename === undefined ? '' : ` ${part.filename}`}]`
  return part.type === 'custom' ? JSON.stringify(part.payload) : ''
}

/** JSON with two spaces, in which pieces of JSON stand as they are. */
function write(value: Json, indent: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const inner = `${indent}  `
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => `${inner}${write(item, inner)}`)
    return items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n${indent}]`
  }
  if (pieces.has(value)) return (value as { readonly $text: string }).$text
  const fields = Object.entries(value as JsonObject)
  const lines = fields.map(([key, field]) => `${inner}${JSON.stringify(key)}: ${write(field, inner)}`)
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n${indent}}`
}
