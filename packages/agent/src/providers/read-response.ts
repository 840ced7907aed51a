import type { StreamDecoder, StreamEvent } from '@colloquy/formats'
import { decodeStream } from '@colloquy/formats'

/**
 * The events of an answer, from the bytes of its body as they came over the wire. When `signal` aborts, the connection is let go and
 * what had arrived ends as interrupted; when the connection breaks, that too, and then it throws.
 */
export async function* readResponse(
  request: Promise<{ readonly body: ReadableStream<Uint8Array> | null }>,
  decoder: StreamDecoder,
  signal: AbortSignal,
): AsyncGenerator<StreamEvent, void, undefined> {
  try {
    const { body } = await request
    if (body !== null) yield* decodeStream(decoder, chunksOf(body, signal))
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function* chunksOf(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader()
  // A body that is not the platform's own does not know of the signal.
  const leave = () => void reader.cancel(signal.reason).catch(() => {})
  signal.addEventListener('abort', leave)
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    signal.removeEventListener('abort', leave)
    leave()
  }
}
