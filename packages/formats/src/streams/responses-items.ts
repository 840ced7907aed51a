/** An output item of the Responses API, whole, as parts of ours: https://platform.openai.com/docs/api-reference/responses/object */
import type { Json, JsonObject, Part } from '@colloquy/core'
import { asCount, asId, asList, asObject, asString } from '../codecs/fields.ts'
import type { MediaShelf } from '../importers/media-shelf.ts'
import { asText, present } from './fields.ts'
import type { Citation } from './stream-event.ts'
import { givenArguments, toolArguments } from './tool-arguments.ts'

type ToolCall = Extract<Part, { type: 'tool_call' }>
type ToolResult = Extract<Part, { type: 'tool_result' }>

export interface ItemContext {
  /** For items that lack an id. */
  readonly index: number
  /** The provider said that the item is complete. */
  readonly isWhole: boolean
  readonly putMedia: MediaShelf['put']
}

const origin = { provider: 'openai', api: 'responses' }

/** A message gives a part for each of its contents, a tool of the provider its call and its result; what we do not know is `custom`. */
export function partsOfItem(item: JsonObject, context: ItemContext): Part[] {
  switch (item.type) {
    case 'message':
      return (asList(item.content) ?? []).map((content) => contentPart(asObject(content) ?? {}, item))
    case 'reasoning':
      return [reasoning(item)]
    case 'function_call':
      return [call(item, context, asText(item.name), toolArguments(asString(item.arguments) ?? '', context.isWhole))]
    case 'custom_tool_call': {
      // Free text: it is the value.
      const text = asString(item.input) ?? ''
      const args = context.isWhole ? { raw: text, json: text, valid: true } : { raw: text, valid: false }
      return [call(item, context, asText(item.name), args)]
    }
    case 'mcp_call':
      return [mcpCall(item, context), ...mcpResult(item, context)]
    case 'mcp_approval_request':
      return [mcpCall(item, context), { type: 'approval', approvalId: idOf(item, context), callId: idOf(item, context) }]
    case 'image_generation_call':
      return imageGeneration(item, context)
    case 'compaction': {
      const opaque = asText(item.encrypted_content)
      return [{ type: 'compaction', ...withId(item), ...(opaque !== undefined && { opaque }), origin }]
    }
    default: {
      const type = asString(item.type) ?? 'unknown'
      if (type.endsWith('_call')) return [toolItem(item, type, context)]
      const callId = type.endsWith('_output') ? asId(item.call_id) : undefined
      // The result of a tool that the provider ran for a call of its own.
      return [callId === undefined ? custom(item) : { ...result(callId, 'ok', [custom(item)]), ...withId(item) }]
    }
  }
}

/** What an item begins with: the part to which deltas will come. */
export function headOfItem(item: JsonObject, context: ItemContext): Part | undefined {
  return item.type === 'message' ? undefined : partsOfItem(item, context)[0]
}

export function citationOf(raw: Json): Citation {
  const fields = asObject(raw) ?? {}
  const [text, url] = [asText(fields.text), asText(fields.url)]
  const title = asText(fields.title) ?? asText(fields.filename)
  const [start, end] = [asCount(fields.start_index), asCount(fields.end_index)]
  return {
    kind: asString(fields.type) ?? 'unknown',
    ...(text !== undefined && { text }),
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    raw,
  }
}

function contentPart(content: JsonObject, item: JsonObject): Part {
  const phase = asText(item.phase)
  const base = { ...withId(item), ...(phase !== undefined && { providerMetadata: { phase } }) }
  switch (content.type) {
    case 'output_text': {
      const citations = (asList(content.annotations) ?? []).map(citationOf)
      return { type: 'text', text: asString(content.text) ?? '', ...(citations.length > 0 && { citations }), ...base }
    }
    case 'refusal':
      return { type: 'refusal', text: asString(content.refusal) ?? '', ...base }
    default:
      return { ...custom(content), ...base }
  }
}

function reasoning(item: JsonObject): Part {
  const texts = (asList(item.content) ?? []).map((content) => asString(asObject(content)?.text) ?? '')
  const summary = (asList(item.summary) ?? []).map((content) => asString(asObject(content)?.text) ?? '')
  const encrypted = asText(item.encrypted_content)
  return {
    type: 'reasoning',
    ...withId(item),
    ...(texts.length > 0 && { text: texts.join('') }),
    ...(summary.length > 0 && { summary }),
    ...(encrypted !== undefined && { encrypted }),
    redacted: false,
    origin,
    // Where one text begins and the other ends would be lost.
    ...(texts.length > 1 && { raw: item }),
  }
}

function call(
  item: JsonObject,
  context: ItemContext,
  name: string | undefined,
  args: ToolCall['args'],
  more: Partial<ToolCall> = {},
): ToolCall {
  const { caller, type } = item
  return {
    type: 'tool_call',
    ...withId(item),
    callId: callIdOf(item, context),
    name: name ?? 'unknown',
    args,
    executor: { kind: 'client' },
    ...(caller !== undefined && caller !== null && { caller }),
    ...(type === 'custom_tool_call' && { providerMetadata: { type } }),
    ...(type !== 'function_call' && { origin }),
    ...more,
  }
}

function mcpCall(item: JsonObject, context: ItemContext): ToolCall {
  const args = toolArguments(asString(item.arguments) ?? '', context.isWhole)
  return call(item, context, asText(item.name), args, {
    executor: { kind: 'mcp', server: asText(item.server_label) ?? 'unknown' },
    raw: item,
  })
}

function mcpResult(item: JsonObject, context: ItemContext): ToolResult[] {
  const output = asString(item.output)
  const hasFailed = item.error !== undefined && item.error !== null
  if (output === undefined && !hasFailed) return []
  const text = output ?? asText(item.error) ?? JSON.stringify(item.error)
  return [result(callIdOf(item, context), hasFailed ? 'error' : 'ok', [{ type: 'text', text }])]
}

/** The image becomes a file; the item keeps everything else. */
function imageGeneration(item: JsonObject, context: ItemContext): Part[] {
  const format = asText(item.output_format) ?? 'png'
  const mediaType = `image/${format}`
  const image = asText(item.result)
  const stored = image === undefined ? undefined : context.putMedia(mediaType, image)
  const kept = stored === undefined ? item : { ...item, result: { $media: stored.hash, bytes: stored.bytes } }
  const made = toolItem(kept, 'image_generation_call', context)
  if (image === undefined) return [made]
  const content: ToolResult['content'] = stored
    ? [{ type: 'media', kind: 'image', mediaType, source: { kind: 'hash', ...stored } }]
    : [{ type: 'custom', kind: 'openai.image', payload: 'in the call, because it is no canonical base64' }]
  return [made, result(made.callId, 'ok', content)]
}

/** A built-in tool. Those that the client runs have a `call_id` to answer to; the provider ran the others. */
function toolItem(item: JsonObject, type: string, context: ItemContext): ToolCall {
  const isClient = asId(item.call_id) !== undefined && item.execution !== 'server'
  const { action, operation, queries, code, container_id, arguments: given } = item
  const args = asObject(action) ?? asObject(operation) ?? asObject(given) ?? present({ queries, code, container_id })
  return call(item, context, type.slice(0, -'_call'.length), context.isWhole ? givenArguments(args) : unfinished(args), {
    executor: { kind: isClient ? 'client' : 'provider' },
    raw: item,
  })
}

const unfinished = (args: JsonObject): ToolCall['args'] => ({ raw: JSON.stringify(args), valid: false })

function result(callId: string, status: ToolResult['status'], content: ToolResult['content']): ToolResult {
  return { type: 'tool_result', callId, status, content }
}

function custom(payload: JsonObject): Extract<Part, { type: 'custom' }> {
  return { type: 'custom', kind: `openai.${asString(payload.type) ?? 'unknown'}`, payload, origin }
}

function withId(item: JsonObject): { readonly id?: string } {
  const id = asId(item.id)
  return id === undefined ? {} : { id }
}

const idOf = (item: JsonObject, { index }: ItemContext): string => asId(item.id) ?? `item_${index}`
const callIdOf = (item: JsonObject, context: ItemContext): string => asId(item.call_id) ?? idOf(item, context)
