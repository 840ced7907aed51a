/** Blocks of the Messages API, as session files hold them, to parts of ours. What we do not know stays whole, as `custom`. */
import type { Json, JsonObject, Part } from '@colloquy/core'
import { asCallId, asObject, asString } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'

type ResultPart = Extract<Part, { type: 'tool_result' }>['content'][number]
type ToolCall = Extract<Part, { type: 'tool_call' }>
type ToolResult = Extract<Part, { type: 'tool_result' }>

const origin = { provider: 'anthropic', api: 'messages' }

/** A part of an assistant's or a user's message; results of client tools are `toolResultPart`. */
export function partOf(block: Json, media: MediaShelf): Part {
  const fields = asObject(block)
  switch (fields?.type) {
    case 'thinking':
      if (typeof fields.thinking !== 'string') break
      return {
        type: 'reasoning',
        text: fields.thinking,
        ...(typeof fields.signature === 'string' && { signature: fields.signature }),
        redacted: false,
        origin,
      }
    case 'redacted_thinking':
      if (typeof fields.data !== 'string') break
      return { type: 'reasoning', encrypted: fields.data, redacted: true, origin }
    case 'tool_use':
      return toolCallPart(fields, { kind: 'client' }) ?? custom(block, media)
    case 'server_tool_use':
      return toolCallPart(fields, { kind: 'provider' }) ?? custom(block, media)
    case 'mcp_tool_use':
      return toolCallPart(fields, { kind: 'mcp', server: asString(fields.server_name) ?? 'unknown' }) ?? custom(block, media)
    default:
      if (asString(fields?.type)?.endsWith('_tool_result'))
        return serverResultPart(fields as JsonObject, media) ?? custom(block, media)
  }
  return simplePart(block, media)
}

/** A result of a tool that the client ran: text, media, or what we do not know. */
export function toolResultPart(
  block: JsonObject,
  status: ToolResult['status'],
  callMessageId: string | undefined,
  media: MediaShelf,
): ToolResult | undefined {
  const callId = asCallId(block.tool_use_id)
  if (callId === undefined) return undefined
  const content = typeof block.content === 'string' ? [{ type: 'text', text: block.content }] : (block.content ?? [])
  const parts = (Array.isArray(content) ? content : [content]).map((inner: Json) => simplePart(inner, media))
  return { type: 'tool_result', callId, ...(callMessageId !== undefined && { callMessageId }), status, content: parts }
}

/** The text at the start of a result, by which refusals and interruptions are known. */
export function resultText(block: JsonObject): string {
  if (typeof block.content === 'string') return block.content
  const first = Array.isArray(block.content) ? asObject(block.content[0]) : undefined
  return asString(first?.text) ?? ''
}

function toolCallPart(block: JsonObject, executor: ToolCall['executor']): ToolCall | undefined {
  const callId = asCallId(block.id)
  const { name, input, caller } = block
  if (callId === undefined || typeof name !== 'string') return undefined
  const args: ToolCall['args'] =
    input === undefined ? { raw: '', valid: false } : { raw: JSON.stringify(input), json: input, valid: true }
  return { type: 'tool_call', callId, name, args, executor, ...(caller !== undefined && { caller }) }
}

/** Results of the provider's own tools come as blocks of the answer, each with a shape of its own. */
function serverResultPart(block: JsonObject, media: MediaShelf): ToolResult | undefined {
  const callId = asCallId(block.tool_use_id)
  if (callId === undefined) return undefined
  const isError = block.is_error === true || asString(asObject(block.content)?.type)?.endsWith('_error') === true
  return { type: 'tool_result', callId, status: isError ? 'error' : 'ok', content: [custom(block, media)] }
}

function simplePart(block: Json, media: MediaShelf): ResultPart {
  const fields = asObject(block)
  switch (fields?.type) {
    case 'text': {
      if (typeof fields.text !== 'string') break
      const citations = Array.isArray(fields.citations) ? fields.citations.map(citation) : []
      return { type: 'text', text: fields.text, ...(citations.length > 0 && { citations }) }
    }
    case 'image':
    case 'document': {
      const part = mediaPart(fields, media)
      if (part !== undefined) return part
      break
    }
    default:
  }
  return custom(block, media)
}

function mediaPart(block: JsonObject, media: MediaShelf): ResultPart | undefined {
  const source = asObject(block.source)
  const kind = block.type === 'image' ? 'image' : 'document'
  const mediaType = asString(source?.media_type) ?? (kind === 'image' ? 'image/*' : 'application/octet-stream')
  const filename = asString(block.title)
  const made = (from: Extract<ResultPart, { type: 'media' }>['source']): ResultPart => ({
    type: 'media',
    kind,
    mediaType,
    source: from,
    ...(filename !== undefined && { filename }),
  })
  if (source?.type === 'base64' && typeof source.data === 'string') {
    const stored = media.put(mediaType, source.data)
    return stored && made({ kind: 'hash', ...stored })
  }
  if (source?.type === 'url' && typeof source.url === 'string') return made({ kind: 'url', url: source.url })
  if (source?.type === 'file' && typeof source.file_id === 'string') {
    return made({ kind: 'providerFile', provider: 'anthropic', fileId: source.file_id })
  }
  if (source?.type === 'text' && typeof source.data === 'string') return made({ kind: 'text', text: source.data })
  return undefined
}

function citation(raw: Json) {
  const fields = asObject(raw)
  const text = asString(fields?.cited_text)
  const url = asString(fields?.url)
  const title = asString(fields?.title) ?? asString(fields?.document_title)
  return {
    kind: asString(fields?.type) ?? 'unknown',
    ...(text !== undefined && { text }),
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    raw,
  }
}

function custom(block: Json, media: MediaShelf): Extract<Part, { type: 'custom' }> {
  return { type: 'custom', kind: `anthropic.${asString(asObject(block)?.type) ?? 'unknown'}`, payload: media.replaceIn(block) }
}
