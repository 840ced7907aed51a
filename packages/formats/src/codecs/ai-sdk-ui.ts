import type { Json, JsonObject, Message, Part } from '@colloquy/core'
import { type ArrangeRules, arrange, inOrder, type Step } from './arrange.ts'
import {
  type Codec,
  decodeRequest,
  encodeMessages,
  type Reading,
  rehearsal,
  type Writing,
  wholeMessage,
  wholeOf,
} from './codec.ts'
import { asId, asList, asObject, asString, defined, sameJson } from './fields.ts'
import {
  blockOf,
  type Frame,
  framed,
  isFrom,
  keepBlock,
  messageFrame,
  partFrame,
  withMessageFrame,
  withPartFrame,
} from './frame.ts'
import { asMediaMark, mediaMark, mediaTypeOfUrl } from './inline-media.ts'
import { anyNames } from './legal-names.ts'
import {
  type Approval,
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
  type Reasoning,
  reasoningWords,
  reportAuthor,
  resultText,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
  wordsOf,
} from './parts.ts'

export interface AiSdkUiBody {
  readonly messages: readonly JsonObject[]
}

const id = 'ai-sdk.ui'
/** Of custom parts: their blocks are not those of the SDK's model messages. */
const customKind = 'ai-sdk-ui'
const origin = { provider: 'ai-sdk', api: 'ui' }

/**
 * AI SDK 7 `UIMessage`: what `useChat` shows and apps store. One message is a whole turn of the assistant, in steps, with the results
 * inside of the calls; ours are the answer of each step and its results, and become one message again.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | answers and results up to the next user message | one assistant message, a step each | |
 * | reasoning with text | itself; signatures of others are not carried over | `opaque_dropped` |
 * | reasoning without text | nothing | `reasoning_dropped` |
 * | call and result of a provider's own tool, of the AI SDK | itself, `providerExecuted` | |
 * | of others, or one that never ended | nothing | `server_tool_dropped` |
 * | arguments that are no JSON | their text | `arguments_changed` |
 * | result | `output`: a string, or JSON; `errorText`; `output-denied` | |
 * | interrupted and unknown results | `errorText` | `status_dropped` |
 * | media in results | a line of text | `media_replaced` |
 * | other media with bytes or url | `file` | |
 * | file of a provider, text file | a line of text, text | `media_replaced` |
 * | approval of a call | inside of the call | |
 * | approval of no call | nothing | `approval_dropped` |
 * | source | itself | |
 * | citations, cache hints, names of authors | nothing | `citations_dropped`, `cache_hint_dropped`, `author_dropped` |
 * | developer message | system message | `role_changed` |
 * | refusal, readable compaction | text | `converted_to_text` |
 * | other compaction | nothing | `opaque_dropped` |
 * | empty messages | nothing | `empty_dropped` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `media_missing`, `text_repaired`.
 */
export const aiSdkUi: Codec<AiSdkUiBody> = {
  id,
  decode: (foreign, context) =>
    decodeRequest(id, foreign, context, 'messages', [], (list, _, reading) =>
      list.flatMap((message) => decodeMessage(message, reading)),
    ),
  encode: (messages, options = {}) =>
    encodeMessages(messages, options, (ready, writing) => ({
      messages: writeSteps(
        writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: true }),
        writing,
      ),
    })),
}

const rules: ArrangeRules = {
  names: anyNames,
  keepsProviderCall: (call) => isFrom(call, origin),
  providerResults: 'in the answer',
  goesOnAfterCalls: true,
  keepsApproval: ({ call }) => call !== undefined,
}

// In

const roles = ['system', 'user', 'assistant'] as const

function decodeMessage(foreign: Json, reading: Reading): Message[] {
  const content = reading.takeOut(foreign)
  const fields = asObject(content)
  const role = roles.find((known) => known === fields?.role)
  const blocks = asList(fields?.parts)
  if (fields && role && blocks) {
    const messages =
      role === 'assistant' ? readTurn(blocks, asId(fields.id), reading) : [readMessage(role, blocks, asId(fields.id), reading)]
    const { parts: _, role: __, ...rest } = fields
    const [first, ...others] = messages
    if (first) {
      const { id: ownId, ...about } = rest
      const isOwnId = ownId === first.id
      const kept = withMessageFrame(first, id, { form: 'begin', fields: isOwnId ? about : rest })
      const all = [ownId === undefined ? withMessageFrame(first, id, { form: 'anonymous', fields: about }) : kept, ...others]
      if (sameJson(writeSteps(inOrder(all, { splitsResults: true }), rehearsal), [fields])) return all
    }
  }
  return [reading.identified(undefined, wholeMessage(customKind, id, content))]
}

function readMessage(
  role: Message['role'],
  blocks: readonly Json[],
  messageId: string | undefined,
  { identified }: Reading,
): Message {
  return identified(messageId, { role, parts: blocks.map(decodeBlock) })
}

/** The answer of each step, and after it the results of its calls. */
function readTurn(blocks: readonly Json[], messageId: string | undefined, { identified }: Reading): Message[] {
  const messages: Message[] = []
  for (const step of stepsOf(blocks)) {
    const results: Part[] = []
    const parts = step.flatMap((block): Part[] => {
      const tool = readTool(block)
      if (tool === undefined) return [decodeBlock(block)]
      const { call, approval, result } = tool
      const isProviders = call.executor.kind === 'provider'
      if (result && !isProviders) results.push(result)
      return [call, ...(approval ? [approval] : []), ...(result && isProviders ? [result] : [])]
    })
    messages.push(goingOn(identified(messages.length === 0 ? messageId : undefined, { role: 'assistant', parts })))
    if (results.length > 0) messages.push(goingOn(identified(undefined, { role: 'tool', parts: results })))
  }
  return messages
}

const goingOn = (message: Message): Message => withMessageFrame(message, id, { form: 'go on' })

function stepsOf(blocks: readonly Json[]): Json[][] {
  const steps: Json[][] = [[]]
  for (const block of blocks) {
    const step = steps.at(-1) as Json[]
    if (asObject(block)?.type === 'step-start' && step.length > 0) steps.push([block])
    else step.push(block)
  }
  return steps
}

function decodeBlock(block: Json): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields)
  return part === undefined ? customPart(customKind, block) : keepBlock(part, block, format)
}

function readBlock(block: JsonObject): Part | undefined {
  const [text, url, title, sourceId] = [
    asString(block.text),
    asString(block.url),
    asString(block.title),
    asString(block.sourceId),
  ]
  switch (block.type) {
    case 'text':
      return text === undefined ? undefined : textPart(text)
    case 'reasoning':
      return text === undefined ? undefined : { type: 'reasoning', text, redacted: false, origin }
    case 'file':
      return readFile(block)
    case 'source-url':
      if (sourceId === undefined || url === undefined) return undefined
      return { type: 'citation_source', sourceId, url, ...(title !== undefined && { title }) }
    case 'step-start':
      return { type: 'control', kind: stepKind }
    default:
      return undefined
  }
}

const stepKind = 'ai-sdk.step-start'

function readFile(block: JsonObject): Media | undefined {
  const mark = asMediaMark(block.url)
  const [url, filename] = [asString(block.url), asString(block.filename)]
  const mediaType = asString(block.mediaType) ?? (mark && mediaTypeOfUrl(mark))
  if (mediaType === undefined) return undefined
  const about = { type: 'media' as const, kind: mediaKindOf(mediaType), mediaType, ...(filename !== undefined && { filename }) }
  if (mark) return { ...about, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
  return url === undefined ? undefined : { ...about, source: { kind: 'url', url } }
}

interface ToolUse {
  readonly call: ToolCall
  readonly approval: Approval | undefined
  readonly result: ToolResult | undefined
}

/** A tool part: the call, and what became of it. Undefined when it would not come back the same. */
function readTool(block: Json): ToolUse | undefined {
  const fields = asObject(block)
  const type = asString(fields?.type)
  const callId = asId(fields?.toolCallId)
  const name =
    type === 'dynamic-tool' ? asString(fields?.toolName) : type?.startsWith('tool-') ? type.slice('tool-'.length) : undefined
  if (fields === undefined || callId === undefined || name === undefined) return undefined
  const isProviders = fields.providerExecuted === true
  const executor = { kind: isProviders ? ('provider' as const) : ('client' as const) }
  const call: ToolCall = {
    type: 'tool_call',
    callId,
    name,
    args: argumentValue(fields.input),
    executor,
    ...(isProviders && { origin }),
  }
  const approval = readApproval(fields, callId)
  const result = readResult(fields, callId)
  const form = type === 'dynamic-tool' ? dynamicForm : staticForm
  const built = toolBlock({ call, approval, result }, form, rehearsal)
  if (!Object.keys(built).every((key) => Object.hasOwn(fields, key))) return undefined
  const different = Object.entries(fields).filter(([key, value]) => !sameJson(built[key], value))
  const frame: Frame = { form: `${form} ${asString(built.state) ?? ''}`, fields: Object.fromEntries(different) }
  return { call: withPartFrame(call, id, frame), approval, result }
}

const dynamicForm = 'dynamic'
const staticForm = 'static'

function readApproval({ approval }: JsonObject, callId: string): Approval | undefined {
  const fields = asObject(approval)
  const approvalId = asId(fields?.id)
  if (approvalId === undefined) return undefined
  const [reason, signature, approved] = [asString(fields?.reason), asString(fields?.signature), fields?.approved]
  return {
    type: 'approval',
    approvalId,
    callId,
    ...(typeof approved === 'boolean' && { decision: approved ? ('approved' as const) : ('denied' as const) }),
    ...(reason !== undefined && { reason }),
    ...(signature !== undefined && { signature }),
  }
}

function readResult({ state, output, errorText }: JsonObject, callId: string): ToolResult | undefined {
  const result = { type: 'tool_result' as const, callId }
  if (state === 'output-available' && output !== undefined) {
    return { ...result, status: 'ok', content: [typeof output === 'string' ? textPart(output) : jsonPart(output)] }
  }
  if (state === 'output-error' && typeof errorText === 'string')
    return { ...result, status: 'error', content: [textPart(errorText)] }
  return state === 'output-denied' ? { ...result, status: 'denied', content: [] } : undefined
}

// Out

/** What was found out about a call elsewhere. */
interface Fates {
  readonly resultOf: (call: Entry) => Entry<ToolResult> | undefined
  readonly approvalOf: (call: Entry) => Approval | undefined
  readonly isAboutCall: (approval: Entry) => boolean
}

interface UiMessage {
  readonly role: string
  readonly message: Message
  readonly blocks: Json[]
}

function writeSteps(steps: readonly Step[], writing: Writing): Json[] {
  const fates = fatesOf(steps)
  const written: (UiMessage | { readonly whole: Json })[] = []
  for (const step of steps) {
    const { message } = step
    const whole = wholeOf(message, id)
    if (whole) {
      if (writing.isRequest) writing.report('part_dropped', step)
      else written.push({ whole: whole.payload })
      continue
    }
    reportAuthor(message, writing.report)
    if (step.role === 'developer') writing.report('role_changed', step)
    const role = step.role === 'developer' ? 'system' : step.role === 'tool' ? 'assistant' : step.role
    const blocks = writeStep(step, fates, writing)
    const last = written.at(-1)
    const frame = messageFrame(message, id)
    const isNew = frame?.form === 'begin' || frame?.form === 'anonymous'
    const isOpen = last !== undefined && 'role' in last && last.role === role
    if (role === 'assistant' && isOpen && (!isNew || last.message === message)) last.blocks.push(...blocks)
    else if (role !== 'assistant' || blocks.length > 0 || !writing.isRequest) written.push({ role, message, blocks: [...blocks] })
  }
  return written.flatMap((each) => {
    if ('whole' in each) return [each.whole]
    if (writing.isRequest && each.blocks.length === 0) {
      writing.report('empty_dropped', each)
      return []
    }
    return [uiMessage(each)]
  })
}

function uiMessage({ role, message, blocks }: UiMessage): Json {
  const frame = messageFrame(message, id)
  return framed(defined({ id: frame?.form === 'anonymous' ? undefined : message.id, role, parts: blocks }), frame)
}

function fatesOf(steps: readonly Step[]): Fates {
  const results = new Map<Entry, Entry<ToolResult>>()
  const approvals = new Map<Entry, Approval>()
  const aboutCalls = new Set<Entry>()
  const calls = new Map<string, Entry>()
  for (const entry of steps.flatMap(({ entries }) => entries)) {
    if (isCall(entry)) calls.set(entry.part.callId, entry)
    else if (isResult(entry) && entry.call) results.set(entry.call, entry)
    else if (entry.part.type === 'approval') {
      const call = calls.get(entry.part.callId)
      if (call === undefined) continue
      approvals.set(call, { ...approvals.get(call), ...entry.part })
      aboutCalls.add(entry)
    }
  }
  return {
    resultOf: (call) => results.get(call),
    approvalOf: (call) => approvals.get(call),
    isAboutCall: (approval) => aboutCalls.has(approval),
  }
}

function writeStep({ role, message, entries }: Step, fates: Fates, writing: Writing): Json[] {
  const isOurs = messageFrame(message, id) !== undefined
  const blocks = entries.flatMap((entry) => writeEntry(entry, role, fates, writing))
  // The SDK opens each step like this.
  return role === 'assistant' && !isOurs && blocks.length > 0 ? [{ type: 'step-start' }, ...blocks] : blocks
}

function writeEntry(entry: Entry, role: Message['role'], fates: Fates, writing: Writing): Json[] {
  const { part } = entry
  if (isResult(entry)) {
    if (entry.call === undefined) writing.report('result_dropped', entry)
    return []
  }
  if (part.type === 'approval') {
    if (!fates.isAboutCall(entry)) writing.report('approval_dropped', entry)
    return []
  }
  if (isCall(entry) && (role === 'assistant' || !writing.isRequest)) {
    return [writeTool(entry, fates.approvalOf(entry), fates.resultOf(entry), writing)]
  }
  const isSaid = role === 'assistant' ? !isUnreadCall(part) : part.type === 'text' || (part.type === 'media' && role === 'user')
  const isTaken = !writing.isRequest || isSaid
  const block = isTaken ? blockOf(entry, writing, format) : undefined
  if (block !== undefined) {
    const isNothing = writing.isRequest && asObject(block)?.type === 'text' && asObject(block)?.text === ''
    return isNothing ? [] : [block]
  }
  const text = textInstead(entry, writing.report)
  return text === undefined || (writing.isRequest && isBlank(text)) ? [] : [{ type: 'text', text }]
}

/** A call that could not be read has no result either. */
const isUnreadCall = (part: Part): boolean => part.type === 'custom' && /^ai-sdk-ui\.(tool-|dynamic-tool$)/.test(part.kind)

function writeTool(
  entry: Entry<ToolCall>,
  approval: Approval | undefined,
  result: Entry<ToolResult> | undefined,
  writing: Writing,
): Json {
  const { part } = entry
  if (part.args.json === undefined && part.args.raw !== '') writing.report('arguments_changed', entry)
  const frame = partFrame(part, id)
  const [form = dynamicForm, state] = frame?.form?.split(' ') ?? []
  const at = result ?? entry
  const built = toolBlock({ call: part, approval, result: result?.part }, form, {
    ...writing,
    report: (kind) => writing.report(kind, at),
  })
  if (result && result.index !== undefined && !['ok', 'error', 'denied'].includes(result.part.status))
    writing.report('status_dropped', result)
  const fields = Object.entries(frame?.fields ?? {}).filter(([key]) => !stateful.has(key) || state === built.state)
  return { ...built, ...Object.fromEntries(fields), ...(writing.isRequest && { toolCallId: part.callId }) }
}

/** What changes when a call goes on; the rest of a tool part stays. */
const stateful: ReadonlySet<string> = new Set([
  'state',
  'output',
  'errorText',
  'approval',
  'preliminary',
  'resultProviderMetadata',
])

function toolBlock({ call, approval, result }: ToolUse, form: string, writing: Writing): JsonObject {
  const { callId, name, args, executor } = call
  const input = args.json ?? (args.raw === '' ? undefined : args.raw)
  return defined({
    ...(form === staticForm ? { type: `tool-${name}` } : { type: 'dynamic-tool', toolName: name }),
    toolCallId: callId,
    input,
    providerExecuted: executor.kind === 'client' ? undefined : true,
    ...outcome(callId, approval, result, writing),
  })
}

function outcome(callId: string, approval: Approval | undefined, result: ToolResult | undefined, writing: Writing): JsonObject {
  const asked = approval && writeApproval(approval)
  if (result === undefined) {
    if (approval === undefined) return { state: 'input-available' }
    return { state: approval.decision === undefined ? 'approval-requested' : 'approval-responded', approval: asked as JsonObject }
  }
  const entry: Entry<ToolResult> = { part: result, message: { v: 1, id: callId, role: 'tool', parts: [] } }
  if (result.status === 'denied') {
    const reason = result.content.length > 0 ? resultText(entry, writing.report) : undefined
    return { state: 'output-denied', approval: defined({ id: callId, reason, ...asked, approved: false }) }
  }
  if (result.status !== 'ok')
    return defined({ state: 'output-error', errorText: resultText(entry, writing.report), approval: asked })
  const [only] = result.content
  const isJson = result.content.length === 1 && only?.type === 'custom' && isJsonPart(only)
  return defined({
    state: 'output-available',
    output: isJson ? only.payload : resultText(entry, writing.report),
    approval: asked,
  })
}

function writeApproval({ approvalId, decision, reason, signature }: Approval): JsonObject {
  return defined({ id: approvalId, approved: decision === undefined ? undefined : decision === 'approved', reason, signature })
}

function build(entry: Entry, writing: Writing): Json | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return { type: 'text', text: wordsOf(entry as Entry<Text>, writing.report) }
    case 'reasoning': {
      const text = reasoningWords(entry as Entry<Reasoning>, writing.report)
      return text === undefined ? undefined : { type: 'reasoning', text }
    }
    case 'media':
      return writeFile(part)
    case 'citation_source':
      return part.url === undefined
        ? undefined
        : defined({ type: 'source-url', sourceId: part.sourceId, url: part.url, title: part.title })
    case 'control':
      return part.kind === stepKind ? { type: 'step-start' } : undefined
    case 'custom':
      return part.kind.startsWith(`${customKind}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

const format = { codec: id, origin, build }

function writeFile({ mediaType, source, filename }: Media): JsonObject | undefined {
  switch (source.kind) {
    case 'hash':
      return defined({
        type: 'file',
        mediaType,
        filename,
        url: mediaMark(source.hash, source.bytes, `data:${mediaType};base64,`),
      })
    case 'url':
      return defined({ type: 'file', mediaType, filename, url: source.url })
    case 'text':
      return { type: 'text', text: source.text }
    case 'providerFile':
      return undefined
    default:
      return source satisfies never
  }
}
