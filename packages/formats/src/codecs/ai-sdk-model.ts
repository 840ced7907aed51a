import type { Json, JsonObject, Message, Part } from '@colloquy/core'
import { readAiSdkFile, readOutput, writeAiSdkFile, writeOutput } from './ai-sdk-output.ts'
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
import { blockOf, framed, frameOf, isFrom, keepBlock, messageFrame, withMessageFrame } from './frame.ts'
import { anyNames } from './legal-names.ts'
import {
  argumentValue,
  customPart,
  type Entry,
  isBlank,
  isCall,
  isResult,
  type Reasoning,
  reasoningWords,
  reportAuthor,
  type Text,
  type ToolCall,
  type ToolResult,
  textInstead,
  textPart,
  toolNameOf,
  wordsOf,
} from './parts.ts'

export interface AiSdkModelBody {
  readonly messages: readonly JsonObject[]
}

const id = 'ai-sdk.model'
const provider = 'ai-sdk'
const origin = { provider, api: 'model' }

/**
 * AI SDK 7 `ModelMessage`: what `generateText` and `streamText` are given.
 *
 * | of ours | becomes | loss |
 * |---|---|---|
 * | reasoning with text | itself; signatures of others are not carried over | `opaque_dropped` |
 * | reasoning without text | nothing | `reasoning_dropped` |
 * | call and result of a provider's own tool, of the AI SDK | itself, `providerExecuted` | |
 * | of others, or one that never ended | nothing | `server_tool_dropped` |
 * | arguments that are no JSON | their text | `arguments_changed` |
 * | result | `text`, `json`, `content`; `error-text`, `error-json` for errors; `execution-denied` | |
 * | interrupted and unknown results | `error-text` | `status_dropped` |
 * | media | `file` | |
 * | approval | itself; a call that waits for one stays open | |
 * | system and developer messages | system messages | `role_changed` for developer |
 * | refusal, readable compaction | text | `converted_to_text` |
 * | other compaction | nothing | `opaque_dropped` |
 * | citations, sources, cache hints, names of authors | nothing | `citations_dropped`, `cache_hint_dropped`, `author_dropped` |
 * | empty messages | nothing | `empty_dropped` |
 * | custom parts of others, control, tool changes | nothing | `part_dropped` |
 *
 * And as everywhere `call_closed`, `result_dropped`, `result_moved`, `call_id_changed`, `media_missing`, `text_repaired`.
 */
export const aiSdkModel: Codec<AiSdkModelBody> = {
  id,
  decode: (foreign, context) =>
    decodeRequest(id, foreign, context, 'messages', [], (list, _, reading) => {
      const callIds = new Map<string, string>()
      return list.map((message) => decodeMessage(message, callIds, reading))
    }),
  encode: (messages, options = {}) =>
    encodeMessages(messages, options, (ready, writing) => {
      const steps = writing.isRequest ? arrange(ready, rules, writing.report) : inOrder(ready, { splitsResults: false })
      return { messages: steps.flatMap((step) => writeStep(step, writing)) }
    }),
}

const rules: ArrangeRules = {
  names: anyNames,
  keepsProviderCall: (call) => isFrom(call, origin),
  providerResults: 'in the answer',
  goesOnAfterCalls: true,
  keepsApproval: ({ call }) => call !== undefined,
}

// In

const forms = ['list', 'text'] as const
type Form = (typeof forms)[number]
const roles = ['system', 'user', 'assistant', 'tool'] as const

function decodeMessage(foreign: Json, callIds: Map<string, string>, { identified, takeOut }: Reading): Message {
  const fields = asObject(takeOut(foreign))
  const role = roles.find((known) => known === fields?.role)
  const text = asString(fields?.content)
  const blocks = asList(fields?.content)
  if (fields && role && (text ?? blocks) !== undefined) {
    const parts = blocks ? blocks.map((block) => decodeBlock(block, callIds)) : text === '' ? [] : [textPart(text ?? '')]
    const message = identified(undefined, { role, parts })
    const frame = frameOf(fields, forms, (form) => messageOf(wholeStep(message), form, rehearsal))
    const whole =
      frame && checked(withMessageFrame(message, id, frame), fields, (kept) => writeMessage(wholeStep(kept), rehearsal))
    if (whole) return whole
  }
  return identified(undefined, wholeMessage(provider, id, takeOut(foreign)))
}

function decodeBlock(block: Json, callIds: Map<string, string>): Part {
  const fields = asObject(block)
  const part = fields && readBlock(fields, callIds)
  return part === undefined ? customPart(provider, block) : keepBlock(part, block, format)
}

function readBlock(block: JsonObject, callIds: Map<string, string>): Part | undefined {
  const text = asString(block.text)
  const [callId, approvalId] = [asId(block.toolCallId), asId(block.approvalId)]
  const name = asString(block.toolName)
  switch (block.type) {
    case 'text':
      return text === undefined ? undefined : textPart(text)
    case 'reasoning':
      return text === undefined ? undefined : { type: 'reasoning', text, redacted: false, origin }
    case 'file':
    case 'image':
      return readAiSdkFile(block)
    case 'tool-call': {
      if (callId === undefined || name === undefined) return undefined
      const isProviders = block.providerExecuted === true
      const executor = { kind: isProviders ? ('provider' as const) : ('client' as const) }
      return { type: 'tool_call', callId, name, args: argumentValue(block.input), executor, ...(isProviders && { origin }) }
    }
    case 'tool-result': {
      const output = readOutput(block.output)
      if (callId === undefined || name === undefined || output === undefined) return undefined
      return { type: 'tool_result', callId, ...output, providerMetadata: { [toolKey]: { name } } }
    }
    case 'tool-approval-request':
      if (approvalId === undefined || callId === undefined) return undefined
      callIds.set(approvalId, callId)
      return { type: 'approval', approvalId, callId }
    case 'tool-approval-response': {
      if (approvalId === undefined || typeof block.approved !== 'boolean') return undefined
      const reason = asString(block.reason)
      const decision = block.approved ? 'approved' : 'denied'
      // The answer names the question only.
      const about = { approvalId, callId: callIds.get(approvalId) ?? approvalId, decision } as const
      return { type: 'approval', ...about, ...(reason !== undefined && { reason }) }
    }
    default:
      return undefined
  }
}

/** A result says the name of its tool; ours have it from their calls. */
const toolKey = 'ai-sdk.tool'

// Out

function writeStep(step: Step, writing: Writing): Json[] {
  const isUnread = wholeOf(step.message, id) !== undefined
  const message = isUnread && writing.isRequest ? undefined : writeMessage(step, writing)
  const content = asObject(message)?.content
  const isEmpty = content === undefined || content === '' || asList(content)?.length === 0
  if (!writing.isRequest || !isEmpty) return message === undefined ? [] : [message]
  writing.report(isUnread ? 'part_dropped' : 'empty_dropped', step)
  return []
}

function writeMessage(step: Step, writing: Writing): Json {
  const whole = wholeOf(step.message, id)
  if (whole) return whole.payload
  const frame = step.isWhole ? messageFrame(step.message, id) : undefined
  return framed(messageOf(step, frame?.form === 'text' ? 'text' : 'list', writing), frame)
}

function messageOf(step: Step, form: Form, writing: Writing): JsonObject {
  const { message, entries } = step
  if (step.role === 'developer') writing.report('role_changed', step)
  reportAuthor(message, writing.report)
  const role = step.role === 'developer' ? 'system' : step.role
  const blocks = entries.flatMap((entry) => writeEntry(entry, role, writing))
  // The content of a system message is a string.
  if (role === 'system' && writing.isRequest) return { role, content: blocks.map(({ text }) => asString(text) ?? '').join('\n') }
  if (form === 'text' && blocks.length === 0) return { role, content: '' }
  return { role, content: (form === 'text' ? plainText(blocks) : undefined) ?? blocks }
}

function writeEntry(entry: Entry, role: string, writing: Writing): JsonObject[] {
  const { part } = entry
  const isTaken = !writing.isRequest || (role === 'assistant' ? !isUnreadCall(part) : !answersOnly.has(part.type))
  const isText = role === 'system' && writing.isRequest && part.type !== 'text'
  const block = isTaken && !isText ? asObject(blockOf(entry, writing, format)) : undefined
  if (block === undefined) {
    const text = textInstead(entry, writing.report)
    return text === undefined || (writing.isRequest && isBlank(text)) ? [] : [{ type: 'text', text }]
  }
  if (!writing.isRequest) return [block]
  if (isCall(entry)) return [{ ...block, toolCallId: entry.part.callId, toolName: entry.part.name }]
  if (isResult(entry)) return [{ ...block, toolCallId: entry.part.callId, toolName: toolNameOf(entry, toolKey, true) }]
  const isNothing = part.type === 'text' && part.text === '' && Object.keys(block).length === 2
  if (isNothing) writing.report('empty_dropped', entry)
  return isNothing ? [] : [block]
}

/** Types of parts that the SDK takes in answers only. */
const answersOnly: ReadonlySet<string> = new Set(['reasoning', 'custom'])

/** A call, result or approval that could not be read cannot be paired either. */
const isUnreadCall = (part: Part): boolean => part.type === 'custom' && part.kind.startsWith(`${provider}.tool-`)

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
      return writeAiSdkFile(part)
    case 'tool_call':
      return writeCall(entry as Entry<ToolCall>, writing)
    case 'tool_result': {
      const { callId } = part
      const output = writeOutput(entry as Entry<ToolResult>, writing)
      return {
        type: 'tool-result',
        toolCallId: callId,
        toolName: toolNameOf(entry as Entry<ToolResult>, toolKey, writing.isRequest),
        output,
      }
    }
    case 'approval': {
      const { approvalId, callId, decision, reason } = part
      if (decision === undefined) return { type: 'tool-approval-request', approvalId, toolCallId: callId }
      return defined({ type: 'tool-approval-response', approvalId, approved: decision === 'approved', reason })
    }
    case 'custom':
      return part.kind.startsWith(`${provider}.`) ? part.payload : undefined
    default:
      return undefined
  }
}

const format = { codec: id, origin, build }

function writeCall(entry: Entry<ToolCall>, { report }: Writing): JsonObject {
  const { callId, name, args, executor } = entry.part
  if (args.json === undefined && args.raw !== '') report('arguments_changed', entry)
  const input = args.json ?? (args.raw === '' ? {} : args.raw)
  return {
    type: 'tool-call',
    toolCallId: callId,
    toolName: name,
    input,
    ...(executor.kind !== 'client' && { providerExecuted: true }),
  }
}
