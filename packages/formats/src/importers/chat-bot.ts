/**
 * Conversations of a chat bot in channels of a Discord-style service: one JSON file for each, with the history as a list of
 * thoughts, chat messages, tool calls and their responses. `exportChatBot` writes them, and the two undo each other.
 *
 * The file holds no id. It is called `<date>_conversation-with-<user>-in-<guild>.json`, which two conversations of a day may share,
 * so a conversation is known by that name and its `created_at`; a file with another name gets the name that it should have.
 *
 * A chat message does not say who spoke. It is the person's where it names a requester; where thoughts and calls do so too, the
 * requester is whom the bot works for, and the chat that begins an exchange is the person's and the one that ends it the bot's.
 */
import {
  type ConversationAction,
  defaultLimits,
  foreignRecordKept,
  type ImportedFile,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
  type Part,
  participantJoined,
} from '@colloquy/core'
import { formatIsoTime, parseIsoTime } from '../iso-time.ts'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asCallId, asId, asList, asObject, asString } from './fields.ts'
import { textOfDocument } from './json-document.ts'
import { mediaShelf } from './media-shelf.ts'
import { refusal } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { argumentsFromText, argumentsFromValue } from './tool-arguments.ts'
import { storable } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

export const chatBotFormat = 'chat-bot'

const messageTypes = ['thinking', 'chat', 'tool_call', 'tool_call_response'] as const
export type MessageType = (typeof messageTypes)[number]

export const chatBot: TranscriptFormat = {
  id: chatBotFormat,
  describe: 'conversations of a chat bot of a Discord-style service',
  files: ['json'],
  matches: (file) => isChatBot(file.jsonDocument()?.value),
  importFile,
}

function isChatBot(value: Json | undefined): boolean {
  const conversation = asObject(value)
  return (
    asList(conversation?.history) !== undefined &&
    ['guild_id', 'guild_name', 'participants'].some((key) => conversation?.[key] !== undefined)
  )
}

/** `2026-03-01_conversation-with-42-in-7`: what the file of a conversation is called, without `.json`. */
export function chatBotName({ created_at: createdAt, requester, guild_id: guildId }: JsonObject): string {
  const date = /^\d{4}-\d\d-\d\d/.exec(asString(createdAt) ?? '')?.[0] ?? dateOf(timeOf(createdAt))
  return `${date}_conversation-with-${nameable(requester)}-in-${nameable(guildId)}`
}

/** The id of a person or guild, which stands alone or in an object; a number too large for JavaScript is kept as its text. */
export function idOf(value: Json | undefined): string | undefined {
  const fields = asObject(value)
  const id = fields ? (fields.id ?? fields.user_id ?? fields.$text) : value
  return asId(typeof id === 'number' ? String(id) : (asObject(id)?.$text ?? id))
}

/** Seconds, milliseconds, or ISO 8601 with a zone, in microseconds. */
function timeOf(value: Json | undefined): number | undefined {
  if (typeof value === 'string') return parseIsoTime(value.replace(/^(\S{10}) /, '$1T'))
  if (typeof value !== 'number') return undefined
  const time = Math.round(value * (Math.abs(value) < 100_000_000_000 ? 1_000_000 : 1000))
  return Number.isSafeInteger(time) ? time : undefined
}

/** @throws `import_refused` with the number of the message, and the field that is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const document = file.jsonDocument()
  const conversation = asObject(document?.value)
  const history = asList(conversation?.history)
  if (document === undefined || conversation === undefined || history === undefined) {
    throw refusal(file.source, 1, '$.history is not a list. Give the file of one conversation')
  }
  for (const [index, message] of history.entries()) {
    const problem = problemWith(asObject(message))
    if (problem !== undefined) throw refusal(file.source, index + 1, `$.history[${index}]${problem}`)
  }
  const { history: _, ...about } = conversation
  const people = peopleIn(about)
  // Files come back as they were, so nothing is taken out of their texts.
  const media = { ...mediaShelf(file.sha256), replaceIn: <T extends Json>(value: T): T => value, putText: () => undefined }
  const keptPaths = new Set(document.problems.map(({ path }) => path))
  const keep = (record: Json, path: string): Json =>
    holdsMarks(record, keptPaths, path) ? { $text: textOfDocument(record, keptPaths, path) } : storable(record)
  const written = writeThread({
    source: file.source,
    format: chatBotFormat,
    conversationId: conversationIds(file.options)(conversationIdOf(file.source, about, file)),
    started: { source: { format: chatBotFormat } },
    entries: [
      ...aboutEntries(about, keep(about, '$'), people, file),
      ...messageEntries(history as readonly JsonObject[], people, keep),
    ],
    media,
    envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
  })
  const remarks = document.problems.map(({ path, problem }) => ({ line: 1, remark: `${path} holds ${problem}: kept as text` }))
  return {
    format: chatBotFormat,
    records: history.length + 1,
    conversations: [written.conversation],
    skipped: [],
    remarks: [...remarks, ...written.remarks],
  }
}

/** Whether a record is an entry of the history; records of other formats have a `message_type` too. */
export const isChatBotEntry = (record: Json | undefined): boolean => problemWith(asObject(record)) === undefined

function problemWith(message: JsonObject | undefined): string | undefined {
  if (message === undefined) return ' is not an object. Correct it'
  const type = asString(message.message_type)
  if (type === undefined) return '.message_type is not a text. Correct it'
  if (!(messageTypes as readonly string[]).includes(type)) {
    return `.message_type is ${JSON.stringify(type.slice(0, 40))}, not one of ${messageTypes.join(', ')}. Correct it`
  }
  return message.message_content === undefined ? '.message_content is missing. Correct it' : undefined
}

function conversationIdOf(source: string, about: JsonObject, file: SourceFile): string {
  const named = /(\d{4}-\d\d-\d\d_conversation-with-[^/\\]+-in-[^/\\]+)\.json$/.exec(source)?.[1]
  const createdAt = asId(about.created_at, 40) ?? String(timeOf(about.created_at) ?? 'unknown')
  return asConversationId(`${named ?? chatBotName(about)}_${createdAt}`) ?? `${chatBotFormat}-${contentId(about, file.sha256)}`
}

/** Those whom the file names, by id, with their names where it says them. */
type People = ReadonlyMap<string, string | undefined>

function peopleIn(about: JsonObject): People {
  const people = new Map<string, string | undefined>()
  for (const person of [about.requester, ...(asList(about.participants) ?? [])]) {
    const id = idOf(person)
    const name = asString(asObject(person)?.name) ?? asString(asObject(person)?.username)
    if (id !== undefined) people.set(id, people.get(id) ?? name)
  }
  return people
}

/** The people, and the fields of the conversation: they change with each message, so they are under an id made from them. */
function aboutEntries(about: JsonObject, record: Json, people: People, file: SourceFile): ThreadEntry[] {
  const occurredAt = timeOf(about.created_at)
  const entry = (id: string, actions: ConversationAction[]): ThreadEntry[] =>
    actions.length > 0 ? [{ kind: 'actions', line: 1, id, occurredAt, actions }] : []
  const set = Object.fromEntries(
    ['summary', 'guild_id', 'guild_name'].flatMap((key) => (about[key] === undefined ? [] : [[key, storable(about[key])]])),
  )
  const reason = 'the fields of the conversation beside its history'
  return [
    ...[...people].flatMap(([id, name]) =>
      entry(`participant:${id}`, [participantJoined({ participantId: id, kind: 'person', ...(name !== undefined && { name }) })]),
    ),
    ...entry(`conversation:${contentId(record, file.sha256)}`, [
      foreignRecordKept({ format: chatBotFormat, recordType: 'conversation', line: 1, reason, record }),
      ...(Object.keys(set).length > 0 ? [metadataChanged({ set })] : []),
    ]),
  ]
}

function messageEntries(
  history: readonly JsonObject[],
  people: People,
  keep: (record: Json, path: string) => Json,
): ThreadEntry[] {
  const isPersons = speakers(history)
  const waiting: string[] = []
  return history.map((raw, index): ThreadEntry => {
    const number = index + 1
    const type = raw.message_type as MessageType
    const said = raw.message_content as Json
    const requester = requesterOf(raw)
    const occurredAt = timeOf(raw.created_at)
    const isPerson = type === 'chat' && isPersons(index)
    const message: Omit<Message, 'v' | 'id'> = {
      role: isPerson ? 'user' : type === 'tool_call_response' ? 'tool' : 'assistant',
      parts: partsOf(type, said, number, waiting),
      ...(isPerson && requester !== undefined && { author: { id: requester } }),
      ...(occurredAt !== undefined && { createdAt: occurredAt }),
    }
    const name = people.get(requester ?? '')
    const participant =
      isPerson && requester !== undefined
        ? ({ id: requester, kind: 'person', ...(name !== undefined && { name }) } as const)
        : undefined
    return {
      kind: 'message',
      line: number,
      id: `message-${number}`,
      occurredAt,
      message,
      participant,
      records: [{ index: number, record: keep(raw, `$.history[${index}]`) }],
    }
  })
}

const requesterOf = (message: JsonObject | undefined): string | undefined => idOf(asObject(message?.meta)?.requester)

/** Which chat messages are a person's, by their place. */
function speakers(history: readonly JsonObject[]): (index: number) => boolean {
  const isSpeaker = history.every((message) => message.message_type === 'chat' || requesterOf(message) === undefined)
  const chats = history.filter((message) => message.message_type === 'chat')
  if (isSpeaker && chats.some((chat) => requesterOf(chat) === undefined))
    return (index) => requesterOf(history[index]) !== undefined
  const persons = new Set<number>()
  let isAsked = false
  for (const [index, { message_type: type }] of history.entries()) {
    if (type === 'chat' && !isAsked) persons.add(index)
    isAsked = type !== 'chat' || !isAsked
  }
  return (index) => persons.has(index)
}

function partsOf(type: MessageType, said: Json, number: number, waiting: string[]): Part[] {
  const text = asString(said)
  const words = (): Part =>
    text === undefined ? { type: 'custom', kind: `${chatBotFormat}.${type}`, payload: storable(said) } : { type: 'text', text }
  switch (type) {
    case 'chat':
      return [words()]
    case 'thinking':
      return text === undefined ? [words()] : [{ type: 'reasoning', text, redacted: false }]
    case 'tool_call':
      return calls(said, number, waiting) ?? [words()]
    case 'tool_call_response':
      return [response(said, number, waiting)]
    default:
      return type satisfies never
  }
}

/** One call or a list of them, as JSON or as its text. Undefined: no call can be read out of it. */
function calls(said: Json, number: number, waiting: string[]): Part[] | undefined {
  const value = typeof said === 'string' ? argumentsFromText(said).json : said
  const found = (asList(value) ?? [value]).map((call) => asObject(call))
  if (found.length === 0 || found.some((call) => nameOf(call) === undefined)) return undefined
  return found.map((call, index): Part => {
    const given = call?.arguments ?? asObject(call?.function)?.arguments ?? call?.args ?? call?.input
    const callId = asCallId(call?.id) ?? asCallId(call?.tool_call_id) ?? `call-${number}${index > 0 ? `.${index + 1}` : ''}`
    waiting.push(callId)
    const args = typeof given === 'string' ? argumentsFromText(given) : argumentsFromValue(given)
    return { type: 'tool_call', callId, name: nameOf(call) as string, args, executor: { kind: 'client' } }
  })
}

const nameOf = (call: JsonObject | undefined): string | undefined =>
  asString(call?.name) ?? asString(asObject(call?.function)?.name)

/** It answers the call that it names, else the one that waits longest. */
function response(said: Json, number: number, waiting: string[]): Part {
  const fields = asObject(said)
  const named = asCallId(fields?.tool_call_id) ?? asCallId(fields?.id)
  const place = named === undefined ? 0 : waiting.indexOf(named)
  const [waited] = place < 0 ? [] : waiting.splice(place, 1)
  const content = fields && named !== undefined && typeof fields.content === 'string' ? fields.content : said
  return {
    type: 'tool_result',
    callId: named ?? waited ?? `response-${number}`,
    status: fields?.status === 'error' || fields?.error ? 'error' : 'ok',
    content: [
      typeof content === 'string'
        ? { type: 'text', text: content }
        : { type: 'custom', kind: `${chatBotFormat}.tool_call_response`, payload: storable(content) },
    ],
  }
}

/** A `$text` of the file's own would be taken for one of ours when the file is written again, as would a `$message`. */
function holdsMarks(value: Json, keptPaths: ReadonlySet<string>, path: string): boolean {
  if (typeof value !== 'object' || value === null || keptPaths.has(path)) return false
  if (Array.isArray(value)) return value.some((item: Json, index) => holdsMarks(item, keptPaths, `${path}[${index}]`))
  return Object.entries(value).some(
    ([key, field]) => key === '$text' || key === '$message' || holdsMarks(field, keptPaths, `${path}.${key}`),
  )
}

const dateOf = (time: number | undefined): string => (time === undefined ? '0000-00-00' : formatIsoTime(time).slice(0, 10))

/** As part of a file name. */
const nameable = (value: Json | undefined): string => (idOf(value) ?? 'unknown').replaceAll(/[^\w.-]/g, '_').slice(0, 60)
