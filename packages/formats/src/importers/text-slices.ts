import type { Json, JsonObject, Message } from '@colloquy/core'

/** Shorter pieces are not worth a pointer. */
const shortest = 40

/** A text of a message and where it stands: `<message id>/parts/0/text`. */
export interface PlacedText {
  readonly pointer: string
  readonly text: string
}

/** The texts of a message and of the results in it. */
export function placedTexts(messageId: string, { parts }: Pick<Message, 'parts'>): PlacedText[] {
  return parts.flatMap((part, index): PlacedText[] => {
    const pointer = `${messageId}/parts/${index}`
    if (part.type === 'text') return [{ pointer: `${pointer}/text`, text: part.text }]
    if (part.type !== 'tool_result') return []
    return part.content.flatMap((inner, n) =>
      inner.type === 'text' ? [{ pointer: `${pointer}/content/${n}/text`, text: inner.text }] : [],
    )
  })
}

/**
 * Fields that are a piece of such a text become `{"$slice": {of, from, to}}`: programs write what they cut out of an answer, or built
 * into a message, beside it, and no text is stored twice. What is equal to a whole text is left to `withoutWords`.
 */
export function withSlices(fields: JsonObject, texts: readonly PlacedText[]): JsonObject {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, sliced(value, texts)]))
}

function sliced(value: Json, texts: readonly PlacedText[]): Json {
  if (typeof value !== 'string' || value.length < shortest) return value
  for (const { pointer, text } of texts) {
    const from = text.length > value.length ? text.indexOf(value) : -1
    if (from >= 0) return { $slice: { of: pointer, from, to: from + value.length } }
  }
  return value
}
