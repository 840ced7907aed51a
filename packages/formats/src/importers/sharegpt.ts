/**
 * Training data in the ShareGPT manner: `conversations` of `{from, value}`, or `messages` of `{role, content}` with content blocks
 * `{type, value}`; a list in one file or JSON lines.
 *
 * Ids in such files are labels ("identity_0") that other files use too, so a conversation is known by its id and what is said in
 * it; messages are known by their place. Calls have no ids: an observation answers the first call that waits, so two after one
 * call leave the second without, and one that lists as many answers as there are calls answers them all. `<image>` in a text stands for the next of `images`.
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
  type Part,
} from '@colloquy/core'
import { contentId, conversationIds } from './content-id.ts'
import { asId, asList, asObject, asString } from './fields.ts'
import { badLineEntry, type FileValue, fileValues, valuesIn } from './file-values.ts'
import { mediaShelf } from './media-shelf.ts'
import { refusal } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { argumentsFromText, argumentsFromValue } from './tool-arguments.ts'
import { storable } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'sharegpt'

export const sharegpt: TranscriptFormat = {
  id: format,
  describe: 'training data of the kind of ShareGPT',
  files: ['json', 'jsonl'],
  matches: (file) => valuesIn(file).some(({ value }) => isConversation(asObject(value))),
  importFile,
}

function isConversation(fields: JsonObject | undefined): boolean {
  const turns = asList(fields?.conversations) ?? []
  if (turns.some((turn) => typeof asObject(turn)?.from === 'string' && asObject(turn)?.value !== undefined)) return true
  const messages = asList(fields?.messages) ?? []
  if (!messages.some((message) => typeof asObject(message)?.role === 'string')) return false
  // Otherwise it is a list of the Chat Completions API, which writes tools as a list and knows no files beside the messages.
  const hasFiles = mediaKinds.some(([key]) => asList(fields?.[key]) !== undefined)
  return hasFiles || typeof fields?.tools === 'string' || messages.some(hasValueBlocks)
}

const hasValueBlocks = (message: Json): boolean =>
  (asList(asObject(message)?.content) ?? []).some((block) => asString(asObject(block)?.value) !== undefined)

const mediaKinds = [
  ['images', 'image'],
  ['videos', 'video'],
  ['audios', 'audio'],
] as const

/** @throws `import_refused` with the line or number of the conversation, and the field that is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks: read, badLines, skipped } = fileValues(file)
  const nextId = conversationIds(file.options)
  const conversations: HeldConversation[] = []
  const remarks: ImportRemark[] = [...read]
  let records = skipped.length + badLines.length
  for (const value of values) {
    const { fields, turns, about } = conversationOf(value, file)
    const media = mediaShelf(file.sha256)
    const label = asId(fields.id, 60)
    const said = turns.map((turn) => [
      asObject(turn)?.from ?? asObject(turn)?.role ?? null,
      asObject(turn)?.value ?? asObject(turn)?.content ?? null,
    ])
    const written = writeThread({
      source: file.source,
      format,
      conversationId: nextId(`${format}-${contentId([label ?? null, said], file.sha256)}`),
      started: { source: { format, ...(label !== undefined && { id: label }) } },
      entries: [
        ...(conversations.length === 0 ? badLines.map((bad) => badLineEntry(format, bad)) : []),
        ...aboutEntries(about, value, file),
        ...turnEntries(turns, fields, value.line),
      ],
      media,
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    })
    conversations.push(written.conversation)
    remarks.push(...written.remarks)
    records += turns.length + (Object.keys(about).length > 0 ? 1 : 0)
  }
  return { format, records, conversations, skipped, remarks }
}

function conversationOf({ line, path, value }: FileValue, file: SourceFile) {
  const fields = asObject(value)
  const key = asList(fields?.conversations) ? 'conversations' : 'messages'
  const turns = asList(fields?.[key])
  if (fields === undefined || turns === undefined) {
    throw refusal(file.source, line, `neither ${path}.conversations nor ${path}.messages is a list. Take it out of the file`)
  }
  // The label is the id of the source.
  const { [key]: _, id, ...rest } = fields
  const about = id === undefined || asId(id, 60) !== undefined ? rest : { ...rest, id }
  return { fields, turns, about }
}

function aboutEntries(about: JsonObject, { line }: FileValue, file: SourceFile): ThreadEntry[] {
  if (Object.keys(about).length === 0) return []
  const record = storable(about)
  const reason = 'the fields of the conversation beside its messages'
  const action = foreignRecordKept({ format, recordType: 'conversation', line: 1, reason, record })
  return [{ kind: 'actions', line, id: `conversation:${contentId(record, file.sha256)}`, actions: [action] }]
}

const roles: Readonly<Record<string, Message['role']>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  bard: 'assistant',
  assistant: 'assistant',
  function_call: 'assistant',
  tool_call: 'assistant',
  observation: 'tool',
  tool: 'tool',
  function_response: 'tool',
  system: 'system',
}
const callers: ReadonlySet<string> = new Set(['function_call', 'tool_call'])

function turnEntries(turns: readonly Json[], about: JsonObject, line: number): ThreadEntry[] {
  const waiting: string[] = []
  const files = mediaKinds.map(([key, kind]) => ({ kind, mark: `<${kind}>`, left: [...(asList(about[key]) ?? [])] }))

  return turns.map((turn, index): ThreadEntry => {
    const number = index + 1
    const raw = asObject(turn)
    const name = asString(raw?.from) ?? asString(raw?.role) ?? ''
    const role = Object.hasOwn(roles, name) ? roles[name] : undefined
    const parts = raw && role && partsOf(raw.value ?? raw.content, name, role, number)
    if (raw === undefined || role === undefined || parts === undefined) {
      const reason = 'a message whose speaker and words could not be read'
      const action = foreignRecordKept({ format, recordType: name || 'unknown', line: number, reason, record: storable(turn) })
      return { kind: 'actions', line, id: `message-${number}`, actions: [action] }
    }
    return { kind: 'message', line, id: `message-${number}`, message: { role, parts }, records: [{ index: number, record: raw }] }
  })

  function partsOf(content: Json | undefined, name: string, role: Message['role'], number: number): Part[] | undefined {
    const blocks = typeof content === 'string' ? [{ type: 'text', value: content }] : asList(content)
    if (blocks === undefined) return undefined
    if (role === 'tool') return observations(blocks, number)
    return blocks.flatMap((block, index): Part[] => {
      const fields = asObject(block)
      const type = asString(fields?.type) ?? 'unknown'
      const text = asString(fields?.value) ?? asString(fields?.text)
      if (text === undefined) return [{ type: 'custom', kind: `sharegpt.${type}`, payload: storable(block) }]
      if (type === 'tool_call' || callers.has(name)) return calls(text, `call-${number}.${index + 1}`)
      if (type === 'reasoning') return [{ type: 'reasoning', text, redacted: false }]
      if (type !== 'text') return [{ type: 'custom', kind: `sharegpt.${type}`, payload: storable(block) }]
      return text === '' ? [] : [{ type: 'text', text }, ...filesIn(text)]
    })
  }

  /** `{name, arguments}` as text, or a list of them. Text that is neither is kept as what was said. */
  function calls(text: string, id: string): Part[] {
    const { json } = argumentsFromText(text)
    const found = (asList(json) ?? (json === undefined ? [] : [json])).map(asObject)
    if (found.length === 0 || found.some((call) => asString(call?.name) === undefined)) return [{ type: 'text', text }]
    return found.map((call, index): Part => {
      const callId = found.length > 1 ? `${id}.${index + 1}` : id
      waiting.push(callId)
      const given = call?.arguments ?? call?.parameters
      const args = typeof given === 'string' ? argumentsFromText(given) : argumentsFromValue(given)
      return { type: 'tool_call', callId, name: asString(call?.name) as string, args, executor: { kind: 'client' } }
    })
  }

  /** The answer to the call that waits longest, or a list of the answers to all calls that wait. */
  function observations(blocks: readonly Json[], number: number): Part[] {
    const content = blocks.map((block) =>
      resultPart(asString(asObject(block)?.value) ?? asString(asObject(block)?.text) ?? block),
    )
    const [only] = content
    const answers =
      waiting.length > 1 && content.length === 1 && only?.type === 'text' ? asList(argumentsFromText(only.text).json) : undefined
    if (answers?.length === waiting.length && answers.every((answer) => asObject(answer)?.content !== undefined)) {
      return answers.map((answer) => ended(waiting.shift() as string, [resultPart(asObject(answer)?.content as Json)]))
    }
    // One that nobody waits for gets an id that no call has.
    return [ended(waiting.shift() ?? `observation-${number}`, content)]
  }

  /** The files that the marks in a text stand for, in their order. */
  function filesIn(text: string): Part[] {
    return files.flatMap(({ kind, mark, left }) => {
      const marks = text.split(mark).length - 1
      return left.splice(0, marks).flatMap((place): Part[] => {
        if (typeof place !== 'string') return []
        return [{ type: 'media', kind, mediaType: `${kind}/*`, source: { kind: 'url', url: place } }]
      })
    })
  }
}

type ResultPart = Extract<Part, { type: 'tool_result' }>['content'][number]

const resultPart = (value: Json): ResultPart =>
  typeof value === 'string'
    ? { type: 'text', text: value }
    : { type: 'custom', kind: 'sharegpt.observation', payload: storable(value) }

const ended = (callId: string, content: ResultPart[]): Part => ({ type: 'tool_result', callId, status: 'ok', content })
