import type { Json, JsonObject, Message, Part, Usage } from '@colloquy/core'
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
import { asCount, asId, asList, asObject, asString, defined, plainText, sameJson } from './fields.ts'
import { blockOf, framed, frameOf, keepBlock, messageFrame, partFrame, withMessageFrame } from './frame.ts'
import { asMediaMark, mediaMark, mediaTypeOfUrl } from './inline-media.ts'
import {
  argumentObject,
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
  reasoningWords,
  resultEntries,
  resultPieceText,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
  wordsOf,
} from './parts.ts'

export interface LangChainBody {
  readonly messages: readonly JsonObject[]
}

/** How a message object is written: its own fields, as LangGraph has them in its state, or inside of something. */
type Wrapping = 'plain' | 'constructor' | 'stored'

const id = 'langchain.messages'
const provider = 'langchain'
const origin = { provider, api: 'messages' }

/**
 * LangChain messages: `{type, content, tool_calls, ...}` in plain. Reads all three ways of writing; a message comes back in its own.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | reasoning with text | `reasoning` block, or `reasoning_content` where it was; signatures of others are not carried over | `opaque_dropped` |
 * | reasoning without text | nothing | `reasoning_dropped` |
 * | several results in one message | a message each | |
 * | what an answer says after a call | a message of its own, after the results | `message_split` |
 * | call and result of a provider's own tool | nothing | `server_tool_dropped` |
 * | arguments that are no JSON | `invalid_tool_calls` of LangChain, else `{"arguments": ...}` | `arguments_changed` |
 * | status other than ok and error | `error` | `status_dropped` |
 * | media with bytes or url | `image_url`, or the block of their kind | |
 * | media in results | a line of text | `media_replaced` |
 * | file of a provider | a line of text | `media_replaced` |
 * | refusal, readable compaction | text | `converted_to_text` |
 * | other compaction | nothing | `opaque_dropped` |
 * | citations, sources, cache hints | nothing | `citations_dropped`, `cache_hint_dropped` |
 * | approval | nothing; a denied call gets a result that says so | `approval_dropped` |
 * | developer message | system message | `role_changed` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `empty_dropped`, `media_missing`,
 * `text_repaired`.
 */
export const langChain: Codec<LangChainBody> = langChainCodec('plain')
/** The same as `{lc: 1, type: "constructor", id, kwargs}`: what LangChain's `dumps` and `toJSON` write. */
export const langChainSerialized: Codec<LangChainBody> = langChainCodec('constructor')
/** The same as `{type, data}`: what `mapChatMessagesToStoredMessages` writes. */
export const langChainStored: Codec<LangChainBody> = langChainCodec('stored')

function langChainCodec(wrapping: Wrapping): Codec<LangChainBody> {
  return {
    id,
    decode: (foreign, context) =>
      decodeRequest(id, foreign, context, 'messages', [], (list, _, reading) =>
        list.map((message) => decodeMessage(message, wrapping, reading)),
      ),
    encode: (messages, options = {}) =>
      encodeMessages(messages, options, (ready, writing) => {
        const steps = writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: true })
        return { messages: steps.flatMap((step) => writeStep(step, wrapping, writing)) }
      }),
  }
}

const rules: ArrangeRules = {
  names: {
    callIds: { illegal: /$^/g, limit: 200, uniqueIn: 'step' },
    toolNames: { illegal: /$^/g, limit: Number.POSITIVE_INFINITY },
  },
  keepsProviderCall: () => false,
  providerResults: 'in the answer',
  goesOnAfterCalls: false,
  keepsApproval: () => false,
}

// In

const kinds = { human: 'user', ai: 'assistant', AIMessageChunk: 'assistant', system: 'system', tool: 'tool' } as const
const classes = {
  HumanMessage: 'human',
  AIMessage: 'ai',
  AIMessageChunk: 'AIMessageChunk',
  SystemMessage: 'system',
  ToolMessage: 'tool',
} as const

interface Unwrapped {
  readonly kind: keyof typeof kinds
  /** The fields of the message itself. */
  readonly fields: JsonObject
  /** What is around them; a plain message has its type there. */
  readonly around: JsonObject
  readonly wrapping: Wrapping
}

function unwrap(message: JsonObject | undefined): Unwrapped | undefined {
  if (message === undefined) return undefined
  const [kwargs, data] = [asObject(message.kwargs), asObject(message.data)]
  const className = asString(asList(message.id)?.at(-1))
  if (message.type === 'constructor' && kwargs && className !== undefined && Object.hasOwn(classes, className)) {
    const { kwargs: _, ...around } = message
    return { kind: classes[className as keyof typeof classes], fields: kwargs, around, wrapping: 'constructor' }
  }
  const type = asString(message.type) ?? ''
  if (!Object.hasOwn(kinds, type)) return undefined
  const kind = type as keyof typeof kinds
  if (data && Object.keys(message).length === 2) return { kind, fields: data, around: { type }, wrapping: 'stored' }
  const { type: _, ...fields } = message
  return { kind, fields, around: { type }, wrapping: 'plain' }
}

const forms = ['text', 'list'] as const
type Form = (typeof forms)[number]
/** What is around a message, and its `additional_kwargs` without the reasoning: beside the frame in `raw`. */
const aroundKey = 'langchain.around'
const kwargsKey = 'langchain.kwargs'

function decodeMessage(foreign: Json, usual: Wrapping, { identified, takeOut }: Reading): Message {
  const content = takeOut(foreign)
  const unwrapped = unwrap(asObject(content))
  const parts = unwrapped && readParts(unwrapped)
  if (unwrapped && parts) {
    const { kind, fields, around, wrapping } = unwrapped
    const { reasoning_content: _, ...kwargs } = asObject(fields.additional_kwargs) ?? {}
    const name = kind === 'tool' ? undefined : asString(fields.name)
    const model = readModel(fields)
    const isUsual = wrapping === usual && sameJson(around, aroundOf(kind, usual))
    const beside: JsonObject = {
      ...(!isUsual && { [aroundKey]: { wrapping, ...around } }),
      ...(Object.keys(kwargs).length > 0 && { [kwargsKey]: kwargs }),
    }
    const draft = { role: kinds[kind], parts, ...(name !== undefined && { author: { name } }), ...(model && { model }) }
    const message = identified(asId(fields.id), { ...draft, ...(Object.keys(beside).length > 0 && { raw: beside }) })
    const frame = frameOf(fields, forms, (form) => messageOf(wholeStep(message), form, rehearsal))
    if (frame) {
      const kept = { ...message, raw: { ...beside, ...asObject(withMessageFrame(message, id, frame).raw) } }
      const whole = checked(kept, content, (candidate) => writeStep(wholeStep(candidate), usual, rehearsal)[0])
      if (whole) return whole
    }
  }
  return identified(undefined, wholeMessage(provider, id, content))
}

function readParts({ kind, fields }: Unwrapped): Part[] | undefined {
  const text = asString(fields.content)
  const blocks = asList(fields.content)
  if ((text ?? blocks) === undefined) return undefined
  if (kind === 'tool') return readResult(fields, text, blocks)
  const calls = [...(asList(fields.tool_calls) ?? []), ...(asList(fields.invalid_tool_calls) ?? [])].map(decodeCall)
  const reasoning = asString(asObject(fields.additional_kwargs)?.reasoning_content)
  const inContent = new Set<Part>()
  const content = (blocks ?? (text ? [{ type: 'text', text }] : [])).map((block): Part => {
    const call = calls.find((each): each is ToolCall => isCallOf(each, block) && !inContent.has(each))
    if (call === undefined) return decodeBlock(block)
    inContent.add(call)
    return { ...call, providerMetadata: { ...call.providerMetadata, [blockKey]: block } }
  })
  const thought: Part[] =
    reasoning === undefined
      ? []
      : [{ type: 'reasoning', text: reasoning, redacted: false, origin, providerMetadata: { [id]: { form: 'kwargs' } } }]
  return [...thought, ...content, ...calls.filter((call) => !inContent.has(call))]
}

/** Anthropic's own block of a call stands in the content as well. */
const blockKey = 'langchain.block'

function isCallOf(call: Part, block: Json): boolean {
  const fields = asObject(block)
  return call.type === 'tool_call' && fields?.type === 'tool_use' && fields.id === call.callId
}

function decodeCall(call: Json): Part {
  const fields = asObject(call)
  const [callId, name] = [asId(fields?.id), asString(fields?.name)]
  const text = asString(fields?.args)
  if (callId === undefined || name === undefined || fields?.args === undefined) {
    return { type: 'custom', kind: `${provider}.tool_calls`, payload: call }
  }
  const isInvalid = fields.type === 'invalid_tool_call'
  const args = isInvalid && text !== undefined ? { ...argumentText(text), valid: false } : argumentValue(fields.args)
  return keepBlock({ type: 'tool_call', callId, name, args, executor: { kind: 'client' } }, call, format, ['valid', 'invalid'])
}

function readResult(fields: JsonObject, text: string | undefined, blocks: readonly Json[] | undefined): Part[] | undefined {
  const callId = asId(fields.tool_call_id)
  if (callId === undefined) return undefined
  const name = asString(fields.name)
  const content = blocks?.map((block) => decodeBlock(block) as ResultPart) ?? (text ? [textPart(text)] : [])
  if (content.some(({ type }) => type !== 'text' && type !== 'media' && type !== 'custom')) return undefined
  const providerMetadata = { [toolKey]: defined({ name }) }
  return [{ type: 'tool_result', callId, status: fields.status === 'error' ? 'error' : 'ok', content, providerMetadata }]
}

/** A result may say the name of its tool; ours have it from their calls. */
const toolKey = 'langchain.tool'

function decodeBlock(block: Json): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields)
  return part === undefined ? customPart(provider, block) : keepBlock(part, block, format)
}

function readBlock(block: JsonObject): Part | undefined {
  const [text, reasoning] = [asString(block.text), asString(block.reasoning)]
  switch (block.type) {
    case 'text':
      return text === undefined ? undefined : textPart(text)
    case 'reasoning':
      return reasoning === undefined ? undefined : { type: 'reasoning', text: reasoning, redacted: false, origin }
    case 'image_url': {
      const url = asObject(block.image_url)?.url
      const mark = asMediaMark(url)
      const about = { type: 'media' as const, kind: 'image' as const, mediaType: (mark && mediaTypeOfUrl(mark)) ?? 'image/*' }
      if (mark) return { ...about, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
      return typeof url === 'string' ? { ...about, source: { kind: 'url', url } } : undefined
    }
    case 'image':
    case 'audio':
    case 'video':
    case 'file': {
      const mark = asMediaMark(block.data) ?? asMediaMark(block.base64)
      const mediaType = asString(block.mime_type) ?? asString(block.mimeType) ?? 'application/octet-stream'
      const about = { type: 'media' as const, kind: block.type, mediaType }
      if (mark) return { ...about, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
      const url = asString(block.url)
      return url === undefined ? undefined : { ...about, source: { kind: 'url', url } }
    }
    default:
      return undefined
  }
}

function readModel(fields: JsonObject): Message['model'] {
  const metadata = asObject(fields.response_metadata)
  const modelId = asString(metadata?.model_name) ?? asString(metadata?.model)
  if (modelId === undefined) return undefined
  const stop = asString(metadata?.finish_reason) ?? asString(metadata?.stop_reason)
  const usage = readUsage(asObject(fields.usage_metadata))
  return {
    provider: asString(metadata?.model_provider) ?? 'unknown',
    id: modelId,
    ...(stop !== undefined && { stop: { unified: stops[stop] ?? 'other', raw: stop } }),
    ...(usage && { usage }),
  }
}

const stops: Readonly<Record<string, NonNullable<NonNullable<Message['model']>['stop']>['unified']>> = {
  __proto__: null as never,
  stop: 'end',
  end_turn: 'end',
  STOP: 'end',
  tool_calls: 'tool_calls',
  tool_use: 'tool_calls',
  length: 'length',
  max_tokens: 'length',
  MAX_TOKENS: 'length',
  stop_sequence: 'stop_sequence',
  content_filter: 'content_filter',
  SAFETY: 'content_filter',
  refusal: 'refusal',
  pause_turn: 'pause',
}

/** LangChain counts what was cached inside of `input_tokens`. */
function readUsage(raw: JsonObject | undefined): Usage | undefined {
  const [input, output] = [asCount(raw?.input_tokens), asCount(raw?.output_tokens)]
  if (raw === undefined || input === undefined || output === undefined) return undefined
  const details = asObject(raw.input_token_details)
  const [cacheRead, written] = [asCount(details?.cache_read) ?? 0, asCount(details?.cache_creation) ?? 0]
  const [ttl5m, ttl1h] = [asCount(details?.ephemeral_5m_input_tokens) ?? 0, asCount(details?.ephemeral_1h_input_tokens) ?? 0]
  const cacheWrite = { ttl5m, ttl1h, other: Math.max(0, written - ttl5m - ttl1h) }
  const reasoning = asCount(asObject(raw.output_token_details)?.reasoning) ?? 0
  return { input: Math.max(0, input - cacheRead - written), output, cacheRead, cacheWrite, reasoning, raw }
}

// Out

function writeStep(step: Step, wrapping: Wrapping, writing: Writing): Json[] {
  const { message, entries } = step
  const whole = wholeOf(message, id)
  if (whole) {
    if (!writing.isRequest) return [whole.payload]
    writing.report('part_dropped', step)
    return []
  }
  if (step.role === 'tool' && entries.length > 1) {
    return entries
      .filter(isResult)
      .flatMap((entry) => writeStep({ ...step, entries: [entry], isWhole: false }, wrapping, writing))
  }
  const frame = step.isWhole ? messageFrame(message, id) : undefined
  const fields = messageOf(step, frame?.form === 'list' ? 'list' : 'text', writing)
  const isEmpty = entries.length > 0 && step.role !== 'tool' && (fields.content === '' || asList(fields.content)?.length === 0)
  if (writing.isRequest && isEmpty && fields.tool_calls === undefined && fields.additional_kwargs === undefined) {
    writing.report('empty_dropped', step)
    return []
  }
  return [wrap(framed(fields, frame), step, wrapping)]
}

function wrap(fields: JsonObject, { role, message }: Step, wrapping: Wrapping): Json {
  const { wrapping: own, ...around } = asObject(asObject(message.raw)?.[aroundKey]) ?? {}
  const kind = role === 'user' ? 'human' : role === 'assistant' ? 'ai' : role === 'tool' ? 'tool' : 'system'
  const isOwn = own !== undefined && kinds[kind] === message.role
  const outside = isOwn ? around : aroundOf(kind, wrapping)
  const like = isOwn ? own : wrapping
  if (like === 'constructor') return { ...outside, kwargs: fields }
  return like === 'stored' ? { ...outside, data: fields } : { ...outside, ...fields }
}

function aroundOf(kind: keyof typeof kinds, wrapping: Wrapping): JsonObject {
  if (wrapping !== 'constructor') return { type: kind }
  const name = Object.entries(classes).find(([, known]) => known === kind)?.[0] ?? 'HumanMessage'
  return { lc: 1, type: 'constructor', id: ['langchain_core', 'messages', name] }
}

function messageOf(step: Step, form: Form, writing: Writing): JsonObject {
  const { message, entries, role } = step
  if (role === 'developer') writing.report('role_changed', step)
  if (message.author?.id !== undefined) writing.report('author_dropped', { message })
  const [first] = entries
  if (role === 'tool' && first && isResult(first)) return resultMessage(first, form, writing)
  const isAnswer = role === 'assistant'
  const blocks = entries.flatMap((entry) => writeEntry(entry, role, writing))
  const calls = isAnswer ? entries.flatMap((entry) => writeCall(entry, writing)) : []
  const [valid, invalid] = [
    calls.filter((call) => asObject(call)?.type !== 'invalid_tool_call'),
    calls.filter((call) => asObject(call)?.type === 'invalid_tool_call'),
  ]
  const kwargs = { ...asObject(asObject(message.raw)?.[kwargsKey]), ...(isAnswer && reasoningKwargs(entries)) }
  return defined({
    content: contentOf(blocks, form),
    name: message.author?.name,
    additional_kwargs: step.isWhole && Object.keys(kwargs).length > 0 ? kwargs : undefined,
    tool_calls: valid.length > 0 ? valid : undefined,
    invalid_tool_calls: invalid.length > 0 ? invalid : undefined,
  })
}

function contentOf(blocks: readonly Json[], form: Form): Json {
  if (form === 'list') return blocks
  return blocks.length === 0 ? '' : (plainText(blocks) ?? blocks)
}

const isInKwargs = (part: Part): boolean => partFrame(part, id)?.form === 'kwargs'

function reasoningKwargs(entries: readonly Entry[]): JsonObject {
  const texts = entries.flatMap(({ part }) => (part.type === 'reasoning' && isInKwargs(part) ? [part.text ?? ''] : []))
  return texts.length > 0 ? { reasoning_content: texts.join('\n') } : {}
}

function resultMessage(entry: Entry<ToolResult>, form: Form, writing: Writing): JsonObject {
  const { part, call, index } = entry
  if (part.status !== 'ok' && part.status !== 'error' && index !== undefined) writing.report('status_dropped', entry)
  const own = asObject(part.providerMetadata?.[toolKey])
  const blocks = resultEntries(entry).flatMap((piece) => {
    const isOwn = piece.part.type === 'text' || (piece.part.type === 'custom' && piece.part.kind.startsWith(`${provider}.`))
    const block = isOwn || (!writing.isRequest && piece.part.type === 'media') ? blockOf(piece, writing, format) : undefined
    return block === undefined ? [{ type: 'text', text: resultPieceText(piece, writing.report) }] : [block]
  })
  return defined({
    content: contentOf(blocks, form),
    tool_call_id: part.callId,
    name: own ? asString(own.name) : call?.part.name,
    status: part.status === 'ok' ? undefined : 'error',
  })
}

function writeCall(entry: Entry, writing: Writing): JsonObject[] {
  if (entry.part.type === 'custom' && entry.part.kind === `${provider}.tool_calls` && !writing.isRequest)
    return [entry.part.payload as JsonObject]
  if (!isCall(entry)) return []
  const block = asObject(blockOf(entry, writing, format))
  if (block === undefined) return []
  return [writing.isRequest ? { ...block, id: entry.part.callId, name: entry.part.name } : block]
}

function writeEntry(entry: Entry, role: Message['role'], writing: Writing): Json[] {
  const { part } = entry
  if (part.type === 'tool_call' && role === 'assistant') {
    const block = asObject(part.providerMetadata?.[blockKey])
    return block === undefined ? [] : [writing.isRequest ? { ...block, id: part.callId, name: part.name } : block]
  }
  if (isInKwargs(part) || (part.type === 'custom' && part.kind === `${provider}.tool_calls`)) return []
  const isTaken = !writing.isRequest || part.type === 'text' || role === 'assistant' || (role === 'user' && part.type === 'media')
  const block = isTaken && part.type !== 'tool_call' ? blockOf(entry, writing, format) : undefined
  if (block !== undefined) return [block]
  const text = textInstead(entry, writing.report)
  return text === undefined || (writing.isRequest && isBlank(text)) ? [] : [{ type: 'text', text }]
}

function build(entry: Entry, writing: Writing): Json | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return { type: 'text', text: wordsOf(entry as Entry<Text>, writing.report) }
    case 'reasoning': {
      const reasoning = reasoningWords(entry as Entry<Reasoning>, writing.report)
      return reasoning === undefined ? undefined : { type: 'reasoning', reasoning }
    }
    case 'media':
      return writeMedia(part)
    case 'tool_call':
      return buildCall(entry as Entry<ToolCall>, writing)
    case 'custom':
      return part.kind.startsWith(`${provider}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

const format = { codec: id, origin, build }

function buildCall(entry: Entry<ToolCall>, { report, isRequest }: Writing): JsonObject {
  const { callId, name, args } = entry.part
  if (partFrame(entry.part, id)?.form === 'invalid') return { name, args: args.raw, id: callId, type: 'invalid_tool_call' }
  const value = isRequest ? argumentObject(entry, report) : (args.json ?? argumentObject(entry, report))
  return { name, args: value, id: callId, type: 'tool_call' }
}

function writeMedia({ kind, mediaType, source }: Media): JsonObject | undefined {
  const type = kind === 'document' ? 'file' : kind
  switch (source.kind) {
    case 'hash': {
      if (kind !== 'image')
        return { type, source_type: 'base64', mime_type: mediaType, data: mediaMark(source.hash, source.bytes) }
      return { type: 'image_url', image_url: { url: mediaMark(source.hash, source.bytes, `data:${mediaType};base64,`) } }
    }
    case 'url':
      if (kind !== 'image') return { type, source_type: 'url', mime_type: mediaType, url: source.url }
      return { type: 'image_url', image_url: { url: source.url } }
    case 'text':
      return { type: 'text', text: source.text }
    case 'providerFile':
      return undefined
    default:
      return source satisfies never
  }
}
