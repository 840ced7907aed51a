/** A message of LangChain, plain (`type`, `content`) or as its constructor (`lc: 1`), to ours. What we do not know stays whole, as `custom`. */
import type { Json, JsonObject, Message, Part, Usage } from '@colloquy/core'
import { partOf as anthropicPart } from '../claude-code/parts.ts'
import { asCallId, asCount, asList, asObject, asString } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { argumentsFromText, argumentsFromValue } from '../tool-arguments.ts'
import { storable } from '../without-words.ts'
import { type Body, imagePart } from './openai-chat-message.ts'

/** Plain and with `kwargs` inside: the fields of the message, and what it is. */
export interface LangChainMessage {
  readonly fields: JsonObject
  readonly type: string
}

const classes: Readonly<Record<string, string>> = {
  HumanMessage: 'human',
  HumanMessageChunk: 'human',
  AIMessage: 'ai',
  AIMessageChunk: 'ai',
  SystemMessage: 'system',
  ToolMessage: 'tool',
  FunctionMessage: 'function',
  ChatMessage: 'chat',
  RemoveMessage: 'remove',
}

/** Undefined: it is neither form of a message. */
export function langChainMessage(value: Json): LangChainMessage | undefined {
  const raw = asObject(value)
  if (raw?.lc === 1 && raw.type === 'constructor') {
    const fields = asObject(raw.kwargs)
    const type = asString(fields?.type) ?? classes[asString(asList(raw.id)?.at(-1)) ?? '']
    return fields && type !== undefined ? { fields, type } : undefined
  }
  const type = asString(raw?.type)
  return raw && type !== undefined && Object.values(classes).includes(type) ? { fields: raw, type } : undefined
}

const roles: Readonly<Record<string, Message['role']>> = {
  human: 'user',
  ai: 'assistant',
  system: 'system',
  tool: 'tool',
  function: 'tool',
}

/** Undefined: a kind of message that says nothing, such as one that removes another. */
export function langChainBody({ fields, type }: LangChainMessage, media: MediaShelf): Body | undefined {
  const role = roles[type] ?? (type === 'chat' ? chatRole(fields) : undefined)
  if (role === undefined) return undefined
  if (role === 'tool') {
    const callId = asCallId(fields.tool_call_id)
    const content = contentOf(fields.content, media).filter(
      (part) => part.type === 'text' || part.type === 'media' || part.type === 'custom',
    )
    if (callId === undefined) return { role, parts: content }
    return { role, parts: [{ type: 'tool_result', callId, status: fields.status === 'error' ? 'error' : 'ok', content }] }
  }
  const content = contentOf(fields.content, media)
  const reasoning = asString(asObject(fields.additional_kwargs)?.reasoning_content)
  const inContent = new Set(content.flatMap((part) => (part.type === 'tool_call' ? [part.callId] : [])))
  return {
    role,
    parts: [
      ...(reasoning ? [{ type: 'reasoning', text: reasoning, redacted: false } as const] : []),
      ...content,
      // Anthropic's calls stand in the content and here.
      ...(asList(fields.tool_calls) ?? [])
        .map(callPart)
        .filter((part) => part.type !== 'tool_call' || !inContent.has(part.callId)),
      ...(asList(fields.invalid_tool_calls) ?? []).map(invalidCallPart),
    ],
  }
}

const chatRole = ({ role }: JsonObject): Message['role'] | undefined =>
  role === 'user' || role === 'assistant' || role === 'system' || role === 'developer' ? role : undefined

function contentOf(content: Json | undefined, media: MediaShelf): Part[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  return (asList(content) ?? []).map((block): Part => {
    if (typeof block === 'string') return { type: 'text', text: block }
    const fields = asObject(block)
    const url =
      fields?.type === 'image_url' ? (asString(asObject(fields.image_url)?.url) ?? asString(fields.image_url)) : undefined
    if (url !== undefined) return imagePart(url, media)
    if (fields?.type === 'reasoning' && typeof fields.reasoning === 'string') {
      return { type: 'reasoning', text: fields.reasoning, redacted: false }
    }
    const part = anthropicPart(block, media)
    return part.type === 'custom'
      ? { type: 'custom', kind: `langchain.${asString(fields?.type) ?? 'unknown'}`, payload: storable(part.payload) }
      : part
  })
}

function callPart(call: Json): Part {
  const fields = asObject(call)
  const [callId, name] = [asCallId(fields?.id), asString(fields?.name)]
  if (callId === undefined || name === undefined) return { type: 'custom', kind: 'langchain.tool_call', payload: storable(call) }
  return { type: 'tool_call', callId, name, args: argumentsFromValue(fields?.args), executor: { kind: 'client' } }
}

/** Arguments that were no JSON; LangChain keeps their text. */
function invalidCallPart(call: Json): Part {
  const fields = asObject(call)
  const [callId, name] = [asCallId(fields?.id), asString(fields?.name)]
  if (callId === undefined || name === undefined) {
    return { type: 'custom', kind: 'langchain.invalid_tool_call', payload: storable(call) }
  }
  const args = { ...argumentsFromText(asString(fields?.args) ?? ''), valid: false }
  return { type: 'tool_call', callId, name, args, executor: { kind: 'client' } }
}

/** `input_tokens` holds what was read from and written to the cache, whatever the provider counts. */
export function langChainUsage({ fields }: LangChainMessage): Usage | undefined {
  const raw = asObject(fields.usage_metadata)
  const [all, output] = [asCount(raw?.input_tokens), asCount(raw?.output_tokens)]
  if (raw === undefined || (all === undefined && output === undefined)) return undefined
  const details = asObject(raw.input_token_details)
  const cacheRead = asCount(details?.cache_read) ?? 0
  const ttl5m = asCount(details?.ephemeral_5m_input_tokens) ?? 0
  const ttl1h = asCount(details?.ephemeral_1h_input_tokens) ?? 0
  // Some versions count what has a lifetime in the sum as well, others set that to 0.
  const written = Math.max(asCount(details?.cache_creation) ?? 0, ttl5m + ttl1h)
  return {
    input: Math.max(0, (all ?? 0) - cacheRead - written),
    output: output ?? 0,
    cacheRead,
    cacheWrite: { ttl5m, ttl1h, other: written - ttl5m - ttl1h },
    reasoning: asCount(asObject(raw.output_token_details)?.reasoning) ?? 0,
    raw,
  }
}

const stops = {
  stop: 'end',
  end_turn: 'end',
  length: 'length',
  max_tokens: 'length',
  tool_calls: 'tool_calls',
  tool_use: 'tool_calls',
  content_filter: 'content_filter',
  refusal: 'refusal',
} as const

/** Programs answer in the model's place without `response_metadata`: such a message has no model. */
export function langChainModel({ fields }: LangChainMessage): Message['model'] {
  const metadata = asObject(fields.response_metadata)
  const id = asString(metadata?.model_name) ?? asString(metadata?.model)
  if (!id) return undefined
  const responseId = asString(metadata?.id)
  const raw = asString(metadata?.finish_reason) ?? asString(metadata?.stop_reason)
  const unified = raw !== undefined && Object.hasOwn(stops, raw) ? stops[raw as keyof typeof stops] : 'other'
  return {
    provider: asString(metadata?.model_provider) ?? 'unknown',
    id,
    ...(responseId !== undefined && { responseId }),
    ...(raw !== undefined && { stop: { unified, raw } }),
  }
}
