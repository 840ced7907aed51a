import { asObject } from '../codecs/fields.ts'
import { anthropic } from './anthropic.ts'
import { createDecoder, type Dialect } from './decoder.ts'
import { gemini } from './gemini.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiResponses } from './openai-responses.ts'
import { readPayloads } from './payload.ts'
import { createSseReader } from './sse.ts'
import { defaultStreamLimits, type StreamDecoder, type StreamOptions } from './stream-event.ts'

const dialects = {
  anthropic,
  'openai-responses': openaiResponses,
  'openai-chat': openaiChat,
  gemini,
} as const satisfies Record<string, Dialect>

export type StreamFormat = keyof typeof dialects
export const streamFormats = Object.keys(dialects) as readonly StreamFormat[]

/**
 * The API that wrote a stream, by the first event that only one of them writes. The beginning is enough, if it holds such an event
 * whole; undefined when it holds none.
 */
export function detectStream(beginning: Uint8Array | string): StreamFormat | undefined {
  const sse = createSseReader({ limitChars: defaultStreamLimits.eventChars })
  for (const { data } of [...sse.push(beginning), ...sse.end()]) {
    for (const payload of readPayloads(data)) {
      const value = payload.type === 'json' ? asObject(payload.value) : undefined
      const format = value && streamFormats.find((name) => dialects[name].recognises(value))
      if (format !== undefined) return format
    }
  }
  return undefined
}

export function createStreamDecoder(format: StreamFormat, options: StreamOptions): StreamDecoder {
  return createDecoder(dialects[format], options)
}
