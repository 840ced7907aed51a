import type { Json, JsonObject, Message, Part } from '@colloquy/core'
import { type ArrangeRules, arrange, inOrder, type Step, wholeStep } from './arrange.ts'
import {
  type Codec,
  checked,
  decodeRequest,
  encodeMessages,
  type Reading,
  rehearsal,
  type Writing,
  wholeMessage,
  wholeOf,
} from './codec.ts'
import { asId, asList, asObject, asString, defined, plainText } from './fields.ts'
import { blockOf, framed, frameOf, isFrom, keepBlock, messageFrame, partFrame, withMessageFrame } from './frame.ts'
import { asMediaMark, mediaMark, mediaTypeOfUrl } from './inline-media.ts'
import {
  argumentText,
  customPart,
  type Entry,
  isBlank,
  isCall,
  isResult,
  type Media,
  type ResultPart,
  reportStatus,
  resultEntries,
  resultPieceText,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
  wordsOf,
} from './parts.ts'

export interface OpenAiChatBody {
  readonly messages: readonly JsonObject[]
}

const id = 'openai.chat'
const provider = 'openai'
/** Of custom parts: their blocks are not those of OpenAI's other API. */
const customKind = 'openai-chat'
const origin = { provider, api: 'chat' }

/**
 * OpenAI Chat Completions, and the many servers that speak it: `messages`.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | reasoning that came in `reasoning_content` or `reasoning` | itself | |
 * | other reasoning | nothing | `reasoning_dropped` |
 * | several results in one message | a message each | |
 * | what an answer says after a call | a message of its own, after the results | `message_split` |
 * | call and result of a provider's own tool | nothing | `server_tool_dropped` |
 * | arguments | their text, even if it is no JSON | |
 * | status of a result | nothing but the words of the result | `status_dropped` |
 * | image, wav or mp3, file, from a user | themselves; a text file its text | |
 * | other media, media in results and answers | a line of text | `media_replaced` |
 * | refusal | itself | |
 * | compaction | its text, or nothing | `converted_to_text`, `opaque_dropped` |
 * | citations, sources | nothing | `citations_dropped` |
 * | approval | nothing; a denied call gets a result that says so | `approval_dropped` |
 * | messages without content | nothing | `empty_dropped` |
 * | cache hints | nothing | `cache_hint_dropped` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `tool_name_changed`, `media_missing`,
 * `text_repaired`.
 */
export const openaiChat: Codec<OpenAiChatBody> = {
  id,
  decode: (foreign, context) =>
    decodeRequest(id, foreign, context, 'messages', [], (list, _, reading) =>
      list.map((message) => decodeMessage(message, reading)),
    ),
  encode: (messages, options = {}) =>
    encodeMessages(messages, options, (ready, writing) => {
      const steps = writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: true })
      return { messages: steps.flatMap((step) => writeStep(step, writing)) }
    }),
}

const rules: ArrangeRules = {
  // Ids are looked for in the answer before, and real conversations repeat them; 40 and 64 characters are what the API takes.
  names: {
    callIds: { illegal: /[^\u0020-\u007e]/g, limit: 40, uniqueIn: 'step' },
    toolNames: { illegal: /[^a-zA-Z0-9_-]/g, limit: 64 },
  },
  keepsProviderCall: () => false,
  providerResults: 'in the answer',
  goesOnAfterCalls: false,
  keepsApproval: () => false,
}

// In

/** How content is written: one string, a list, null, or not at all. */
const forms = ['text', 'list', 'null', 'absent'] as const
type Form = (typeof forms)[number]

const roles = ['system', 'developer', 'user', 'assistant', 'tool'] as const

function decodeMessage(foreign: Json, { identified, takeOut }: Reading): Message {
  const fields = asObject(takeOut(foreign))
  const role = roles.find((known) => known === fields?.role)
  const parts = fields && role && (role === 'tool' ? readResult(fields) : readParts(fields, role))
  if (fields && role && parts) {
    const name = role === 'tool' ? undefined : asString(fields.name)
    const message = identified(undefined, { role, parts, ...(name !== undefined && { author: { name } }) })
    const frame = frameOf(fields, forms, (form) => writeMessage(wholeStep(message), form, rehearsal))
    const whole = frame && checked(withMessageFrame(message, id, frame), fields, (kept) => writeOne(wholeStep(kept), rehearsal))
    if (whole) return whole
  }
  return identified(undefined, wholeMessage(customKind, id, takeOut(foreign)))
}

function readParts(message: JsonObject, role: Message['role']): Part[] {
  const isAnswer = role === 'assistant'
  const reasoning = isAnswer ? reasoningFields.flatMap((field) => readReasoning(message, field)) : []
  const text = asString(message.content)
  const content = asList(message.content)?.map(decodeBlock) ?? (text ? [textPart(text)] : [])
  const refusal = isAnswer ? asString(message.refusal) : undefined
  const calls = isAnswer ? (asList(message.tool_calls) ?? []).map(decodeCall) : []
  return [...reasoning, ...content, ...(refusal ? [{ type: 'refusal' as const, text: refusal }] : []), ...calls]
}

const reasoningFields = ['reasoning_content', 'reasoning'] as const

function readReasoning(message: JsonObject, field: (typeof reasoningFields)[number]): Part[] {
  const text = asString(message[field])
  if (text === undefined) return []
  const form = field !== reasoningFields[0] && { providerMetadata: { [id]: { form: field } } }
  return [{ type: 'reasoning', text, redacted: false, origin, ...form }]
}

function decodeCall(call: Json): Part {
  const fields = asObject(call)
  const [callId, tool, custom] = [asId(fields?.id), asObject(fields?.function), asObject(fields?.custom)]
  const name = asString(tool?.name) ?? asString(custom?.name)
  const text = asString(tool?.arguments) ?? asString(custom?.input)
  if (callId === undefined || name === undefined || text === undefined) {
    return { type: 'custom', kind: `${customKind}.tool_calls`, payload: call }
  }
  const args = tool ? argumentText(text) : { raw: text, valid: false }
  return keepBlock({ type: 'tool_call', callId, name, args, executor: { kind: 'client' } }, call, format, ['function', 'custom'])
}

function readResult(message: JsonObject): Part[] | undefined {
  const callId = asId(message.tool_call_id)
  const [text, list] = [asString(message.content), asList(message.content)]
  if (callId === undefined || (text ?? list) === undefined) return undefined
  const content = list ? list.map((block) => decodeBlock(block) as ResultPart) : text ? [textPart(text)] : []
  return [{ type: 'tool_result', callId, status: 'ok', content }]
}

function decodeBlock(block: Json): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields)
  return part === undefined ? customPart(customKind, block) : keepBlock(part, block, format, ['field', 'list'])
}

function readBlock(block: JsonObject): Part | undefined {
  const text = asString(block.text) ?? asString(block.refusal)
  if (block.type === 'text' && typeof block.text === 'string') return textPart(block.text)
  if (block.type === 'refusal' && text !== undefined) return { type: 'refusal', text }
  if (block.type === 'image_url') return readFile(asObject(block.image_url), 'url', 'image')
  if (block.type === 'input_audio') return readFile(asObject(block.input_audio), 'data', 'audio')
  if (block.type === 'file') return readFile(asObject(block.file), 'file_data', 'document')
  return undefined
}

function readFile(file: JsonObject | undefined, key: string, kind: Media['kind']): Media | undefined {
  const mark = asMediaMark(file?.[key])
  const [url, fileId, filename] = [asString(file?.url), asString(file?.file_id), asString(file?.filename)]
  const named = filename !== undefined && { filename }
  const fallback =
    kind === 'audio' ? `audio/${asString(file?.format) ?? 'wav'}` : kind === 'image' ? 'image/*' : 'application/pdf'
  const mediaType = (mark && mediaTypeOfUrl(mark)) ?? fallback
  if (mark) return { type: 'media', kind, mediaType, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes }, ...named }
  if (fileId !== undefined)
    return { type: 'media', kind, mediaType, source: { kind: 'providerFile', provider, fileId }, ...named }
  return kind === 'image' && url !== undefined ? { type: 'media', kind, mediaType, source: { kind: 'url', url } } : undefined
}

// Out

function writeStep(step: Step, writing: Writing): Json[] {
  const { message } = step
  const whole = wholeOf(message, id)
  if (whole) {
    if (!writing.isRequest) return [whole.payload]
    writing.report('part_dropped', step)
    return []
  }
  if (step.role === 'tool' && step.entries.some(isResult)) {
    return step.entries.filter(isResult).map((entry) => writeOne({ ...step, entries: [entry] }, writing))
  }
  const written = asObject(writeOne(step, writing))
  if (written === undefined || (writing.isRequest && isEmpty(written))) {
    writing.report('empty_dropped', step)
    return []
  }
  return [written]
}

/** A string without characters is content to the API, a missing one or an empty list is not. */
function isEmpty({ content, tool_calls: calls, refusal, role }: JsonObject): boolean {
  if (calls !== undefined || typeof refusal === 'string') return false
  return content === undefined || content === null || asList(content)?.length === 0 || (role !== 'assistant' && content === '')
}

function writeOne(step: Step, writing: Writing): Json {
  const frame = step.isWhole ? messageFrame(step.message, id) : undefined
  return framed(writeMessage(step, forms.find((form) => form === frame?.form) ?? 'text', writing), frame)
}

function writeMessage({ role, message, entries }: Step, form: Form, writing: Writing): JsonObject {
  const [first] = entries
  const author = message.author?.name
  // The API takes no space and none of these in a name.
  const name = author !== undefined && (!writing.isRequest || /^[^\s<|\\/>]{1,64}$/.test(author)) ? author : undefined
  if (author !== name || message.author?.id !== undefined) writing.report('author_dropped', { message })
  if (role === 'tool' && first && isResult(first)) return writeResult(first, form, writing)
  const isAnswer = role === 'assistant'
  const isField = ({ part }: Entry): boolean =>
    isAnswer &&
    (part.type === 'refusal' ? partFrame(part, id)?.form !== 'list' : part.type === 'tool_call' || part.type === 'reasoning')
  const blocks = entries
    .filter((entry) => !isField(entry) && !isCustomCall(entry))
    .flatMap((entry) => writeEntry(entry, role, writing))
  const calls = entries
    .filter((entry) => isCall(entry) || isCustomCall(entry))
    .flatMap((entry) => writeCall(entry, isAnswer, writing))
  const refusals = entries.filter(isField).flatMap(({ part }) => (part.type === 'refusal' ? [part.text] : []))
  return defined({
    role,
    content: contentOf(blocks, form),
    ...(isAnswer && writeReasoning(entries, writing)),
    refusal: refusals.length > 0 ? refusals.join('\n') : undefined,
    name,
    tool_calls: calls.length > 0 ? calls : undefined,
  })
}

/** An entry of `tool_calls` that we could not read. */
const isCustomCall = ({ part }: Entry): boolean => part.type === 'custom' && part.kind === `${customKind}.tool_calls`

function contentOf(blocks: readonly JsonObject[], form: Form): Json | undefined {
  if (blocks.length === 0 && form !== 'text') return { list: [], null: null, absent: undefined }[form]
  if (form === 'list') return blocks
  return blocks.length === 0 ? '' : (plainText(blocks) ?? blocks)
}

function writeReasoning(entries: readonly Entry[], { report }: Writing): JsonObject {
  const said: Record<string, string> = {}
  for (const entry of entries) {
    const { part } = entry
    if (part.type !== 'reasoning') continue
    const field = reasoningFields.find((known) => known === partFrame(part, id)?.form) ?? reasoningFields[0]
    if (isFrom(part, origin) && part.text !== undefined)
      said[field] = [...(said[field] === undefined ? [] : [said[field]]), part.text].join('\n')
    else report('reasoning_dropped', entry)
  }
  return said
}

function writeCall(entry: Entry, isAnswer: boolean, writing: Writing): JsonObject[] {
  if (!isCall(entry)) {
    if (writing.isRequest) writing.report('part_dropped', entry)
    return !writing.isRequest && entry.part.type === 'custom' ? [entry.part.payload as JsonObject] : []
  }
  const { part } = entry
  if (!isAnswer || (part.executor.kind !== 'client' && !isFrom(part, origin))) {
    writing.report('server_tool_dropped', entry)
    return []
  }
  const block = asObject(blockOf(entry, writing, format))
  return block === undefined ? [] : [writing.isRequest ? { ...block, ...(build(entry, writing) as JsonObject) } : block]
}

function writeResult(entry: Entry<ToolResult>, form: Form, writing: Writing): JsonObject {
  reportStatus(entry, writing.report)
  const blocks = resultEntries(entry).flatMap((piece): JsonObject[] => {
    const { part } = piece
    if (part.type === 'text') return toBlocks(blockOf(piece, writing, format))
    // What was in a result of this API was taken by it.
    if (!writing.isRequest && part.type === 'media') return toBlocks(blockOf(piece, writing, format))
    if (part.type === 'custom' && part.kind.startsWith(`${customKind}.`)) return toBlocks(part.payload)
    const text = resultPieceText(piece, writing.report)
    return text === '' ? [] : [{ type: 'text', text }]
  })
  return { role: 'tool', tool_call_id: entry.part.callId, content: contentOf(blocks, form) ?? '' }
}

function writeEntry(entry: Entry, role: Message['role'], writing: Writing): JsonObject[] {
  const { part } = entry
  const isTaken = !writing.isRequest || part.type !== 'media' || (role === 'user' && isTakenMedia(part))
  const block = isTaken ? blockOf(entry, writing, format) : undefined
  if (block !== undefined) return toBlocks(block)
  const text = textInstead(entry, writing.report)
  return text === undefined || (writing.isRequest && isBlank(text)) ? [] : [{ type: 'text', text }]
}

const audioFormats: ReadonlyMap<string, string> = new Map([
  ['audio/wav', 'wav'],
  ['audio/x-wav', 'wav'],
  ['audio/mp3', 'mp3'],
  ['audio/mpeg', 'mp3'],
])

function isTakenMedia({ kind, mediaType, source }: Media): boolean {
  if (source.kind === 'text') return !isBlank(source.text)
  if (source.kind === 'providerFile') return source.provider === provider && kind !== 'image' && kind !== 'audio'
  if (kind === 'image') return true
  if (source.kind === 'url') return false
  return kind === 'audio' ? audioFormats.has(mediaType) : kind === 'document' && mediaType === 'application/pdf'
}

function toBlocks(block: Json | undefined): JsonObject[] {
  return block === undefined ? [] : [block as JsonObject]
}

function build(entry: Entry, writing: Writing): Json | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return { type: 'text', text: wordsOf(entry as Entry<Text>, writing.report) }
    case 'refusal':
      return partFrame(part, id)?.form === 'list' ? { type: 'refusal', refusal: part.text } : undefined
    case 'media':
      return writeMedia(part)
    case 'tool_call':
      return buildCall(part)
    case 'custom':
      return part.kind.startsWith(`${customKind}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

const format = { codec: id, origin, build }

function buildCall(part: ToolCall): JsonObject {
  const { callId, name, args } = part
  if (partFrame(part, id)?.form === 'custom') return { id: callId, type: 'custom', custom: { name, input: args.raw } }
  return { id: callId, type: 'function', function: { name, arguments: args.raw === '' ? '{}' : args.raw } }
}

function writeMedia({ kind, mediaType, source, filename }: Media): JsonObject {
  switch (source.kind) {
    case 'text':
      return { type: 'text', text: source.text }
    case 'url':
      return { type: 'image_url', image_url: { url: source.url } }
    case 'providerFile':
      return { type: 'file', file: defined({ file_id: source.fileId, filename }) }
    case 'hash': {
      const mark = mediaMark(source.hash, source.bytes, `data:${mediaType};base64,`)
      if (kind === 'image') return { type: 'image_url', image_url: { url: mark } }
      const data = mediaMark(source.hash, source.bytes)
      if (kind === 'audio') return { type: 'input_audio', input_audio: { data, format: audioFormats.get(mediaType) ?? 'wav' } }
      return { type: 'file', file: defined({ file_data: mark, filename }) }
    }
    default:
      return source satisfies never
  }
}
