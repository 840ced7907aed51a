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
import { asId, asList, asObject, asString, defined } from './fields.ts'
import { blockOf, framed, frameOf, isFrom, keepBlock, messageFrame, withMessageFrame } from './frame.ts'
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
  jsonPart,
  type Media,
  mediaKindOf,
  reportAuthor,
  resultText,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
  toolNameOf,
  wordsOf,
} from './parts.ts'

export interface GeminiBody {
  readonly systemInstruction?: JsonObject
  readonly contents: readonly JsonObject[]
}

const id = 'gemini.contents'
const provider = 'gemini'
const origin = { provider, api: 'contents' }

/**
 * Gemini `generateContent`: `systemInstruction` and `contents`. Calls often have no id there: ours are made of their order, and left
 * out again.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | thought and thought signature of Gemini | itself, on its part | |
 * | a call that Gemini did not make | itself, signed as Google says calls of other models are signed | |
 * | other reasoning | nothing | `reasoning_dropped` |
 * | call and result of a provider's own tool | nothing | `server_tool_dropped` |
 * | arguments that are no object | `{"arguments": ...}` | `arguments_changed` |
 * | result | `{"output": ...}`, or `{"error": ...}` unless ok; JSON as it is | |
 * | status other than ok and error | `{"error": ...}` | `status_dropped` |
 * | media with bytes or url | `inlineData`, `fileData` | |
 * | media in results | a line of text | `media_replaced` |
 * | refusal, readable compaction | text | `converted_to_text` |
 * | other compaction | nothing | `opaque_dropped` |
 * | citations, sources | nothing | `citations_dropped` |
 * | approval | nothing; a denied call gets a result that says so | `approval_dropped` |
 * | system and developer messages | `systemInstruction` before the first turn, else said by the user | `role_changed` |
 * | blank text without signature, empty messages | nothing | `empty_dropped` |
 * | messages of one role in a row | one message | `messages_merged` |
 * | an answer first | a user message before it | `filler_added` |
 * | cache hints, names of authors | nothing | `cache_hint_dropped`, `author_dropped` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `tool_name_changed`, `media_missing`,
 * `message_split`, `text_repaired`.
 */
export const geminiContents: Codec<GeminiBody> = {
  id,
  decode: (foreign, context) =>
    decodeRequest(id, foreign, context, 'contents', ['systemInstruction'], (list, fields, reading) => {
      const calls = callNumbers()
      return [
        ...(fields.systemInstruction === undefined ? [] : [decodeSystem(fields.systemInstruction, reading)]),
        ...list.map((content) => decodeContent(content, calls, reading)),
      ]
    }),
  encode: (messages, options = {}) =>
    encodeMessages(messages, options, (ready, writing) => {
      const steps = writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: false })
      return writeBody(steps, writing)
    }),
}

const rules: ArrangeRules = {
  names: {
    callIds: { illegal: /[^\u0020-\u007e]/g, limit: 200, uniqueIn: 'request' },
    toolNames: { illegal: /[^a-zA-Z0-9_.:-]/g, limit: 64 },
  },
  keepsProviderCall: () => false,
  providerResults: 'in the answer',
  goesOnAfterCalls: true,
  keepsApproval: () => false,
}

/** Google's documented signature for calls that another model made; without one, Gemini 3 answers 400. */
const foreignSignature = 'skip_thought_signature_validator'

// In

interface CallNumbers {
  readonly made: (name: string) => string
  /** Of a response without id: the first call of that name without a response. */
  readonly answered: (name: string) => string
  readonly called: (name: string, callId: string) => void
}

const madeId = /^gemini-call-\d+$/

function callNumbers(): CallNumbers {
  let count = 0
  const open = new Map<string, string[]>()
  const called = (name: string, callId: string): void => {
    open.set(name, [...(open.get(name) ?? []), callId])
  }
  const next = (): string => `gemini-call-${++count}`
  const made = (name: string): string => {
    const callId = next()
    called(name, callId)
    return callId
  }
  return { made, called, answered: (name) => open.get(name)?.shift() ?? next() }
}

function decodeSystem(system: Json, { identified, takeOut }: Reading): Message {
  const content = takeOut(system)
  const fields = asObject(content)
  const parts = asList(fields?.parts)?.map((block) => decodeBlock(block, callNumbers())) ?? []
  const message = identified(undefined, { role: 'system', parts })
  const frame = fields && frameOf(fields, ['system'], () => systemOf([wholeStep(message)], rehearsal))
  const whole =
    frame && checked(withMessageFrame(message, id, frame), content, (kept) => writeSystem([wholeStep(kept)], rehearsal))
  return whole ?? { ...message, parts: [customPart(provider, content)], raw: { [id]: { form: 'other' } } }
}

const forms = ['user', 'absent', 'function', 'tool'] as const
type Form = (typeof forms)[number]

function decodeContent(foreign: Json, calls: CallNumbers, { identified, takeOut }: Reading): Message {
  const content = takeOut(foreign)
  const fields = asObject(content)
  const role = fields?.role === undefined ? 'user' : asString(fields.role)
  const blocks = asList(fields?.parts)
  if (fields && blocks && (role === 'model' || forms.some((form) => form === role))) {
    const parts = blocks.map((block) => decodeBlock(block, calls))
    const isResults = parts.length > 0 && parts.every(({ type }) => type === 'tool_result')
    const message = identified(undefined, { role: role === 'model' ? 'assistant' : isResults ? 'tool' : 'user', parts })
    const frame = frameOf(fields, forms, (form) => contentOf(wholeStep(message), form, rehearsal))
    const whole =
      frame && checked(withMessageFrame(message, id, frame), fields, (kept) => writeContent(wholeStep(kept), rehearsal))
    if (whole) return whole
  }
  return identified(undefined, wholeMessage(provider, id, content))
}

function decodeBlock(block: Json, calls: CallNumbers): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields, calls)
  return part === undefined ? customPart(provider, block) : keepBlock(part, block, format)
}

function readBlock(block: JsonObject, calls: CallNumbers): Part | undefined {
  const text = asString(block.text)
  if (text !== undefined) return block.thought === true ? { type: 'reasoning', text, redacted: false, origin } : textPart(text)
  const [call, response] = [asObject(block.functionCall), asObject(block.functionResponse)]
  if (call) return readCall(call, calls)
  if (response) return readResponse(response, calls)
  const [inline, file] = [asObject(block.inlineData), asObject(block.fileData)]
  const mark = asMediaMark(inline?.data)
  const mediaType = asString(inline?.mimeType) ?? asString(file?.mimeType) ?? 'application/octet-stream'
  const about = { type: 'media' as const, kind: mediaKindOf(mediaType), mediaType }
  if (mark) return { ...about, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
  const url = asString(file?.fileUri)
  return url === undefined ? undefined : { ...about, source: { kind: 'url', url } }
}

function readCall(call: JsonObject, calls: CallNumbers): ToolCall | undefined {
  const name = asString(call.name)
  if (name === undefined) return undefined
  const given = asId(call.id)
  if (given !== undefined) calls.called(name, given)
  const callId = given ?? calls.made(name)
  return { type: 'tool_call', callId, name, args: argumentValue(call.args), executor: { kind: 'client' }, origin }
}

function readResponse(block: JsonObject, calls: CallNumbers): ToolResult | undefined {
  const [name, response] = [asString(block.name), asObject(block.response)]
  if (name === undefined || response === undefined) return undefined
  const answered = calls.answered(name)
  const [only] = Object.keys(response).length === 1 ? Object.entries(response) : []
  const text = asString(only?.[1])
  const isError = only?.[0] === 'error'
  const content = text !== undefined && (isError || only?.[0] === 'output') ? textPart(text) : jsonPart(response)
  return {
    type: 'tool_result',
    callId: asId(block.id) ?? answered,
    status: isError ? 'error' : 'ok',
    content: [content],
    providerMetadata: { [functionKey]: { name } },
  }
}

/** A response says the name of its function; our results have it from their calls. */
const functionKey = 'gemini.function'

// Out

function writeBody(steps: readonly Step[], writing: Writing): JsonObject {
  const firstTurn = steps.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  const leading = firstTurn < 0 ? steps.length : firstTurn
  const systemInstruction = writeSystem(steps.slice(0, leading), writing)
  const rest = steps.slice(leading)
  const contents = writing.isRequest ? writeRequest(rest, writing) : rest.map((step) => writeContent(step, writing))
  return { ...(systemInstruction !== undefined && { systemInstruction }), contents }
}

function writeSystem(steps: readonly Step[], writing: Writing): Json | undefined {
  const [first] = steps
  if (first === undefined) return undefined
  const frame = messageFrame(first.message, id)
  if (frame?.form === 'other' && first.entries[0]?.part.type === 'custom')
    return writing.isRequest ? undefined : first.entries[0].part.payload
  for (const { message, role } of steps) if (role === 'developer') writing.report('role_changed', { message })
  const system = systemOf(steps, writing)
  return asList(system.parts)?.length === 0 && writing.isRequest ? undefined : framed(system, frame)
}

const systemOf = (steps: readonly Step[], writing: Writing): JsonObject => ({
  parts: steps.flatMap((step) => step.entries.flatMap((entry) => writeEntry(entry, 'system', writing))),
})

function writeRequest(steps: readonly Step[], writing: Writing): Json[] {
  const turns = steps.flatMap((step): (Turn<JsonObject> & { readonly step: Step })[] => {
    const content = wholeOf(step.message, id) === undefined ? writeContent(step, writing) : undefined
    const blocks = asList(asObject(content)?.parts) as readonly JsonObject[] | undefined
    if (blocks === undefined || blocks.length === 0) {
      writing.report(blocks === undefined ? 'part_dropped' : 'empty_dropped', step)
      return []
    }
    return [{ role: step.role === 'assistant' ? 'model' : 'user', message: step.message, blocks, step }]
  })
  const [first] = turns
  if (first?.role === 'model') {
    writing.report('filler_added', first)
    turns.unshift({ ...first, role: 'user', blocks: [{ text: firstWords }], step: { ...first.step, isWhole: false } })
  }
  return takeTurns(turns, writing.report).map(({ role, blocks, step }) => {
    const frame = step.isWhole ? messageFrame(step.message, id) : undefined
    return framed(defined({ role: roleOf(role, frame?.form), parts: blocks }), frame)
  })
}

/** Results used to come in a role of their own, and a single question without any. */
function roleOf(role: string, form: string | undefined): string | undefined {
  if (role === 'model' || form === undefined) return role
  return form === 'absent' ? undefined : form
}

function writeContent(step: Step, writing: Writing): Json {
  const whole = wholeOf(step.message, id)
  if (whole) return whole.payload
  const frame = step.isWhole ? messageFrame(step.message, id) : undefined
  return framed(contentOf(step, forms.find((form) => form === frame?.form) ?? 'user', writing), frame)
}

function contentOf(step: Step, form: Form, writing: Writing): JsonObject {
  const { message, entries } = step
  if (step.role === 'system' || step.role === 'developer') writing.report('role_changed', { message })
  reportAuthor(message, writing.report)
  const isAnswer = step.role === 'assistant'
  const blocks = entries.flatMap((entry) => writeEntry(entry, isAnswer ? 'model' : 'user', writing))
  return defined({
    role: isAnswer ? 'model' : roleOf('user', form),
    parts: signed(blocks, entries, isAnswer && writing.isRequest),
  })
}

/** The first call of a step must be signed; when none of its calls is Gemini's, it was another model's. */
function signed(blocks: readonly JsonObject[], entries: readonly Entry[], isRequest: boolean): readonly JsonObject[] {
  if (!isRequest || entries.some((entry) => isCall(entry) && isFrom(entry.part, origin))) return blocks
  const first = blocks.findIndex(({ functionCall }) => functionCall !== undefined)
  return blocks.map((block, i) => (i === first ? { ...block, thoughtSignature: foreignSignature } : block))
}

type ContentRole = 'system' | 'user' | 'model'

function writeEntry(entry: Entry, role: ContentRole, writing: Writing): JsonObject[] {
  const { part } = entry
  const isTaken = !writing.isRequest || isTakenIn(part, role)
  const block = isTaken ? asObject(blockOf(entry, writing, format)) : undefined
  if (block === undefined) {
    const text = textInstead(entry, writing.report)
    return text === undefined || (writing.isRequest && isBlank(text)) ? [] : [{ text }]
  }
  if (!writing.isRequest) return [block]
  if (isCall(entry)) {
    const functionCall = { ...asObject(block.functionCall), ...callOf(entry, argumentObject(entry, writing.report)) }
    return [{ ...block, functionCall }]
  }
  if (isResult(entry)) {
    const functionResponse = { ...asObject(block.functionResponse), ...idOf(part), name: toolNameOf(entry, functionKey, true) }
    return [{ ...block, functionResponse }]
  }
  const isNothing = typeof block.text === 'string' && isBlank(block.text) && block.thoughtSignature === undefined
  if (isNothing) writing.report('empty_dropped', entry)
  return isNothing ? [] : [block]
}

/** What the API takes where it stands; the rest is said in words. */
function isTakenIn(part: Part, role: ContentRole): boolean {
  if (role === 'system') return part.type === 'text'
  // A call or response that could not be read, like a piece of a stream, cannot be paired either.
  const unread = part.type === 'custom' ? asObject(part.payload) : undefined
  if (unread?.functionCall !== undefined || unread?.functionResponse !== undefined) return false
  return part.type !== 'reasoning' || role === 'model'
}

/** An id that we made is not written. */
function idOf(part: Part): { readonly id?: string } {
  if (part.type !== 'tool_call' && part.type !== 'tool_result') return {}
  return madeId.test(part.callId) ? {} : { id: part.callId }
}

function build(entry: Entry, writing: Writing): Json | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return { text: wordsOf(entry as Entry<Text>, writing.report) }
    case 'reasoning':
      return isFrom(part, origin) && part.text !== undefined ? { text: part.text, thought: true } : undefined
    case 'media':
      return writeMedia(part)
    case 'tool_call':
      return {
        functionCall: callOf(
          entry as Entry<ToolCall>,
          part.args.json ?? argumentObject(entry as Entry<ToolCall>, writing.report),
        ),
      }
    case 'tool_result':
      return writeResult(entry as Entry<ToolResult>, writing)
    case 'custom':
      return part.kind.startsWith(`${provider}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

const format = { codec: id, origin, build }

/** Calls without arguments are written without them. */
function callOf({ part }: Entry<ToolCall>, args: Json): JsonObject {
  return defined({
    ...idOf(part),
    name: part.name,
    args: part.args.json === undefined && part.args.raw === '' ? undefined : args,
  })
}

function writeMedia({ mediaType, source }: Media): JsonObject | undefined {
  switch (source.kind) {
    case 'hash':
      return { inlineData: { mimeType: mediaType, data: mediaMark(source.hash, source.bytes) } }
    case 'url':
      return { fileData: { mimeType: mediaType, fileUri: source.url } }
    case 'text':
      return { text: source.text }
    case 'providerFile':
      return source.provider === provider ? { fileData: { mimeType: mediaType, fileUri: source.fileId } } : undefined
    default:
      return source satisfies never
  }
}

function writeResult(entry: Entry<ToolResult>, { report, isRequest }: Writing): JsonObject {
  const { part, index } = entry
  const isError = part.status !== 'ok'
  if (isError && part.status !== 'error' && index !== undefined) report('status_dropped', entry)
  const [only] = part.content
  const json = only?.type === 'custom' && isJsonPart(only) && part.content.length === 1 ? asObject(only.payload) : undefined
  const isResponse = json !== undefined && (!isError || Object.hasOwn(json, 'error'))
  const response = isResponse ? json : { [isError ? 'error' : 'output']: resultText(entry, report) }
  return { functionResponse: { ...idOf(part), name: toolNameOf(entry, functionKey, isRequest), response } }
}
