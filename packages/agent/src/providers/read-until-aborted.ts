/** What a stream brings until `signal` aborts; then, as when nobody wants more, the stream is cancelled. */
export async function* readUntilAborted<Chunk>(
  stream: ReadableStream<Chunk>,
  signal: AbortSignal,
): AsyncGenerator<Chunk, void, undefined> {
  const reader = stream.getReader()
  // A stream that is not the platform's own does not know of the signal.
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
