/** Items of the Responses API, as rollouts hold them, to messages and parts of ours. */
import type { Json, JsonObject, Message, Part } from '@colloquy/core'
import { partsOfItem } from '../../streams/responses-items.ts'
import { asCallId, asDuration, asList, asObject, asString } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { imagePart } from '../messages/openai-chat-message.ts'

type ToolResult = Extract<Part, { type: 'tool_result' }>
type ResultPart = ToolResult['content'][number]

const roles = { developer: 'developer', system: 'system', user: 'user', assistant: 'assistant' } as const

/** Who says an item of type `message`; undefined when it is none, or nobody known does. */
export function roleOf(item: JsonObject): Message['role'] | undefined {
  const role = item.type === 'message' ? asString(item.role) : undefined
  return role !== undefined && Object.hasOwn(roles, role) ? roles[role as keyof typeof roles] : undefined
}

/** The parts of a message that was sent to the model. */
export function inputParts(item: JsonObject, media: MediaShelf): Part[] {
  const { content } = item
  const blocks = typeof content === 'string' ? [{ type: 'input_text', text: content }] : (asList(content) ?? [])
  return blocks.map((block) => inputPart(block, media))
}

/** The texts of a message, as events repeat them. */
export function textsOf(item: JsonObject): string[] {
  return (asList(item.content) ?? []).flatMap((block) => asString(asObject(block)?.text) ?? [])
}

function inputPart(block: Json, media: MediaShelf): ResultPart {
  const fields = asObject(block)
  const type = asString(fields?.type)
  if ((type === 'input_text' || type === 'output_text') && typeof fields?.text === 'string')
    return { type: 'text', text: fields.text }
  const url = type === 'input_image' ? asString(fields?.image_url) : undefined
  return url === undefined
    ? { type: 'custom', kind: `openai.${type ?? 'unknown'}`, payload: media.replaceIn(block) }
    : imagePart(url, media)
}

/** What the model makes: an item becomes one part of its answer or several. `line` tells calls without an id apart. */
export function answerParts(item: JsonObject, line: number, media: MediaShelf): Part[] {
  const parts = partsOfItem(item, { index: line, isWhole: true, putMedia: media.put })
  // Rollouts hold no results of the provider's own tools, only that they ran.
  return parts.flatMap((part): Part[] => {
    const isDone = part.type === 'tool_call' && part.executor.kind === 'provider' && item.status !== 'in_progress'
    const hasResult = parts.some(({ type }) => type === 'tool_result')
    return isDone && !hasResult ? [part, ended(part.callId, item.status === 'failed' ? 'error' : 'ok')] : [part]
  })
}

const ended = (callId: string, status: ToolResult['status']): ToolResult => ({ type: 'tool_result', callId, status, content: [] })

/** Which items the model makes; what has a `call_id` and ends in `_output` answers one of its calls. */
export function isOfAnswer(item: JsonObject): boolean {
  const type = asString(item.type) ?? ''
  return type === 'reasoning' || type.endsWith('_call') || (type === 'message' && item.role === 'assistant')
}

/** Undefined: the item is no result of a call. */
export function resultOf(item: JsonObject, media: MediaShelf): ToolResult | undefined {
  const callId = asString(item.type)?.endsWith('_output') ? asCallId(item.call_id) : undefined
  if (callId === undefined) return undefined
  const { output } = item
  const wrapped = asObject(output)
  const content = wrapped?.content ?? output
  const parts: ResultPart[] =
    typeof content === 'string'
      ? [{ type: 'text', text: content }]
      : (asList(content) ?? []).map((block) => inputPart(block, media))
  if (parts.length === 0 && content !== undefined && !Array.isArray(content)) {
    parts.push({ type: 'custom', kind: 'openai.output', payload: media.replaceIn(content) })
  }
  return { type: 'tool_result', callId, status: statusOf(wrapped?.success, parts), content: parts }
}

/**
 * How a call ended, and how long it ran. Codex tells only the model, in words: older versions as JSON with `metadata`, newer ones
 * in lines above the output.
 */
export function outcomeIn(text: string): { readonly exitCode: number | undefined; readonly durationMs: number | undefined } {
  const metadata = text.startsWith('{') ? metadataOf(text) : undefined
  const head = text.slice(0, 400)
  const exit = /^(?:Exit code: |Process exited with code )(-?\d{1,10})$/m.exec(head)?.[1]
  const wall = /^Wall time: (\d{1,9}(?:\.\d{1,9})?) seconds$/m.exec(head)?.[1]
  const seconds = asDuration(metadata?.duration_seconds) ?? (wall === undefined ? undefined : Number(wall))
  return {
    exitCode: typeof metadata?.exit_code === 'number' ? metadata.exit_code : exit === undefined ? undefined : Number(exit),
    durationMs: seconds === undefined ? undefined : Math.round(seconds * 1000),
  }
}

function metadataOf(text: string): JsonObject | undefined {
  try {
    return asObject(asObject(JSON.parse(text) as Json)?.metadata)
  } catch {
    return undefined
  }
}

const stopped = /^(?:aborted by user|aborted$|command was aborted)/i
const refused = /rejected by user|^(?:exec command|patch) rejected/i

function statusOf(success: Json | undefined, parts: readonly ResultPart[]): ToolResult['status'] {
  const [first] = parts
  const text = first?.type === 'text' ? first.text : ''
  if (stopped.test(text)) return 'interrupted'
  if (refused.test(text.slice(0, 200))) return 'denied'
  const { exitCode } = outcomeIn(text)
  return success === false || (exitCode !== undefined && exitCode !== 0) ? 'error' : 'ok'
}
