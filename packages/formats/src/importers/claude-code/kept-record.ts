import type { Json, JsonObject, Part } from '@colloquy/core'
import { asObject } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { blocksOf, type SessionRecord } from './record.ts'

/**
 * What `meta.records` keeps of a record: all of it but the words that its message holds, with media by hash. The record can be
 * put together again from both, and no text is stored twice.
 */
export function keptRecord(record: SessionRecord, parts: readonly Part[], media: MediaShelf): JsonObject {
  const { line, ordinal, fields } = record
  const message = asObject(fields.message)
  const blocks = blocksOf(record)
  const rest: JsonObject =
    message && blocks && parts.length === blocks.length ? { ...fields, message: withoutWords(message, parts) } : fields
  return { line, ...(ordinal > 1 && { ordinal }), record: media.replaceIn(rest) }
}

function withoutWords(message: JsonObject, parts: readonly Part[]): JsonObject {
  const { content, ...rest } = message
  if (!Array.isArray(content)) return rest
  return { ...rest, content: content.map((block: Json, index) => blockWithoutWords(block, parts[index])) }
}

function blockWithoutWords(block: Json, part: { readonly type: string } | undefined): Json {
  const fields = asObject(block)
  if (fields === undefined || part === undefined) return block
  switch (part.type) {
    case 'text': {
      const { text: _, ...rest } = fields
      return rest
    }
    case 'reasoning': {
      const { thinking: _, signature: __, data: ___, ...rest } = fields
      return rest
    }
    case 'tool_call': {
      const { input: _, ...rest } = fields
      return rest
    }
    case 'media': {
      const { data: _, ...source } = asObject(fields.source) ?? {}
      return { ...fields, source }
    }
    case 'tool_result': {
      const { content, ...rest } = fields
      const inner = (part as Extract<Part, { type: 'tool_result' }>).content
      // The result of a provider's tool is in its part as a whole.
      if (fields.type !== 'tool_result') return { type: fields.type as Json }
      return Array.isArray(content)
        ? { ...rest, content: content.map((b: Json, index) => blockWithoutWords(b, inner[index])) }
        : rest
    }
    case 'custom':
      return { type: fields.type ?? null }
    default:
      return block
  }
}
