/** A content block of the Messages API, as it would stand in an answer that was not streamed, as a part of ours. */
import type { Json, JsonObject, Part } from '@colloquy/core'
import { asId, asList, asObject, asString } from '../codecs/fields.ts'
import { asText } from './fields.ts'
import type { Citation } from './stream-event.ts'
import { givenArguments, toolArguments } from './tool-arguments.ts'

type ToolCall = Extract<Part, { type: 'tool_call' }>
type ToolResult = Extract<Part, { type: 'tool_result' }>

const origin = { provider: 'anthropic', api: 'messages' }

/** How the input of a call was written; a call that came whole has it in its block. */
export interface StreamedInput {
  readonly text: string
  /** The provider closed the block. */
  readonly isWhole: boolean
}

/** A block that we do not know stays whole, as `custom`. */
export function partOfBlock(block: JsonObject, input: StreamedInput): Part {
  switch (block.type) {
    case 'text': {
      const citations = (asList(block.citations) ?? []).map(citationOf)
      return { type: 'text', text: asString(block.text) ?? '', ...(citations.length > 0 && { citations }) }
    }
    case 'thinking': {
      const signature = asText(block.signature)
      const text = asString(block.thinking) ?? ''
      return { type: 'reasoning', text, ...(signature !== undefined && { signature }), redacted: false, origin }
    }
    case 'redacted_thinking':
      if (typeof block.data !== 'string') return custom(block)
      return { type: 'reasoning', encrypted: block.data, redacted: true, origin }
    case 'tool_use':
    case 'server_tool_use':
    case 'mcp_tool_use':
      return toolCall(block, input) ?? custom(block)
    case 'compaction': {
      const content = asText(block.content)
      const opaque = asText(block.encrypted_content)
      return { type: 'compaction', ...(content !== undefined && { content }), ...(opaque !== undefined && { opaque }), origin }
    }
    default:
      return (asString(block.type)?.endsWith('_tool_result') ? toolResult(block) : undefined) ?? custom(block)
  }
}

export function citationOf(raw: Json): Citation {
  const fields = asObject(raw) ?? {}
  const text = asString(fields.cited_text)
  const url = asString(fields.url)
  const title = asString(fields.title) ?? asString(fields.document_title)
  return {
    kind: asString(fields.type) ?? 'unknown',
    ...(text !== undefined && { text }),
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    raw,
  }
}

function toolCall(block: JsonObject, { text, isWhole }: StreamedInput): ToolCall | undefined {
  const callId = asId(block.id)
  const { name, caller } = block
  if (callId === undefined || typeof name !== 'string') return undefined
  const input = asObject(block.input) ?? {}
  // Calls that code made come with their input in the block, all others with an empty one and deltas.
  const isGiven = text === '' && Object.keys(input).length > 0
  const args = isGiven ? givenArguments(input) : toolArguments(text, isWhole)
  const executor = executorOf(block)
  return {
    type: 'tool_call',
    callId,
    name,
    args,
    executor,
    ...(caller !== undefined && { caller }),
    ...(executor.kind !== 'client' && { origin }),
  }
}

function executorOf(block: JsonObject): ToolCall['executor'] {
  if (block.type === 'mcp_tool_use') return { kind: 'mcp', server: asString(block.server_name) ?? 'unknown' }
  return { kind: block.type === 'server_tool_use' ? 'provider' : 'client' }
}

/** Results of the provider's tools have a shape each; only those of MCP are texts. */
function toolResult(block: JsonObject): ToolResult | undefined {
  const callId = asId(block.tool_use_id)
  if (callId === undefined) return undefined
  const isError = block.is_error === true || asString(asObject(block.content)?.type)?.endsWith('_error') === true
  const texts = block.type === 'mcp_tool_result' ? plainTexts(block.content) : undefined
  const content: ToolResult['content'] = texts?.map((text) => ({ type: 'text', text })) ?? [custom(block)]
  return { type: 'tool_result', callId, status: isError ? 'error' : 'ok', content }
}

/** The texts of a list that holds nothing but `{type: text, text}`. */
function plainTexts(content: Json | undefined): readonly string[] | undefined {
  const texts = asList(content)?.map((inner) => {
    const { type, text, ...more } = asObject(inner) ?? {}
    return type === 'text' && typeof text === 'string' && Object.keys(more).length === 0 ? text : undefined
  })
  return texts?.every((text) => text !== undefined) ? texts : undefined
}

function custom(block: JsonObject): Extract<Part, { type: 'custom' }> {
  return { type: 'custom', kind: `anthropic.${asString(block.type) ?? 'unknown'}`, payload: block, origin }
}
