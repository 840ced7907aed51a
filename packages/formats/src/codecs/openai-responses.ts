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
import { asId, asList, asObject, asString, defined, plainText, sameJson } from './fields.ts'
import { blockOf, framed, frameOf, isFrom, keepBlock, messageFrame, partFrame, withMessageFrame } from './frame.ts'
import { asMediaMark, mediaMark, mediaTypeOfUrl } from './inline-media.ts'
import {
  argumentText,
  argumentValue,
  customPart,
  type Entry,
  isBlank,
  isCall,
  isResult,
  type Media,
  type Reasoning,
  type ResultPart,
  reportAuthor,
  reportStatus,
  resultEntries,
  resultPieceText,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
} from './parts.ts'

export interface OpenAiResponsesBody {
  readonly instructions?: string
  readonly input: string | readonly JsonObject[]
}

const id = 'openai.responses'
const provider = 'openai'
const origin = { provider, api: 'responses' }

/**
 * OpenAI Responses: `instructions` and `input`. The items of an answer in a row are one message of ours, so are outputs in a row.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | reasoning item, with what it led to | itself | |
 * | other reasoning; a reasoning item by id whose message was written anew, or with nothing after it | nothing | `reasoning_dropped` |
 * | what an answer says after a call | itself, after the results | `message_split` |
 * | items of OpenAI's own tools (computer, shell, search, ...) | themselves | |
 * | call and result of another provider's tool; a computer or shell call without output | nothing | `server_tool_dropped` |
 * | arguments | their text, even if it is no JSON | |
 * | status of a result | nothing but the words of the result | `status_dropped` |
 * | compaction of OpenAI | itself, in its place | |
 * | other compaction | its text, or nothing | `converted_to_text`, `opaque_dropped` |
 * | image and PDF, from a user or in a result | themselves; a text file its text | |
 * | other media, media in an answer | a line of text | `media_replaced` |
 * | refusal | itself | |
 * | citations of OpenAI | themselves | |
 * | other citations, sources | nothing | `citations_dropped` |
 * | approval of an MCP call, by OpenAI's server | itself | |
 * | other approval | nothing; a denied call gets a result that says so | `approval_dropped` |
 * | messages without content | nothing | `empty_dropped` |
 * | cache hints, names of authors | nothing | `cache_hint_dropped`, `author_dropped` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `tool_name_changed`, `media_missing`,
 * `text_repaired`.
 */
export const openaiResponses: Codec<OpenAiResponsesBody> = {
  id,
  decode: (foreign, context) => {
    const words = wordsOnly(foreign)
    const request = words === undefined ? foreign : { ...(foreign as object), input: [] }
    return decodeRequest(id, request, context, 'input', ['instructions'], (list, fields, reading) => [
      ...(fields.instructions === undefined ? [] : [decodeInstructions(fields.instructions, reading)]),
      ...(words === undefined ? decodeItems(list, reading) : [wordsMessage(words, reading)]),
    ])
  },
  encode: (messages, options = {}) =>
    encodeMessages(messages, options, (ready, writing) => {
      const steps = writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: true })
      const instructions = steps[0] && writeInstructions(steps[0])
      const rest = instructions === undefined ? steps : steps.slice(1)
      const input = writeInput(rest) ?? rest.flatMap((step) => writeStep(step, writing))
      return { ...(instructions !== undefined && { instructions }), input }
    }),
}

const rules: ArrangeRules = {
  names: {
    callIds: { illegal: /[^\u0020-\u007e]/g, limit: 64, uniqueIn: 'request' },
    toolNames: { illegal: /[^a-zA-Z0-9_-]/g, limit: 128 },
  },
  keepsProviderCall: (call) => isFrom(call, origin),
  providerResults: 'after it',
  goesOnAfterCalls: false,
  keepsApproval: ({ part }) => isFrom(part, origin),
}

// In

/** The API also takes the words of a single user message. */
function wordsOnly(foreign: unknown): string | undefined {
  if (typeof foreign !== 'object' || foreign === null || Array.isArray(foreign)) return undefined
  const { input } = foreign as { readonly input?: unknown }
  return typeof input === 'string' ? input : undefined
}

function wordsMessage(words: string, { identified }: Reading): Message {
  return withMessageFrame(identified(undefined, { role: 'user', parts: [textPart(words)] }), id, { form: 'input' })
}

function decodeInstructions(instructions: Json, { identified, takeOut }: Reading): Message {
  const text = asString(instructions)
  const parts = text === undefined ? [customPart(provider, takeOut(instructions))] : [textPart(text)]
  return withMessageFrame(identified(undefined, { role: 'system', parts }), id, { form: 'instructions' })
}

type Side = 'answer' | 'outputs' | 'message'

/** Who an item is from. What nobody knows yet is taken for something of the model. */
function sideOf(item: Json): Side {
  const fields = asObject(item)
  const [type, role] = [asString(fields?.type), fields?.role]
  if (type?.endsWith('_output') === true || type === 'mcp_approval_response') return 'outputs'
  return role !== undefined && role !== 'assistant' ? 'message' : 'answer'
}

function decodeItems(list: readonly Json[], reading: Reading): Message[] {
  const messages: Message[] = []
  let run: Json[] = []
  for (const [i, raw] of list.entries()) {
    const item = reading.takeOut(raw)
    const side = sideOf(item)
    if (side === 'message') messages.push(decodeMessage(item, reading))
    else {
      run.push(item)
      const next = list[i + 1]
      if (next !== undefined && sideOf(next) === side) continue
      messages.push(
        reading.identified(undefined, { role: side === 'answer' ? 'assistant' : 'tool', parts: run.flatMap(decodeItem) }),
      )
      run = []
    }
  }
  return messages
}

const roles = ['system', 'developer', 'user'] as const
const forms = ['text', 'list'] as const

function decodeMessage(item: Json, { identified }: Reading): Message {
  const fields = asObject(item)
  const role = roles.find((known) => known === fields?.role)
  const parts = fields && readContent(fields.content)
  if (fields && role && parts && (fields.type === undefined || fields.type === 'message')) {
    const message = identified(undefined, { role, parts })
    const frame = frameOf(fields, forms, (form) => messageItem(wholeStep(message), form, rehearsal))
    const whole = frame && checked(withMessageFrame(message, id, frame), item, (kept) => writeStep(wholeStep(kept), rehearsal)[0])
    if (whole) return whole
  }
  return identified(undefined, wholeMessage(provider, id, item))
}

function readContent(content: Json | undefined): Part[] | undefined {
  const text = asString(content)
  return text === undefined ? asList(content)?.map(decodeBlock) : text === '' ? [] : [textPart(text)]
}

/** The parts of an item, from which the same item is made again. */
function decodeItem(item: Json): Part[] {
  const fields = asObject(item)
  if (fields?.role === 'assistant') return decodeAnswer(fields) ?? [customPart(provider, item)]
  const part = fields && readItem(fields)
  return [part === undefined ? customPart(provider, item) : keepBlock(part, item, format, ['text', 'list', 'custom'])]
}

/** A message item of an answer: its parts carry what else it says, and which of its blocks they are. */
function decodeAnswer(item: JsonObject): Part[] | undefined {
  const { content, ...fields } = item
  const parts = readContent(content)
  if (parts === undefined || parts.length === 0) return undefined
  const about: JsonObject = { ...fields, content: typeof content === 'string' ? 'text' : 'list' }
  const carrying = parts.map(
    (part, block): Part => ({
      ...part,
      providerMetadata: { ...part.providerMetadata, [itemKey]: { fields: about, block } },
    }),
  )
  const message: Message = { v: 1, id: 'none', role: 'assistant', parts: carrying }
  const items = writeStep(wholeStep(message), rehearsal)
  return items.length === 1 && sameJson(items[0], item) ? carrying : undefined
}

const itemKey = 'openai.item'

interface ItemOfPart {
  readonly fields: JsonObject
  readonly block: number
}

function itemOf(part: Part): ItemOfPart | undefined {
  const item = asObject(part.providerMetadata?.[itemKey])
  const [fields, block] = [asObject(item?.fields), item?.block]
  return fields !== undefined && typeof block === 'number' ? { fields, block } : undefined
}

function readItem(item: JsonObject): Part | undefined {
  const callId = asId(item.call_id)
  const type = asString(item.type)
  const name = asString(item.name)
  switch (type) {
    case 'reasoning':
      return readReasoning(item)
    case 'function_call': {
      const text = asString(item.arguments)
      if (callId === undefined || name === undefined || text === undefined) return undefined
      return { type: 'tool_call', callId, name, args: argumentText(text), executor: { kind: 'client' } }
    }
    case 'custom_tool_call': {
      const raw = asString(item.input)
      if (callId === undefined || name === undefined || raw === undefined) return undefined
      return { type: 'tool_call', callId, name, args: { raw, valid: false }, executor: { kind: 'client' } }
    }
    case 'function_call_output':
    case 'custom_tool_call_output':
      return callId === undefined ? undefined : readOutput(callId, item)
    case 'compaction': {
      const opaque = asString(item.encrypted_content)
      return opaque === undefined ? undefined : { type: 'compaction', opaque, origin }
    }
    case 'mcp_approval_request':
      return readApproval(asId(item.id), undefined)
    case 'mcp_approval_response':
      return readApproval(asId(item.approval_request_id), item.approve === true ? 'approved' : 'denied')
    default:
      return callId === undefined || type === undefined ? undefined : readProviderItem(callId, type, item)
  }
}

function readApproval(approvalId: string | undefined, decision: 'approved' | 'denied' | undefined): Part | undefined {
  if (approvalId === undefined) return undefined
  // The request is the call: there is no other item for it before it was approved.
  return { type: 'approval', approvalId, callId: approvalId, ...(decision !== undefined && { decision }), origin }
}

function readReasoning(item: JsonObject): Reasoning | undefined {
  const summary = asList(item.summary)?.map((each) => asString(asObject(each)?.text))
  const text = asList(item.content)?.map((each) => asString(asObject(each)?.text))
  const encrypted = asString(item.encrypted_content)
  if (summary?.includes(undefined) === true || text?.includes(undefined) === true) return undefined
  return {
    type: 'reasoning',
    ...(text !== undefined && text.length > 0 && { text: text.join('\n') }),
    ...(summary !== undefined && summary.length > 0 && { summary: summary.filter((each) => each !== undefined) }),
    ...(encrypted !== undefined && { encrypted }),
    redacted: false,
    origin,
  }
}

function readOutput(callId: string, item: JsonObject): ToolResult | undefined {
  const content = readContent(item.output)
  return content && { type: 'tool_result', callId, status: 'ok', content: content as ResultPart[] }
}

/** Calls that OpenAI has a type of item for each, and their outputs: kept whole. */
function readProviderItem(callId: string, type: string, item: JsonObject): Part | undefined {
  if (type.endsWith('_output'))
    return { type: 'tool_result', callId, status: 'ok', content: [customPart(provider, item)], origin, raw: item }
  if (!type.endsWith('_call')) return undefined
  const args = argumentValue(item.arguments ?? item.action ?? item.operation)
  const name = type.slice(0, -'_call'.length)
  return { type: 'tool_call', callId, name, args, executor: { kind: 'provider' }, origin, raw: item }
}

function decodeBlock(block: Json): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields)
  return part === undefined ? customPart(provider, block) : keepBlock(part, block, format, ['input_text', 'output_text', 'text'])
}

function readBlock(block: JsonObject): Part | undefined {
  const text = asString(block.text)
  switch (block.type) {
    case 'input_text':
    case 'output_text':
    case 'text':
      return text === undefined ? undefined : withCitations(textPart(text), block)
    case 'refusal': {
      const refusal = asString(block.refusal)
      return refusal === undefined ? undefined : { type: 'refusal', text: refusal }
    }
    case 'input_image':
      return readMedia(block, 'image', 'image_url')
    case 'input_file':
      return readMedia(block, 'document', 'file_data')
    default:
      return undefined
  }
}

function withCitations(part: Text, block: JsonObject): Text {
  const citations = (asList(block.annotations) ?? []).map((raw) => {
    const fields = asObject(raw)
    const [kind, url, title] = [asString(fields?.type), asString(fields?.url), asString(fields?.title)]
    return { kind: kind ?? 'unknown', ...(url !== undefined && { url }), ...(title !== undefined && { title }), raw }
  })
  return citations.length > 0 ? { ...part, citations } : part
}

function readMedia(block: JsonObject, kind: 'image' | 'document', key: string): Media | undefined {
  const mark = asMediaMark(block[key])
  const [url, fileId, filename] = [
    asString(block.image_url) ?? asString(block.file_url),
    asString(block.file_id),
    asString(block.filename),
  ]
  const mediaType = (mark && mediaTypeOfUrl(mark)) ?? (kind === 'image' ? 'image/*' : 'application/pdf')
  const about = { type: 'media' as const, kind, mediaType, ...(filename !== undefined && { filename }) }
  if (mark) return { ...about, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
  if (fileId !== undefined) return { ...about, source: { kind: 'providerFile', provider, fileId } }
  return url === undefined ? undefined : { ...about, source: { kind: 'url', url } }
}

// Out

/** Instructions go back to where they were; others are messages. */
function writeInstructions({ message, entries }: Step): Json | undefined {
  const [entry] = entries
  if (messageFrame(message, id)?.form !== 'instructions' || entries.length !== 1) return undefined
  if (entry?.part.type === 'text') return entry.part.text
  return entry?.part.type === 'custom' ? entry.part.payload : undefined
}

/** The words of a single user message, where they were all the input. */
function writeInput([step, ...more]: readonly Step[]): Json | undefined {
  if (step === undefined || more.length > 0 || messageFrame(step.message, id)?.form !== 'input') return undefined
  const [entry] = step.entries
  return entry?.part.type === 'text' ? entry.part.text : undefined
}

function writeStep(step: Step, writing: Writing): Json[] {
  const { message } = step
  const whole = wholeOf(message, id)
  if (whole) {
    if (!writing.isRequest) return [whole.payload]
    writing.report('part_dropped', step)
    return []
  }
  reportAuthor(message, writing.report)
  const isMessage = step.role !== 'assistant' && step.role !== 'tool'
  const items = isMessage ? writeMessage(step, writing) : writeRun(step, writing)
  if (items.length === 0) writing.report('empty_dropped', step)
  return items
}

function writeMessage(step: Step, writing: Writing): Json[] {
  const frame = step.isWhole ? messageFrame(step.message, id) : undefined
  const item = messageItem(step, frame?.form === 'list' ? 'list' : 'text', writing)
  const isEmpty = item.content === '' || asList(item.content)?.length === 0
  return isEmpty && writing.isRequest ? [] : [framed(item, frame)]
}

function messageItem({ role, entries }: Step, form: (typeof forms)[number], writing: Writing): JsonObject {
  const blocks = entries.flatMap((entry) => writeBlock(entry, role, writing))
  return { role, content: contentOf(blocks, form) }
}

function contentOf(blocks: readonly JsonObject[], form: string | undefined): Json {
  if (form === 'list') return blocks
  return blocks.length === 0 ? '' : (plainText(blocks, ['input_text', 'output_text', 'text']) ?? blocks)
}

/** The items of an answer or of outputs. */
function writeRun(step: Step, writing: Writing): Json[] {
  const { entries } = step
  const left = writing.isRequest ? entries.filter((entry, i) => !isStranded(entry, entries.slice(i + 1), writing)) : entries
  const items: Json[] = []
  let open: { readonly item: ItemOfPart; readonly entries: Entry[] } | undefined
  const close = (): void => {
    if (open) items.push(answerItem(open.item.fields, open.entries, writing))
    open = undefined
  }
  for (const entry of left) {
    const item = itemOf(entry.part)
    if (
      open &&
      item &&
      item.block > (itemOf(open.entries.at(-1)?.part as Part)?.block ?? 0) &&
      sameJson(item.fields, open.item.fields)
    ) {
      open.entries.push(entry)
      continue
    }
    close()
    if (item) open = { item, entries: [entry] }
    else items.push(...writeItem(entry, writing))
  }
  close()
  return items
}

/**
 * Reasoning goes with the item it led to: the API answers 400 `reasoning was provided without its required following item`. An item
 * it knows by id leads to one that it knows by id, or to a call.
 */
function isStranded(entry: Entry, following: readonly Entry[], { report }: Writing): boolean {
  const { part } = entry
  if (part.type !== 'reasoning' || !isFrom(part, origin)) return false
  const next = following.find((other) => other.part.type !== 'reasoning' && leadsOn(other))
  const hasId = partFrame(part, id)?.fields?.id !== undefined || asObject(part.raw)?.id !== undefined
  const isRewritten = next !== undefined && hasId && saysText(next.part) && itemOf(next.part)?.fields.id === undefined
  if (next !== undefined && !isRewritten) return false
  report('reasoning_dropped', entry)
  return true
}

const saysText = ({ type }: Part): boolean => type === 'text' || type === 'refusal'

/** Whether an item will come of it. */
function leadsOn({ part }: Entry): boolean {
  if (part.type === 'tool_call') return true
  if (part.type === 'text' || part.type === 'refusal') return itemOf(part) !== undefined || !isBlank(part.text)
  return part.type === 'custom' ? part.kind.startsWith(`${provider}.`) : part.type === 'compaction' && isFrom(part, origin)
}

function answerItem(about: JsonObject, entries: readonly Entry[], writing: Writing): JsonObject {
  const { content: form, ...fields } = about
  const blocks = entries.flatMap((entry) => writeBlock(entry, 'assistant', writing))
  return { ...fields, role: 'assistant', content: contentOf(blocks, asString(form)) }
}

function writeItem(entry: Entry, writing: Writing): Json[] {
  const { part } = entry
  if (writing.isRequest && isUnreadCall(part)) {
    writing.report('part_dropped', entry)
    return []
  }
  const item = blockOf(entry, writing, format)
  const fields = asObject(item)
  if (fields && writing.isRequest && (isCall(entry) || isResult(entry)) && part.raw === undefined) {
    return [{ ...fields, call_id: entry.part.callId, ...(isCall(entry) && { name: entry.part.name }) }]
  }
  const isItem = !saysText(part) && part.type !== 'media'
  if (item !== undefined && isItem) return [item]
  const text = part.type === 'refusal' ? part.text : textInstead(entry, writing.report)
  if (text === undefined || (writing.isRequest && isBlank(text))) return []
  const isRefusal = part.type === 'refusal' && partFrame(part, id) === undefined
  return [{ role: 'assistant', content: isRefusal ? [{ type: 'refusal', refusal: text }] : text }]
}

/** A call or output that could not be read cannot be paired either. */
const isUnreadCall = (part: Part): boolean =>
  part.type === 'custom' && /\.(function_call|custom_tool_call|.*_output)$/.test(part.kind)

function writeBlock(entry: Entry, role: Message['role'], writing: Writing): JsonObject[] {
  const { part } = entry
  const isTaken = !writing.isRequest || isTakenIn(part, role)
  const isBlock = saysText(part) || part.type === 'media' || part.type === 'custom'
  const block = isTaken && isBlock ? blockOf(entry, writing, format) : undefined
  if (block !== undefined) {
    const isEmptyText = writing.isRequest && part.type === 'text' && isBlank(part.text) && itemOf(part) === undefined
    return isEmptyText ? [] : [block as JsonObject]
  }
  const text = textInstead(entry, writing.report)
  return text === undefined || (writing.isRequest && isBlank(text)) ? [] : [{ type: 'input_text', text }]
}

/** What the API takes where it stands; the rest is said in words. */
function isTakenIn(part: Part, role: Message['role']): boolean {
  if (part.type === 'media') return role === 'user' && isTakenMedia(part)
  return part.type === 'refusal' || part.type === 'custom' ? role === 'assistant' : true
}

function isTakenMedia({ kind, mediaType, source }: Media): boolean {
  if (source.kind === 'text') return !isBlank(source.text)
  if (source.kind === 'providerFile') return source.provider === provider && (kind === 'image' || kind === 'document')
  return kind === 'image' || (kind === 'document' && (source.kind === 'url' || mediaType === 'application/pdf'))
}

function build(entry: Entry, writing: Writing): Json | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return writeText(entry as Entry<Text>, writing)
    case 'refusal':
      return { type: 'refusal', refusal: part.text }
    case 'media':
      return writeMedia(part)
    case 'reasoning':
      return writeReasoning(part, entry, writing)
    case 'tool_call':
      return writeCall(part)
    case 'tool_result':
      return writeOutput(entry as Entry<ToolResult>, writing)
    case 'compaction':
      return isFrom(part, origin) && part.opaque !== undefined
        ? { type: 'compaction', encrypted_content: part.opaque }
        : undefined
    case 'approval':
      if (!isFrom(part, origin)) return undefined
      if (part.decision === undefined) return { type: 'mcp_approval_request', id: part.approvalId }
      return { type: 'mcp_approval_response', approval_request_id: part.approvalId, approve: part.decision === 'approved' }
    case 'custom':
      return part.kind.startsWith(`${provider}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

const format = { codec: id, origin, build }

function writeText(entry: Entry<Text>, { report }: Writing): JsonObject {
  const { part } = entry
  if (part.cacheHint !== undefined) report('cache_hint_dropped', entry)
  const own = (part.citations ?? []).flatMap(({ raw, kind }) => (ownCitations.has(kind) && raw !== undefined ? [raw] : []))
  if (own.length < (part.citations?.length ?? 0)) report('citations_dropped', entry)
  const type = partFrame(part, id)?.form ?? 'input_text'
  return type === 'output_text' ? { type, text: part.text, annotations: own } : { type, text: part.text }
}

const ownCitations: ReadonlySet<string> = new Set(['file_citation', 'url_citation', 'container_file_citation', 'file_path'])

function writeMedia({ kind, mediaType, source, filename }: Media): JsonObject {
  const isImage = kind === 'image'
  switch (source.kind) {
    case 'text':
      return { type: 'input_text', text: source.text }
    case 'url':
      return isImage ? { type: 'input_image', image_url: source.url } : { type: 'input_file', file_url: source.url }
    case 'providerFile':
      return defined({ type: isImage ? 'input_image' : 'input_file', file_id: source.fileId, filename })
    case 'hash': {
      const mark = mediaMark(source.hash, source.bytes, `data:${mediaType};base64,`)
      return isImage ? { type: 'input_image', image_url: mark } : defined({ type: 'input_file', filename, file_data: mark })
    }
    default:
      return source satisfies never
  }
}

function writeReasoning(part: Reasoning, entry: Entry, { report }: Writing): JsonObject | undefined {
  if (!isFrom(part, origin)) {
    report('reasoning_dropped', entry)
    return undefined
  }
  return defined({
    type: 'reasoning',
    summary: (part.summary ?? []).map((text) => ({ type: 'summary_text', text })),
    content: part.text === undefined ? undefined : [{ type: 'reasoning_text', text: part.text }],
    encrypted_content: part.encrypted,
  })
}

const isFreeText = (call: ToolCall): boolean => partFrame(call, id)?.form === 'custom'

function writeCall(part: ToolCall): JsonObject | undefined {
  const { callId, name, args, executor } = part
  if (executor.kind !== 'client') return undefined
  if (isFreeText(part)) return { type: 'custom_tool_call', call_id: callId, name, input: args.raw }
  return { type: 'function_call', call_id: callId, name, arguments: args.raw === '' ? '{}' : args.raw }
}

function writeOutput(entry: Entry<ToolResult>, writing: Writing): JsonObject {
  const { part, call } = entry
  reportStatus(entry, writing.report)
  const blocks = resultEntries(entry).flatMap((piece) => writePiece(piece, writing))
  const form = partFrame(part, id)?.form
  const isOfCustom = writing.isRequest && call !== undefined ? isFreeText(call.part) : form === 'custom'
  const type = isOfCustom ? 'custom_tool_call_output' : 'function_call_output'
  return { type, call_id: part.callId, output: contentOf(blocks, form) }
}

function writePiece(piece: Entry<ResultPart>, writing: Writing): JsonObject[] {
  const { part } = piece
  if (part.type === 'text' || (part.type === 'media' && (!writing.isRequest || isTakenMedia(part)))) {
    return [blockOf(piece, writing, format) as JsonObject]
  }
  if (part.type === 'custom' && part.kind.startsWith(`${provider}.`)) return [part.payload as JsonObject]
  const text = resultPieceText(piece, writing.report)
  return text === '' ? [] : [{ type: 'input_text', text }]
}
