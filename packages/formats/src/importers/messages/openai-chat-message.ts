/** A message of the Chat Completions API, and of programs that write like it, to ours. What we do not know stays whole, as `custom`. */
import type { Json, JsonObject, Message, Part, Usage } from '@colloquy/core'
import { chatUsage } from '../../streams/chat-usage.ts'
import { asCallId, asCount, asList, asObject, asString } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { argumentsFromText, argumentsFromValue } from '../tool-arguments.ts'
import { storable } from '../without-words.ts'

type ResultPart = Extract<Part, { type: 'tool_result' }>['content'][number]
export type Body = Pick<Message, 'role' | 'parts'>

const roles: Readonly<Record<string, Message['role']>> = {
  system: 'system',
  developer: 'developer',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  function: 'tool',
}

/** Undefined: the role is none of the API's. A result without a usable call id is a message of the tool without a result. */
export function bodyOf(raw: JsonObject, media: MediaShelf): Body | undefined {
  const role = Object.hasOwn(roles, asString(raw.role) ?? '') ? roles[asString(raw.role) as string] : undefined
  if (role === undefined) return undefined
  const content = contentParts(raw.content, media)
  if (role === 'tool') {
    // tau2 names the call `id`; the API does it as `tool_call_id`.
    const callId = asCallId(raw.tool_call_id) ?? asCallId(raw.id)
    if (callId === undefined) return { role, parts: content }
    return { role, parts: [{ type: 'tool_result', callId, status: raw.error ? 'error' : 'ok', content }] }
  }
  const reasoning = asString(raw.reasoning_content) ?? asString(raw.reasoning)
  const refusal = asString(raw.refusal)
  return {
    role,
    parts: [
      ...(reasoning ? [{ type: 'reasoning', text: reasoning, redacted: false } as const] : []),
      ...content.map(reasoningOr),
      ...(refusal ? [{ type: 'refusal', text: refusal } as const] : []),
      ...(asList(raw.tool_calls) ?? []).map(callPart),
    ],
  }
}

/** Text and blocks of a content; an empty text is no part. */
function contentParts(content: Json | undefined, media: MediaShelf): ResultPart[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  if (content === undefined || content === null) return []
  return (asList(content) ?? [content]).map((block) => blockPart(block, media))
}

function blockPart(block: Json, media: MediaShelf): ResultPart {
  const fields = asObject(block)
  const type = asString(fields?.type)
  if (typeof block === 'string') return { type: 'text', text: block }
  if (type === 'text' && typeof fields?.text === 'string') return { type: 'text', text: fields.text }
  if (type === 'image_url') {
    const url = asString(asObject(fields?.image_url)?.url) ?? asString(fields?.image_url)
    if (url !== undefined) return imagePart(url, media)
  }
  return { type: 'custom', kind: `openai.${type ?? 'unknown'}`, payload: storable(media.replaceIn(block)) }
}

/** Inspect writes reasoning as a block of the content. */
function reasoningOr(part: ResultPart): Part {
  const block = part.type === 'custom' ? asObject(part.payload) : undefined
  if (block?.type !== 'reasoning' || typeof block.reasoning !== 'string') return part
  const signature = asString(block.signature)
  return {
    type: 'reasoning',
    text: block.reasoning,
    ...(signature !== undefined && { signature }),
    redacted: block.redacted === true,
  }
}

/** A picture by its address, which may hold its bytes. */
export function imagePart(url: string, media: MediaShelf): ResultPart {
  const stored = media.putUrl(url)
  if (stored === undefined) return { type: 'media', kind: 'image', mediaType: 'image/*', source: { kind: 'url', url } }
  const { mediaType, hash, bytes } = stored
  return { type: 'media', kind: 'image', mediaType, source: { kind: 'hash', hash, bytes } }
}

/** `{id, function: {name, arguments: text}}` of the API, and `{id, name, arguments: object}` of tau2. */
function callPart(call: Json): Part {
  const fields = asObject(call)
  const inner = asObject(fields?.function) ?? asObject(fields?.custom) ?? fields
  const callId = asCallId(fields?.id)
  const name = asString(inner?.name) ?? asString(fields?.function)
  if (callId === undefined || name === undefined) return { type: 'custom', kind: 'openai.tool_call', payload: storable(call) }
  const given = inner?.arguments ?? inner?.input
  const args = typeof given === 'string' ? argumentsFromText(given) : argumentsFromValue(given)
  return { type: 'tool_call', callId, name, args, executor: { kind: 'client' } }
}

/** What the API says of a call; undefined when it says no figure. The price is often beside it. */
export function usageFrom(raw: Json | undefined, costDollars?: Json): Usage | undefined {
  const fields = asObject(raw)
  if (fields === undefined || (asCount(fields.prompt_tokens) ?? asCount(fields.completion_tokens)) === undefined) return undefined
  const costMicros = typeof costDollars === 'number' ? asCount(Math.round(costDollars * 1_000_000)) : undefined
  return { ...chatUsage(fields), ...(costMicros !== undefined && { costMicros }) }
}

const stops = {
  stop: 'end',
  length: 'length',
  tool_calls: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
} as const

/** The model of a completion, with why it stopped. */
export function modelFrom(completion: JsonObject, provider = 'openai'): NonNullable<Message['model']> | undefined {
  const id = asString(completion.model)
  if (!id) return undefined
  const responseId = asString(completion.id)
  const raw = asString(asObject(asList(completion.choices)?.[0])?.finish_reason)
  const unified = raw !== undefined && Object.hasOwn(stops, raw) ? stops[raw as keyof typeof stops] : 'other'
  return {
    provider,
    api: 'chat',
    id,
    ...(responseId !== undefined && { responseId }),
    ...(raw !== undefined && { stop: { unified, raw } }),
  }
}
