import type { JsonObject } from '@colloquy/core'
import { asString } from '../codecs/fields.ts'

/**
 * Joins the pieces in which OpenRouter streams `reasoning_details` to the list that it wants back
 * (https://openrouter.ai/docs/use-cases/reasoning-tokens): pieces of one type and index are one detail, their texts put together.
 */
export function mergeReasoningDetails(details: JsonObject[], pieces: readonly JsonObject[]): void {
  for (const piece of pieces) {
    const at = details.findLastIndex(({ type, index }) => type === piece.type && index === piece.index)
    const before = details[at]
    // Encrypted data come whole: each is a detail of its own.
    if (before === undefined || piece.type === 'reasoning.encrypted') details.push(piece)
    else details[at] = { ...before, ...piece, ...joined(before, piece, 'text'), ...joined(before, piece, 'summary') }
  }
}

function joined(before: JsonObject, piece: JsonObject, field: 'text' | 'summary'): JsonObject {
  if (typeof before[field] !== 'string' && typeof piece[field] !== 'string') return {}
  return { [field]: (asString(before[field]) ?? '') + (asString(piece[field]) ?? '') }
}
