import { decodeStream, type StreamDecoder, type StreamEvent } from '@colloquy/formats'
import { readUntilAborted } from './read-until-aborted.ts'

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
    if (body !== null) yield* decodeStream(decoder, readUntilAborted(body, signal))
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
