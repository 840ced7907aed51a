/**
 * Logs of Inspect evaluations: each sample is a conversation.
 *
 * A log holds the messages of a sample twice, in `messages` and in its `events`: they are imported from `messages`; an event is
 * kept raw, and the one of a model call gives its answer the usage and the time. Long texts stand in `attachments`, and
 * `attachment://<hash>` in their place. What is said of the whole run is kept with the first sample, one record for each field.
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
  type Usage,
} from '@colloquy/core'
import { parseIsoTime } from '../iso-time.ts'
import { asConversationId, contentId, conversationIds } from './content-id.ts'
import { asCount, asId, asList, asObject, asString } from './fields.ts'
import { badLineEntry, fileValues, valuesIn } from './file-values.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { bodyOf } from './messages/openai-chat-message.ts'
import { refusal } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { storable } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'inspect'

export const inspect: TranscriptFormat = {
  id: format,
  describe: 'evaluation logs of Inspect',
  files: ['json'],
  matches: (file) => valuesIn(file).some(({ value }) => isLog(asObject(value))),
  importFile,
}

const isLog = (log: JsonObject | undefined): boolean =>
  asList(log?.samples) !== undefined && typeof asObject(log?.eval)?.task === 'string'

/** @throws `import_refused` with the number of the sample, and the field that is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks: read, badLines, skipped } = fileValues(file)
  const nextId = conversationIds(file.options)
  const conversations: HeldConversation[] = []
  const remarks: ImportRemark[] = [...read]
  let records = skipped.length + badLines.length
  for (const { line, path, value } of values) {
    const log = asObject(value)
    const samples = asList(log?.samples)
    if (log === undefined || samples === undefined) throw refusal(file.source, line, `${path}.samples is not a list. Correct it`)
    const { samples: _, ...run } = log
    const runId = asString(asObject(log.eval)?.eval_id) ?? asString(asObject(log.eval)?.run_id)
    records += Object.keys(run).length
    for (const [index, value] of samples.entries()) {
      const sample = asObject(value)
      const messages = asList(sample?.messages)
      if (sample === undefined || messages === undefined) {
        throw refusal(file.source, index + 1, `${path}.samples[${index}].messages is not a list. Correct it`)
      }
      const media = mediaShelf(file.sha256)
      const sampleId = asConversationId(sample.uuid)
      const wanted =
        sampleId ?? `${format}-${contentId([runId ?? null, sample.id ?? null, sample.epoch ?? null, messages], file.sha256)}`
      const isFirst = conversations.length === 0
      const written = writeThread({
        source: file.source,
        format,
        conversationId: nextId(wanted),
        started: { source: { format, id: sampleId ?? wanted } },
        entries: [
          ...(isFirst ? badLines.map((bad) => badLineEntry(format, bad)) : []),
          ...(isFirst ? runEntries(run, file) : []),
          ...sampleEntries(sample, messages, index + 1, media),
        ],
        media,
        envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
      })
      conversations.push(written.conversation)
      remarks.push(...written.remarks)
      records += 1 + messages.length + (asList(sample.events)?.length ?? 0)
    }
    if (samples.length === 0)
      throw refusal(file.source, line, `${path}.samples is empty, so there is no conversation. Give a log with samples`)
  }
  return { format, records, conversations, skipped, remarks }
}

/** What is said of the run: each field under an id of its content, so that another sample of it may come with another file. */
function runEntries(run: JsonObject, file: SourceFile): ThreadEntry[] {
  return Object.entries(run).map(([key, value], index): ThreadEntry => {
    const record = storable({ [key]: value })
    const reason = 'about the run, not about one conversation'
    const action = foreignRecordKept({ format, recordType: `run/${key}`, line: index + 1, reason, record })
    return { kind: 'actions', line: 1, id: `run:${contentId(record, file.sha256)}`, actions: [action] }
  })
}

function sampleEntries(sample: JsonObject, messages: readonly Json[], line: number, media: MediaShelf): ThreadEntry[] {
  const { messages: _, events: __, ...about } = sample
  const events = asList(sample.events) ?? []
  const attachments = asObject(sample.attachments) ?? {}
  const calls = modelCalls(events, attachments)
  const began = parseIsoTime(asObject(events[0])?.timestamp)
  const kept = (
    id: string,
    place: number,
    recordType: string,
    reason: string,
    record: Json,
    occurredAt?: number,
  ): ThreadEntry => {
    const action = foreignRecordKept({ format, recordType, line: place, reason, record })
    return { kind: 'actions', line, id, occurredAt, actions: [action] }
  }
  const said = messages.map((raw, index): ThreadEntry => {
    const fields = asObject(raw)
    const body = fields && bodyOf(withAttachments(fields, attachments) as JsonObject, media)
    const id = asId(fields?.id) ?? `message-${index + 1}`
    if (fields === undefined || body === undefined) {
      return kept(
        id,
        index + 1,
        asString(fields?.role) ?? 'unknown',
        'a message that could not be read',
        storable(media.replaceIn(raw)),
      )
    }
    const call = body.role === 'assistant' ? calls.find((each) => each.answers(fields)) : undefined
    if (call) calls.splice(calls.indexOf(call), 1)
    const modelId = asString(fields.model) ?? call?.model
    const message: Omit<Message, 'v' | 'id'> = {
      ...body,
      ...(call?.time !== undefined && { createdAt: call.time }),
      ...(body.role === 'assistant' && modelId && { model: modelOf(modelId, call?.stop) }),
    }
    return {
      kind: 'message',
      line,
      id,
      occurredAt: call?.time ?? (index === 0 ? began : undefined),
      message,
      usage: call?.usage,
      records: [{ index: index + 1, record: raw }],
    }
  })
  return [
    kept('sample', 1, 'sample', 'what the sample says beside its messages and events', storable(media.replaceIn(about)), began),
    ...said,
    ...events.map((event, index) =>
      kept(
        `event-${index + 1}`,
        index + 1,
        `event/${asString(asObject(event)?.event) ?? 'unknown'}`,
        'what happened in the run; the messages are imported from the list of messages',
        storable(media.replaceIn(event)),
        parseIsoTime(asObject(event)?.timestamp),
      ),
    ),
  ]
}

/** A value with its attachments in it again. */
function withAttachments(value: Json, attachments: JsonObject): Json {
  if (typeof value === 'string') {
    const key = value.startsWith('attachment://') ? value.slice('attachment://'.length) : undefined
    return key !== undefined && Object.hasOwn(attachments, key) ? (attachments[key] as Json) : value
  }
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item: Json) => withAttachments(item, attachments))
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withAttachments(field, attachments)]))
}

interface ModelCall {
  readonly answers: (message: JsonObject) => boolean
  readonly model: string | undefined
  readonly stop: string | undefined
  readonly usage: Usage | undefined
  readonly time: number | undefined
}

/** The calls of the model that answered in the sample; graders call models too, and their answers are no messages of it. */
function modelCalls(events: readonly Json[], attachments: JsonObject): ModelCall[] {
  return events.flatMap((value): ModelCall[] => {
    const event = asObject(value)
    const output = asObject(event?.output)
    const choice = asObject(asList(output?.choices)?.[0])
    const answer = asObject(choice?.message)
    if (event?.event !== 'model' || output === undefined || answer === undefined) return []
    const text = withAttachments(answer.content ?? null, attachments)
    const isSame = (message: JsonObject): boolean =>
      answer.id !== undefined && message.id !== undefined
        ? answer.id === message.id
        : withAttachments(message.content ?? null, attachments) === text
    return [
      {
        answers: isSame,
        model: asString(output.model),
        stop: asString(choice?.stop_reason),
        usage: usageOf(asObject(output.usage)),
        time: parseIsoTime(event.completed) ?? parseIsoTime(event.timestamp),
      },
    ]
  })
}

/** The cached tokens stand beside `input_tokens`, not in it. */
function usageOf(raw: JsonObject | undefined): Usage | undefined {
  const [input, output] = [asCount(raw?.input_tokens), asCount(raw?.output_tokens)]
  if (raw === undefined || (input === undefined && output === undefined)) return undefined
  return {
    input: input ?? 0,
    output: output ?? 0,
    cacheRead: asCount(raw.input_tokens_cache_read) ?? 0,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: asCount(raw.input_tokens_cache_write) ?? 0 },
    reasoning: asCount(raw.reasoning_tokens) ?? 0,
    raw,
  }
}

const stops = {
  stop: 'end',
  max_tokens: 'length',
  model_length: 'length',
  tool_calls: 'tool_calls',
  content_filter: 'content_filter',
} as const

/** `openai/gpt-4o`, or the provider's own name for it. */
function modelOf(name: string, raw: string | undefined): NonNullable<Message['model']> {
  const slash = name.indexOf('/')
  const unified = raw !== undefined && Object.hasOwn(stops, raw) ? stops[raw as keyof typeof stops] : 'other'
  return {
    provider: slash > 0 ? name.slice(0, slash) : 'unknown',
    id: slash > 0 ? name.slice(slash + 1) : name,
    ...(raw !== undefined && { stop: { unified, raw } }),
  }
}
