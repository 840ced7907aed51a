/**
 * Threads of LangGraph (`values.messages`, or `channel_values.messages` of a checkpoint) and lists of LangChain messages, plain or
 * serialised as constructors.
 *
 * A thread is known by its `thread_id`, a message by its id, and nothing that is stored names a place in the list: the graph may
 * take messages out of it. All else that the thread holds changes with each step and is kept raw under an id made from it.
 */
import {
  type ConversationAction,
  conversationTitled,
  defaultLimits,
  foreignRecordKept,
  type ImportedFile,
  type Json,
  type JsonObject,
} from '@colloquy/core'
import { parseIsoTime } from '../iso-time.ts'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asId, asList, asObject, asString } from './fields.ts'
import { badLineEntry, type FileValue, fileValues, valuesIn } from './file-values.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { langChainBody, langChainMessage, langChainModel, langChainUsage } from './messages/langchain-message.ts'
import { refusal } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { storable } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'langgraph'

export const langgraph: TranscriptFormat = {
  id: format,
  describe: 'threads of LangGraph, messages of LangChain',
  files: ['json', 'jsonl'],
  matches: (file) => threadsIn(valuesIn(file)).some(({ messages }) => messages.some(isLangChain)),
  importFile,
}

interface Thread {
  readonly line: number
  readonly messages: readonly Json[]
  /** The thread without its messages. */
  readonly about: JsonObject
  readonly id: string | undefined
  /** Of the last step: messages have no times. */
  readonly time: number | undefined
  readonly title: string | undefined
}

/** `type` alone is too common a field: content, or the mark of a constructor, must stand beside it. */
function isLangChain(value: Json): boolean {
  const fields = langChainMessage(value)?.fields
  return fields !== undefined && (typeof fields.content === 'string' || asList(fields.content) !== undefined)
}

const stateKeys = ['values', 'channel_values'] as const

function threadsIn(values: readonly FileValue[]): Thread[] {
  if (values.length > 0 && values.every(({ value }) => langChainMessage(value) !== undefined)) {
    const messages = values.map(({ value }) => value)
    return [{ line: 1, messages, about: {}, id: undefined, time: undefined, title: undefined }]
  }
  return values.flatMap((value) => threadOf(value) ?? [])
}

function threadOf({ line, value }: FileValue): Thread | undefined {
  const fields = asObject(value)
  for (const key of [...stateKeys, undefined]) {
    const state = key === undefined ? fields : asObject(fields?.[key])
    const messages = asList(state?.messages)
    if (fields === undefined || state === undefined || messages === undefined) continue
    const { messages: _, ...rest } = state
    const about = key === undefined ? rest : { ...fields, [key]: rest }
    const id =
      asConversationId(asObject(fields.metadata)?.thread_id) ??
      asConversationId(asObject(fields.checkpoint)?.thread_id) ??
      asConversationId(fields.thread_id)
    return { line, messages, about, id, time: parseIsoTime(fields.created_at), title: asString(state.title) }
  }
  return undefined
}

/** @throws `import_refused` with the number of the thread, and the field that is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks, badLines, skipped } = fileValues(file)
  const threads = threadsIn(values)
  const isList = values.every(({ value }) => langChainMessage(value) !== undefined)
  const stranger = isList ? undefined : values.find((value) => threadOf(value) === undefined)
  if (stranger) {
    throw refusal(file.source, stranger.line, `${stranger.path}.values.messages is not a list. Take it out of the file`)
  }
  const nextId = conversationIds(file.options)
  const written = threads.map((thread, index) => {
    const { line, messages, id, about } = thread
    const lineOf = (place: number): number => (threads.length === 1 ? place + 1 : line)
    const media = mediaShelf(file.sha256)
    return writeThread({
      source: file.source,
      format,
      conversationId: nextId(id ?? `${format}-${contentId([about, messages], file.sha256)}`),
      started: { source: { format, ...(id !== undefined && { id }) } },
      entries: [
        ...(index === 0 ? badLines.map((bad) => badLineEntry(format, bad)) : []),
        ...aboutEntries(thread, file),
        ...messages.map((raw, place) => messageEntry(raw, place, lineOf(place), media)),
      ],
      media,
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    })
  })
  const records = threads.map(({ messages, about }) => messages.length + (Object.keys(about).length > 0 ? 1 : 0))
  return {
    format,
    records: records.reduce((sum, count) => sum + count, skipped.length + badLines.length),
    conversations: written.map(({ conversation }) => conversation),
    skipped,
    remarks: [...remarks, ...written.flatMap((thread) => thread.remarks)],
  }
}

function aboutEntries({ line, about, title, time }: Thread, file: SourceFile): ThreadEntry[] {
  const entry = (id: string, action: ConversationAction): ThreadEntry => ({
    kind: 'actions',
    line,
    id,
    occurredAt: time,
    actions: [action],
  })
  const record = storable(about)
  const reason = 'the state of the graph beside the messages'
  return [
    ...(title ? [entry(`title:${contentId(title, file.sha256)}`, conversationTitled({ title }))] : []),
    ...(Object.keys(about).length > 0
      ? [
          entry(
            `thread:${contentId(record, file.sha256)}`,
            foreignRecordKept({ format, recordType: 'thread', line: 1, reason, record }),
          ),
        ]
      : []),
  ]
}

function messageEntry(raw: Json, place: number, line: number, media: MediaShelf): ThreadEntry {
  const message = langChainMessage(raw)
  const body = message && langChainBody(message, media)
  const given = asId(message?.fields.id)
  const number = place + 1
  const id = given ?? `message-${number}`
  if (message === undefined || body === undefined) {
    const reason = 'a message of a kind that says nothing, or that could not be read'
    const recordType = message?.type ?? 'unknown'
    const action = foreignRecordKept({ format, recordType, line: number, reason, record: storable(media.replaceIn(raw)) })
    return { kind: 'actions', line, id, actions: [action] }
  }
  const model = body.role === 'assistant' ? langChainModel(message) : undefined
  const name = asString(message.fields.name)
  return {
    kind: 'message',
    line,
    id,
    message: { ...body, ...(name && { author: { name } }), ...(model && { model }) },
    usage: langChainUsage(message),
    records: [{ ...(given === undefined && { index: number }), record: raw }],
  }
}
