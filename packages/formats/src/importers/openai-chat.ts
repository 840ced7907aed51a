/**
 * Conversations in the message list of the Chat Completions API: `{messages}` alone or in JSON lines, the list itself, runs of
 * tau-bench (`traj`) and tau2 (`simulations`), and logs of one call of the OpenHands SDK (`messages` with the `response`).
 *
 * Messages have no ids and are known by their place. A conversation without an id is known by its content: one that has grown is
 * another one, because nothing in it says that it is the same. An OpenHands log of a model without native tools holds everything
 * twice; the form with calls is imported, the text that the model was sent is kept raw.
 */
import {
  defaultLimits,
  foreignRecordKept,
  type HeldConversation,
  type ImportedFile,
  type ImportRemark,
  type Json,
  type JsonObject,
  type Message,
} from '@colloquy/core'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asList, asObject, asString } from './fields.ts'
import { badLineEntry, type FileValue, fileValues, valuesIn } from './file-values.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { bodyOf, modelFrom, usageFrom } from './messages/openai-chat-message.ts'
import { refusal } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { storable } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'openai-chat'

export const openaiChat: TranscriptFormat = {
  id: format,
  describe: 'messages of the Chat Completions API: tau-bench, tau2, logs of OpenHands',
  files: ['json', 'jsonl'],
  matches: (file) => listsIn(valuesIn(file)).some(({ messages }) => messages.some(isMessage)),
  importFile,
}

/** One conversation of a file. */
interface MessageList extends FileValue {
  readonly messages: readonly Json[]
  /** A whole completion, which is the answer to the messages. */
  readonly completion?: JsonObject | undefined
  /** What is said of the conversation beside its messages. */
  readonly about: JsonObject
  readonly id: string | undefined
}

const isMessage = (value: Json): boolean => typeof asObject(value)?.role === 'string' && asObject(value)?.messages === undefined

function listsIn(values: readonly FileValue[]): MessageList[] {
  const [first] = values
  if (first && values.every(({ value }) => isMessage(value))) {
    return [{ ...first, path: '$', messages: values.map(({ value }) => value), about: {}, id: undefined }]
  }
  return values.flatMap(listIn)
}

function listIn({ line, path, value }: FileValue): MessageList[] {
  const fields = asObject(value)
  const simulations = asList(fields?.simulations)
  if (fields === undefined) return []
  if (simulations) {
    const { simulations: _, ...about } = fields
    const lists = simulations.flatMap((each, index) =>
      listIn({ line: index + 1, path: `${path}.simulations[${index}]`, value: each }),
    )
    return lists.map((list, index) => (index === 0 ? { ...list, about: { ...list.about, $file: about } } : list))
  }
  for (const key of ['traj', 'raw_messages', 'messages']) {
    const messages = asList(fields[key])
    if (messages === undefined) continue
    const completion = asObject(fields.response)
    const answer = asList(completion?.choices) ? completion : undefined
    const { [key]: _, response: __, ...rest } = fields
    const about = answer ? rest : { ...rest, ...(fields.response !== undefined && { response: fields.response }) }
    return [{ line, path: `${path}.${key}`, value, messages, completion: answer, about, id: asConversationId(fields.id) }]
  }
  return []
}

/** @throws `import_refused` with the number of the conversation or message, and the field that is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks: read, badLines, skipped } = fileValues(file)
  const lists = listsIn(values)
  const isOneList = lists.length === 1 && lists[0]?.path === '$'
  if (!isOneList) {
    for (const { line, path, value } of values) {
      if (listIn({ line, path, value }).length > 0) continue
      throw refusal(file.source, line, `${path}.messages is not a list, so this is no conversation. Take it out of the file`)
    }
  }
  const nextId = conversationIds(file.options)
  const conversations: HeldConversation[] = []
  const remarks: ImportRemark[] = [...read]
  let records = skipped.length + badLines.length
  for (const list of lists) {
    const { messages, completion, about, id } = list
    const media = mediaShelf(file.sha256)
    const wanted = id ?? `${format}-${contentId([about, messages, completion ?? null], file.sha256)}`
    const lineOf = (index: number): number => (lists.length === 1 ? index + 1 : list.line)
    const written = writeThread({
      source: file.source,
      format,
      conversationId: nextId(wanted),
      started: { source: { format, ...(id !== undefined && { id }) } },
      entries: [
        ...(conversations.length === 0 ? badLines.map((bad) => badLineEntry(format, bad)) : []),
        ...aboutEntries(list, file),
        ...messages.map((raw, index) => messageEntry(raw, index + 1, lineOf(index), media)),
        ...(completion ? completionEntries(completion, list, lineOf(messages.length), media) : []),
      ],
      media,
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    })
    conversations.push(written.conversation)
    remarks.push(...written.remarks)
    records += messages.length + (completion ? 1 : 0) + (Object.keys(about).length > 0 ? 1 : 0)
  }
  return { format, records, conversations, skipped, remarks }
}

function aboutEntries({ about, line }: MessageList, file: SourceFile): ThreadEntry[] {
  if (Object.keys(about).length === 0) return []
  const record = storable(about)
  const reason = 'the fields of the conversation beside its messages'
  const action = foreignRecordKept({ format, recordType: 'conversation', line: 1, reason, record })
  return [{ kind: 'actions', line, id: `conversation:${contentId(record, file.sha256)}`, actions: [action] }]
}

function messageEntry(raw: Json, number: number, line: number, media: MediaShelf): ThreadEntry {
  const id = `message-${number}`
  const fields = asObject(raw)
  const body = fields && bodyOf(fields, media)
  if (fields === undefined || body === undefined) return foreign(raw, number, line, media)
  // tau2 writes local times without a zone; only the provider's own record of the call says when it was.
  const call = asObject(fields.raw_data)
  const occurredAt = seconds(call?.created)
  const model = call && modelFrom(call)
  return {
    kind: 'message',
    line,
    id,
    occurredAt,
    message: { ...body, ...(occurredAt !== undefined && { createdAt: occurredAt }), ...(model && { model }) },
    usage: fields.usage ? usageFrom(call?.usage ?? fields.usage, fields.cost) : undefined,
    // A user with a model behind it is a simulation.
    participant: body.role === 'user' && model ? { id: 'user', kind: 'program', name: `user played by ${model.id}` } : undefined,
    records: [{ index: number, record: fields }],
  }
}

/** The answers of a completion: the first is the conversation's, more of them (`n`) are kept raw. */
function completionEntries(
  completion: JsonObject,
  { about, messages }: MessageList,
  line: number,
  media: MediaShelf,
): ThreadEntry[] {
  const number = messages.length + 1
  const message = asObject(asObject(asList(completion.choices)?.[0])?.message)
  const body = message && bodyOf(message, media)
  if (body === undefined) return [foreign(completion, number, line, media)]
  const model = modelFrom(completion)
  const occurredAt = seconds(about.timestamp) ?? seconds(completion.created)
  const answer: Omit<Message, 'v' | 'id'> = {
    ...body,
    ...(occurredAt !== undefined && { createdAt: occurredAt }),
    ...(model && { model }),
  }
  const usage = usageFrom(completion.usage, about.cost)
  return [
    {
      kind: 'message',
      line,
      id: `message-${number}`,
      occurredAt,
      message: answer,
      usage,
      records: [{ index: number, record: completion }],
    },
  ]
}

function foreign(raw: Json, index: number, line: number, media: MediaShelf): ThreadEntry {
  const recordType = asString(asObject(raw)?.role) ?? 'unknown'
  const reason = 'a message whose role and content could not be read'
  const action = foreignRecordKept({ format, recordType, line: index, reason, record: storable(media.replaceIn(raw)) })
  return { kind: 'actions', line, id: `message-${index}`, actions: [action] }
}

/** Seconds since 1970, with or without a fraction. */
function seconds(value: Json | undefined): number | undefined {
  if (typeof value !== 'number') return undefined
  const time = Math.round(value * 1_000_000)
  return Number.isSafeInteger(time) ? time : undefined
}
