import type { Json, JsonObject, Message, Part } from '@colloquy/core'
import { type ArrangeRules, arrange, firstWords, inOrder, type Step, type Turn, takeTurns, wholeStep } from './arrange.ts'
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
import { blockOf, type Frame, framed, frameOf, isFrom, keepBlock, messageFrame, partFrame, withMessageFrame } from './frame.ts'
import { asMediaMark, mediaMark } from './inline-media.ts'
import {
  argumentObject,
  argumentValue,
  customPart,
  type Entry,
  isBlank,
  isCall,
  isJsonPart,
  isResult,
  type Media,
  type Reasoning,
  type ResultPart,
  reportAuthor,
  resultEntries,
  resultPieceText,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
} from './parts.ts'

export interface AnthropicBody {
  readonly system?: string | readonly JsonObject[]
  readonly messages: readonly JsonObject[]
}

const id = 'anthropic.messages'
const provider = 'anthropic'
const origin = { provider, api: 'messages' }

/**
 * Anthropic Messages: `system` and `messages`.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | reasoning, signed or redacted, of Anthropic | itself, in its answer | |
 * | other reasoning; reasoning that ends an answer | nothing | `reasoning_dropped` |
 * | call and result of a server tool of Anthropic | itself | |
 * | of another provider, or one that never ended | nothing | `server_tool_dropped` |
 * | arguments that are no object | `{"arguments": ...}` | `arguments_changed` |
 * | compaction of Anthropic | itself | |
 * | other compaction | its text, or nothing | `converted_to_text`, `opaque_dropped` |
 * | image (jpeg, png, gif, webp), PDF, plain text, from a user or a tool | itself | |
 * | other media, media in an answer | a line of text | `media_replaced` |
 * | refusal | text | `converted_to_text` |
 * | citations of Anthropic | themselves | |
 * | other citations, sources | nothing | `citations_dropped` |
 * | approval | nothing; a denied call gets a result that says so | `approval_dropped` |
 * | status of a result | `is_error` unless ok | |
 * | system and developer messages | `system` before the first turn, else said by the user | `role_changed` |
 * | blank text, empty messages | nothing | `empty_dropped` |
 * | messages of one role in a row | one message | `messages_merged` |
 * | an answer first | a user message before it | `filler_added` |
 * | white space at the end of a last answer | nothing | `text_trimmed` |
 * | more than four cache hints | the last four | `cache_hint_dropped` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `tool_name_changed`, `media_missing`,
 * `message_split`, `text_repaired`, `author_dropped`.
 */
export const anthropicMessages: Codec<AnthropicBody> = {
  id,
  decode: (foreign, context) =>
    decodeRequest(id, foreign, context, 'messages', ['system'], (list, fields, reading) => [
      ...(fields.system === undefined ? [] : [decodeSystem(fields.system, reading)]),
      ...list.map((message) => decodeMessage(message, reading)),
    ]),
  encode: (messages, options = {}) =>
    encodeMessages(messages, options, (ready, writing) => {
      const steps = writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: false })
      return writeBody(steps, writing)
    }),
}

const rules: ArrangeRules = {
  names: {
    callIds: { illegal: /[^a-zA-Z0-9_-]/g, limit: 128, uniqueIn: 'request' },
    toolNames: { illegal: /[^a-zA-Z0-9_-]/g, limit: 128 },
  },
  keepsProviderCall: (call) => isFrom(call, origin),
  providerResults: 'in the answer',
  goesOnAfterCalls: true,
  keepsApproval: () => false,
}

// In

const forms = ['list', 'text'] as const

function decodeMessage(foreign: Json, { identified, takeOut }: Reading): Message {
  const fields = asObject(takeOut(foreign))
  const blocks = asList(fields?.content)
  const text = asString(fields?.content)
  const role = asString(fields?.role)
  if (fields && (role === 'user' || role === 'assistant' || role === 'system') && (blocks ?? text) !== undefined) {
    const parts = blocks ? blocks.map(decodeBlock) : text === '' ? [] : [textPart(text ?? '')]
    const isResults = role === 'user' && parts.length > 0 && parts.every(({ type }) => type === 'tool_result')
    const message = identified(undefined, { role: isResults ? 'tool' : role, parts })
    const frame = frameOf(fields, forms, (form) => writeMessage(wholeStep(message), form, rehearsal))
    // Instructions among the messages are told from the system prompt.
    const form = role === 'system' ? `turn ${frame?.form ?? 'list'}` : undefined
    const kept = frame && withMessageFrame(message, id, form === undefined ? frame : { ...frame, form })
    const whole = checked(kept, fields, (candidate) => writeMessage(wholeStep(candidate), undefined, rehearsal))
    if (whole) return whole
  }
  return identified(undefined, wholeMessage(provider, id, takeOut(foreign)))
}

function decodeSystem(system: Json, { identified, takeOut }: Reading): Message {
  const content = takeOut(system)
  const blocks = asList(content)
  const text = asString(content)
  const parts = text === undefined ? (blocks ?? [content]).map(decodeBlock) : [textPart(text)]
  const form = text === undefined ? (blocks ? 'list' : 'other') : 'text'
  return withMessageFrame(identified(undefined, { role: 'system', parts }), id, form === 'list' ? {} : { form })
}

function decodeBlock(block: Json): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields)
  return part === undefined ? customPart(provider, block) : keepBlock(part, block, format, ['list', 'text'])
}

function readBlock(block: JsonObject): Part | undefined {
  switch (block.type) {
    case 'thinking': {
      const [text, signature] = [asString(block.thinking), asString(block.signature)]
      if (text === undefined) return undefined
      return { type: 'reasoning', text, ...(signature !== undefined && { signature }), redacted: false, origin }
    }
    case 'redacted_thinking': {
      const encrypted = asString(block.data)
      return encrypted === undefined ? undefined : { type: 'reasoning', encrypted, redacted: true, origin }
    }
    case 'tool_use':
      return readCall(block, { kind: 'client' })
    case 'server_tool_use':
      return readCall(block, { kind: 'provider' })
    case 'mcp_tool_use':
      return readCall(block, { kind: 'mcp', server: asString(block.server_name) ?? 'unknown' })
    case 'tool_result':
      return readResult(block)
    case 'compaction': {
      const [content, opaque] = [asString(block.content), asString(block.encrypted_content)]
      return { type: 'compaction', ...(content !== undefined && { content }), ...(opaque !== undefined && { opaque }), origin }
    }
    default:
      return asString(block.type)?.endsWith('_tool_result') ? readServerResult(block) : readPiece(block)
  }
}

function readCall(block: JsonObject, executor: ToolCall['executor']): ToolCall | undefined {
  const [callId, name] = [asId(block.id), asString(block.name)]
  if (callId === undefined || name === undefined) return undefined
  const { caller } = block
  const isOurs = executor.kind === 'client'
  return {
    type: 'tool_call',
    callId,
    name,
    args: argumentValue(block.input),
    executor,
    ...(caller !== undefined && { caller }),
    ...(!isOurs && { origin }),
  }
}

function readResult(block: JsonObject): ToolResult | undefined {
  const callId = asId(block.tool_use_id)
  const text = asString(block.content)
  const list = block.content === undefined ? [] : asList(block.content)
  if (callId === undefined || (text === undefined && list === undefined)) return undefined
  const content = text === undefined ? (list ?? []).map(decodePiece) : text === '' ? [] : [textPart(text)]
  return { type: 'tool_result', callId, status: block.is_error === true ? 'error' : 'ok', content }
}

/** Results of server tools have a shape each: the block is kept as the one piece of content. */
function readServerResult(block: JsonObject): ToolResult | undefined {
  const callId = asId(block.tool_use_id)
  if (callId === undefined) return undefined
  const isError = block.is_error === true || asString(asObject(block.content)?.type)?.endsWith('_error') === true
  return { type: 'tool_result', callId, status: isError ? 'error' : 'ok', content: [customPart(provider, block)], origin }
}

function decodePiece(block: Json): ResultPart {
  const fields = asObject(block)
  const part = fields && readPiece(fields)
  return part === undefined ? customPart(provider, block) : keepBlock(part, block, format)
}

function readPiece(block: JsonObject): Text | Media | undefined {
  const cacheHint = readCacheHint(block.cache_control)
  const hint = cacheHint !== undefined && { cacheHint }
  const text = asString(block.text)
  if (block.type === 'text' && text !== undefined) {
    const citations = asList(block.citations)?.map(readCitation) ?? []
    return { type: 'text', text, ...(citations.length > 0 && { citations }), ...hint }
  }
  if (block.type !== 'image' && block.type !== 'document') return undefined
  const source = asObject(block.source)
  const found = source && readSource(source)
  if (found === undefined) return undefined
  const filename = asString(block.title)
  return { type: 'media', kind: block.type, ...found, ...(filename !== undefined && { filename }), ...hint }
}

function readSource(source: JsonObject): Pick<Media, 'mediaType' | 'source'> | undefined {
  const mediaType = asString(source.media_type) ?? 'application/octet-stream'
  const mark = asMediaMark(source.data)
  const [url, fileId, text] = [asString(source.url), asString(source.file_id), asString(source.data)]
  if (source.type === 'base64' && mark) return { mediaType, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
  if (source.type === 'url' && url !== undefined) return { mediaType, source: { kind: 'url', url } }
  if (source.type === 'file' && fileId !== undefined) return { mediaType, source: { kind: 'providerFile', provider, fileId } }
  if (source.type === 'text' && text !== undefined) return { mediaType, source: { kind: 'text', text } }
  return undefined
}

function readCitation(raw: Json) {
  const fields = asObject(raw)
  const [kind, text, url] = [asString(fields?.type), asString(fields?.cited_text), asString(fields?.url)]
  const title = asString(fields?.title) ?? asString(fields?.document_title)
  return {
    kind: kind ?? 'unknown',
    ...(text !== undefined && { text }),
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    raw,
  }
}

/** `ephemeral`, or `ephemeral:1h` with how long. */
function readCacheHint(control: Json | undefined): string | undefined {
  const [type, ttl] = [asString(asObject(control)?.type), asString(asObject(control)?.ttl)]
  return type === undefined ? undefined : ttl === undefined ? type : `${type}:${ttl}`
}

// Out

interface Block extends JsonObject {}
interface AnthropicTurn extends Turn<Block> {
  /** Of the first message in it. */
  readonly fields: JsonObject
  readonly isText: boolean
}

function writeBody(steps: readonly Step[], writing: Writing): JsonObject {
  const firstTurn = steps.findIndex((step) => !isPrompt(step))
  const leading = firstTurn < 0 ? steps : steps.slice(0, firstTurn)
  const system = writeSystem(leading, writing)
  const rest = steps.slice(leading.length)
  const messages = writing.isRequest
    ? writeRequest(rest, cacheHintsIn(system), writing)
    : rest.map((step) => writeMessage(step, undefined, writing))
  return { ...(system !== undefined && { system }), messages }
}

const isTurn = (frame: Frame | undefined): boolean => frame?.form?.startsWith('turn') === true
const isText = (form: string | undefined): boolean => form === 'text' || form === 'turn text'
/** Instructions that did not stand among the messages. */
const isPrompt = (step: Step): boolean => isInstruction(step) && !isTurn(messageFrame(step.message, id))
const isInstruction = ({ role }: Step): boolean => role === 'system' || role === 'developer'

function writeSystem(steps: readonly Step[], writing: Writing): Json | undefined {
  if (steps.length === 0) return undefined
  const [first] = steps
  const form = first && messageFrame(first.message, id)?.form
  const unread = form === 'other' ? first?.entries[0]?.part : undefined
  if (unread?.type === 'custom' && !writing.isRequest) return unread.payload
  for (const { message, role } of steps) if (role === 'developer') writing.report('role_changed', { message })
  const blocks = steps.flatMap((step) => step.entries.flatMap((entry) => writeEntry(entry, 'system', writing)))
  const words = blocks.length === 0 ? '' : plainText(blocks)
  if (form === 'text' && words !== undefined) return words
  const filled = writing.isRequest ? withoutMoreHints(blocks.filter((each) => !isBlankText(each))) : blocks
  return filled.length === 0 && writing.isRequest ? undefined : filled
}

function writeRequest(steps: readonly Step[], hintsBefore: number, writing: Writing): Json[] {
  const turns = steps.flatMap((step): AnthropicTurn[] => {
    if (wholeOf(step.message, id) !== undefined) {
      writing.report('part_dropped', step)
      return []
    }
    const turn = writeTurn(step, writing)
    if (turn.blocks.length > 0) return [turn]
    writing.report('empty_dropped', step)
    return []
  })
  const first = turns[0]
  if (first?.role === 'assistant') {
    writing.report('filler_added', first)
    turns.unshift({ ...first, role: 'user', blocks: [{ type: 'text', text: firstWords }], fields: {}, isText: true })
  }
  const inTurn = takeTurns(turns, writing.report)
  return limitCacheHints(inTurn, mostHints - hintsBefore, writing).map((turn, i) =>
    messageOf(i === inTurn.length - 1 ? trimmed(turn, writing) : turn),
  )
}

function writeTurn(step: Step, writing: Writing): AnthropicTurn {
  const { message, entries } = step
  const frame = step.isWhole ? messageFrame(message, id) : undefined
  const isSaid = isInstruction(step) && !isTurn(frame)
  if (isSaid) writing.report('role_changed', step)
  const role = step.role === 'assistant' ? 'assistant' : isInstruction(step) && !isSaid ? 'system' : 'user'
  reportAuthor(message, writing.report)
  const written = entries.flatMap((entry) => writeEntry(entry, role, writing).map((block) => ({ block, entry })))
  const isAnswer = role === 'assistant' && written.some(({ block }) => !isThought(block) && !isBlankText(block))
  // The API takes white space between two texts of its own, and no text without a character.
  const filled = written.filter(({ block, entry }) => {
    const text = block.type === 'text' ? asString(block.text) : undefined
    if (text === undefined || (isAnswer ? text !== '' : !isBlank(text))) return true
    writing.report('empty_dropped', entry)
    return false
  })
  const lastThought = filled.findLastIndex(({ block }) => !isThought(block))
  for (const { entry } of filled.slice(lastThought + 1)) writing.report('reasoning_dropped', entry)
  const blocks = filled.slice(0, lastThought + 1).map(({ block }) => block)
  return { role, message, blocks, fields: frame?.fields ?? {}, isText: isText(frame?.form) }
}

const isBlankText = ({ type, text }: Block): boolean => type === 'text' && typeof text === 'string' && isBlank(text)
const isThought = ({ type }: Block): boolean => type === 'thinking' || type === 'redacted_thinking'

function messageOf({ role, blocks, fields, isText }: AnthropicTurn): Json {
  const content = (isText ? plainText(blocks) : undefined) ?? blocks
  return framed({ role, content }, { fields })
}

/** A message as it was, whether or not it would be taken. */
function writeMessage(step: Step, form: (typeof forms)[number] | undefined, writing: Writing): Json {
  const { message, entries } = step
  const whole = wholeOf(message, id)
  if (whole) return whole.payload
  const frame = messageFrame(message, id)
  const role = step.role === 'tool' ? 'user' : step.role === 'developer' ? 'system' : step.role
  const blocks = entries.flatMap((entry) => writeEntry(entry, role, writing))
  const words = blocks.length === 0 ? '' : plainText(blocks)
  const content = (isText(form ?? frame?.form) ? words : undefined) ?? blocks
  return framed({ role, content }, form === undefined ? frame : undefined)
}

/** The API takes four. Those of the system prompt stay, and of the others the last, which cover the most. */
const mostHints = 4

function withoutMoreHints(blocks: readonly Block[]): Block[] {
  let left = mostHints
  return blocks.map((block) => (block.cache_control === undefined || left-- > 0 ? block : withoutHint(block)))
}

function withoutHint(block: Block): Block {
  return Object.fromEntries(Object.entries(block).filter(([key]) => key !== 'cache_control'))
}

const cacheHintsIn = (system: Json | undefined): number =>
  (asList(system) ?? []).filter((block) => asObject(block)?.cache_control !== undefined).length

function limitCacheHints(turns: readonly AnthropicTurn[], limit: number, { report }: Writing): AnthropicTurn[] {
  let left = limit
  const limited = turns.toReversed().map((turn) => {
    const blocks = turn.blocks.toReversed().map((block) => {
      if (block.cache_control === undefined || left-- > 0) return block
      report('cache_hint_dropped', turn)
      return withoutHint(block)
    })
    return { ...turn, blocks: blocks.toReversed() }
  })
  return limited.toReversed()
}

/** An answer at the end is one that the model goes on with: it must not end with white space, or with a thought. */
function trimmed(turn: AnthropicTurn, { report }: Writing): AnthropicTurn {
  const end = turn.blocks.findLastIndex((block) => !isBlankText(block) && !isThought(block))
  const last = turn.blocks[end]
  const text = last?.type === 'text' ? asString(last.text) : undefined
  const isTrimmed = end === turn.blocks.length - 1 && (text === undefined || text === text.trimEnd())
  if (turn.role !== 'assistant' || last === undefined || isTrimmed) return turn
  report(turn.blocks.slice(end + 1).some(isThought) ? 'reasoning_dropped' : 'text_trimmed', turn)
  const rest = turn.blocks.slice(0, end)
  return { ...turn, blocks: [...rest, text === undefined ? last : { ...last, text: text.trimEnd() }] }
}

type BlockRole = 'user' | 'assistant' | 'system'

function writeEntry(entry: Entry, role: BlockRole, writing: Writing): Block[] {
  const { part } = entry
  const own = !writing.isRequest || isTaken(part, role) ? blockOf(entry, writing, format) : undefined
  const blocks = toBlocks(own === undefined ? writeInstead(entry, writing) : own, entry, writing)
  if (!writing.isRequest) return blocks
  if (isCall(entry) && entry.part.executor.kind === 'client') {
    const { callId, name } = entry.part
    const input = argumentObject(entry, writing.report)
    return blocks.map((block) => ({ ...block, id: callId, name, input }))
  }
  if (isResult(entry) && !isFrom(part, origin)) return blocks.map((block) => ({ ...block, tool_use_id: entry.part.callId }))
  return blocks
}

/** What the API takes where it stands; the rest is said in words. */
function isTaken(part: Part, role: BlockRole): boolean {
  switch (part.type) {
    case 'media':
      return role === 'user' && isTakenMedia(part)
    case 'reasoning':
      return role === 'assistant' && Boolean(part.redacted ? part.encrypted : part.signature)
    case 'compaction':
      return role === 'assistant' && isFrom(part, origin)
    case 'custom':
      // A call or result that could not be read cannot be paired either.
      return role !== 'system' && !/tool_(use|result)$/.test(part.kind)
    default:
      return true
  }
}

const imageTypes: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

function isTakenMedia({ kind, mediaType, source }: Media): boolean {
  if (source.kind === 'providerFile') return source.provider === provider && (kind === 'image' || kind === 'document')
  if (source.kind === 'text') return kind === 'document' && !isBlank(source.text)
  if (kind === 'image') return source.kind === 'url' || imageTypes.has(mediaType)
  return (
    kind === 'document' &&
    (mediaType === 'application/pdf' || (source.kind === 'url' && mediaType === 'application/octet-stream'))
  )
}

function writeInstead(entry: Entry, { report }: Writing): Json | undefined {
  const text = textInstead(entry, report)
  return text === undefined ? undefined : { type: 'text', text }
}

/** A block is an object; what else a custom part may hold is for transcripts. */
function toBlocks(block: Json | undefined, entry: Entry, { isRequest, report }: Writing): Block[] {
  const fields = asObject(block)
  if (fields !== undefined || block === undefined) return fields === undefined ? [] : [fields]
  if (!isRequest) return [block as unknown as Block]
  report('part_dropped', entry)
  return []
}

const format = { codec: id, origin, build }

/** The block of a part; undefined when there is none for it. */
function build(entry: Entry, writing: Writing): Json | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return writeText(entry as Entry<Text>, writing)
    case 'media':
      return writeMedia(part)
    case 'reasoning':
      return writeReasoning(part)
    case 'tool_call':
      return writeCall(entry as Entry<ToolCall>, writing)
    case 'tool_result':
      return writeResult(entry as Entry<ToolResult>, writing)
    case 'compaction':
      if (!isFrom(part, origin)) return undefined
      return defined({ type: 'compaction', content: part.content ?? null, encrypted_content: part.opaque })
    case 'custom':
      return part.kind.startsWith(`${provider}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

function writeText(entry: Entry<Text>, { report }: Writing): JsonObject {
  const { citations = [], cacheHint, text } = entry.part
  const own = citations.flatMap(({ raw }) =>
    ownCitations.has(asString(asObject(raw)?.type) ?? '') && raw !== undefined ? [raw] : [],
  )
  if (own.length < citations.length) report('citations_dropped', entry)
  return defined({ type: 'text', text, citations: own.length > 0 ? own : undefined, cache_control: writeCacheHint(cacheHint) })
}

const ownCitations: ReadonlySet<string> = new Set([
  'char_location',
  'page_location',
  'content_block_location',
  'web_search_result_location',
  'search_result_location',
])

function writeCacheHint(hint: string | undefined): JsonObject | undefined {
  if (hint === undefined) return undefined
  const [type = '', ttl] = hint.split(':')
  return defined({ type, ttl })
}

function writeMedia(part: Media): JsonObject {
  const cache_control = writeCacheHint(part.cacheHint)
  const type = part.kind === 'image' ? 'image' : 'document'
  return defined({ type, source: writeSource(part), title: part.filename, cache_control })
}

function writeSource({ source, mediaType }: Media): JsonObject {
  switch (source.kind) {
    case 'hash':
      return { type: 'base64', media_type: mediaType, data: mediaMark(source.hash, source.bytes) }
    case 'url':
      return { type: 'url', url: source.url }
    case 'providerFile':
      return { type: 'file', file_id: source.fileId }
    case 'text':
      return { type: 'text', media_type: 'text/plain', data: source.text }
    default:
      return source satisfies never
  }
}

function writeReasoning(part: Reasoning): JsonObject | undefined {
  if (!isFrom(part, origin)) return undefined
  if (part.redacted) return { type: 'redacted_thinking', data: part.encrypted ?? '' }
  return defined({ type: 'thinking', thinking: part.text ?? '', signature: part.signature })
}

function writeCall(entry: Entry<ToolCall>, { report }: Writing): JsonObject {
  const { callId, name, executor, caller, args } = entry.part
  const input = args.json ?? argumentObject(entry, report)
  if (executor.kind === 'mcp')
    return defined({ type: 'mcp_tool_use', id: callId, name, server_name: executor.server, input, caller })
  return defined({ type: executor.kind === 'client' ? 'tool_use' : 'server_tool_use', id: callId, name, input, caller })
}

function writeResult(entry: Entry<ToolResult>, writing: Writing): JsonObject {
  const { part } = entry
  const [only] = part.content
  const server = part.content.length === 1 && only?.type === 'custom' ? asObject(only.payload) : undefined
  if (isFrom(part, origin) && server !== undefined && asString(server.type)?.endsWith('_tool_result')) return server
  const pieces = resultEntries(entry).flatMap((piece) => writePiece(piece, writing))
  const words = pieces.length === 0 ? '' : plainText(pieces)
  const isText = partFrame(part, id)?.form === 'text' && words !== undefined
  const content = isText ? words : pieces.length > 0 ? pieces : undefined
  return defined({ type: 'tool_result', tool_use_id: part.callId, content, is_error: part.status === 'ok' ? undefined : true })
}

function writePiece(piece: Entry<ResultPart>, writing: Writing): Block[] {
  const { part } = piece
  if (part.type === 'custom' && !isJsonPart(part) && part.kind.startsWith(`${provider}.`))
    return toBlocks(part.payload, piece, writing)
  if (part.type === 'text' || (part.type === 'media' && (!writing.isRequest || isTakenMedia(part)))) {
    const blocks = toBlocks(blockOf(piece, writing, format), piece, writing)
    return writing.isRequest ? blocks.filter((block) => !isBlankText(block)) : blocks
  }
  const text = resultPieceText(piece, writing.report)
  return writing.isRequest && isBlank(text) ? [] : [{ type: 'text', text }]
}
