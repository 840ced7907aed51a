/**
 * Conversations as the Messages API takes them: `{system, messages}` with whatever else a request says, a list of such or JSON lines,
 * or the list of messages alone. What tells them from those of Chat Completions is what only this API has: calls, results, thoughts
 * and files as blocks of the content, and the system prompt beside the messages.
 *
 * The codec reads them, so they are exported as they were. Messages have no ids and are known by their place, a conversation without
 * an id by its content.
 */
import {
  defaultLimits,
  foreignRecordKept,
  type HeldConversation,
  type ImportedFile,
  type ImportRemark,
  isColloquyError,
  type Json,
  type JsonObject,
  type Media,
} from '@colloquy/core'
import { anthropicMessages as codec } from '../codecs/anthropic-messages.ts'
import type { Decoded } from '../codecs/codec.ts'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asList, asObject, asString } from './fields.ts'
import { badLineEntry, type FileValue, fileValues, valuesIn } from './file-values.ts'
import { mediaShelf } from './media-shelf.ts'
import { refusal } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { storable } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'anthropic-messages'

export const anthropicMessages: TranscriptFormat = {
  id: format,
  describe: "requests of Anthropic's Messages API, as they are exported too",
  files: ['json', 'jsonl'],
  matches(file) {
    const lists = requestsIn(valuesIn(file))
    return lists.some(isOwn) && lists.every(({ request }) => messagesOf(request).every(hasOwnRole))
  },
  importFile,
}

/** One conversation of a file. */
interface RequestValue extends Omit<FileValue, 'value'> {
  readonly request: JsonObject
}

function requestsIn(values: readonly FileValue[]): RequestValue[] {
  if (isBareList(values)) return [{ line: 1, path: '$', request: { messages: values.map(({ value }) => value) } }]
  return values.flatMap(({ line, path, value }) => (hasMessages(value) ? [{ line, path, request: value }] : []))
}

const isBareList = (values: readonly FileValue[]): boolean => values.length > 0 && values.every(({ value }) => isMessage(value))
const isMessage = (value: Json): boolean => typeof asObject(value)?.role === 'string' && asObject(value)?.messages === undefined
const hasMessages = (value: Json): value is JsonObject => asList(asObject(value)?.messages) !== undefined
const messagesOf = ({ messages }: JsonObject): readonly Json[] => asList(messages) ?? []

const roles = ['user', 'assistant', 'system']
const hasOwnRole = (message: Json): boolean => roles.includes(asString(asObject(message)?.role) ?? '')

/** Whether it can be nothing but a request of this API. A log of a call of another one has the answer beside its messages. */
function isOwn({ request }: RequestValue): boolean {
  if (asObject(request.response)?.choices !== undefined) return false
  const messages = messagesOf(request)
  const hasPrompt = asString(request.system) !== undefined || asList(request.system) !== undefined
  return (hasPrompt && messages.length > 0) || messages.some((message) => blocksOf(message).some(isOwnBlock))
}

const blocksOf = (message: Json): readonly Json[] => asList(asObject(message)?.content) ?? []
const ownBlock = /^((server_|mcp_)?tool_use|(\w+_)?tool_result|(redacted_)?thinking)$/

function isOwnBlock(block: Json): boolean {
  const { type, source } = asObject(block) ?? {}
  return ownBlock.test(asString(type) ?? '') || ((type === 'image' || type === 'document') && asObject(source) !== undefined)
}

/** @throws `import_refused` with the number of the conversation that is none */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks: read, badLines, skipped } = fileValues(file)
  const requests = requestsIn(values)
  const other = isBareList(values) ? undefined : values.find(({ value }) => !hasMessages(value))
  if (other) {
    const problem = `${other.path}.messages is not a list, so this is no conversation. Take it out of the file`
    throw refusal(file.source, other.line, problem)
  }
  const nextId = conversationIds(file.options)
  const conversations: HeldConversation[] = []
  const remarks: ImportRemark[] = [...read]
  let records = skipped.length + badLines.length
  for (const { line, path, request } of requests) {
    const { messages, media, settings } = decoded(file, line, path, request)
    const shelf = mediaShelf(file.sha256)
    const id = asConversationId(request.id)
    const lineOf = (index: number): number => (requests.length === 1 ? index + 1 : line)
    const prompts = messages.length - messagesOf(request).length
    const about = aboutEntries(shelf.replaceIn(settings), line, file)
    const written = writeThread({
      source: file.source,
      format,
      conversationId: nextId(id ?? `${format}-${contentId(request, file.sha256)}`),
      started: { source: { format, ...(id !== undefined && { id }) } },
      entries: [
        ...(conversations.length === 0 ? badLines.map((bad) => badLineEntry(format, bad)) : []),
        ...about,
        ...messages.map((whole, at): ThreadEntry => {
          const { v: _, id: __, ...message } = whole
          const index = at - prompts
          if (index < 0) return { kind: 'message', line: lineOf(0), id: 'system', message, records: [systemRecord(request)] }
          const number = index + 1
          const records = [{ index: number, record: messagesOf(request)[index] as Json }]
          return { kind: 'message', line: lineOf(index), id: `message-${number}`, message, records }
        }),
      ],
      media: { ...shelf, all: () => once([...media, ...shelf.all()]) },
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    })
    conversations.push(written.conversation)
    remarks.push(...written.remarks)
    records += messages.length + about.length
  }
  return { format, records, conversations, skipped, remarks }
}

function decoded(file: SourceFile, line: number, path: string, request: JsonObject): Decoded {
  let n = 0
  try {
    // Messages are named by their place in the file, below.
    return codec.decode(request, { sha256: file.sha256, ids: () => `decoded-${++n}` })
  } catch (error) {
    if (!isColloquyError(error)) throw error
    throw refusal(file.source, line, `${path} could not be read: ${error.message}`, error)
  }
}

function aboutEntries(about: JsonObject, line: number, file: SourceFile): ThreadEntry[] {
  if (Object.keys(about).length === 0) return []
  const record = storable(about)
  const reason = 'the fields of the request beside its messages'
  const action = foreignRecordKept({ format, recordType: 'conversation', line: 1, reason, record })
  return [{ kind: 'actions', line, id: `conversation:${contentId(record, file.sha256)}`, actions: [action] }]
}

/** It stands beside the list. */
const systemRecord = ({ system = null }: JsonObject): JsonObject => ({ index: 0, record: { system } })

const once = (media: readonly Media[]): Media[] => [...new Map(media.map((each) => [each.hash, each])).values()]
