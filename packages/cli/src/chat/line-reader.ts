import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** The lines of a stream, for several who ask: one after the other, in the order in which they asked. */
export interface LineReader {
  /**
   * Calls `prompt` when it is its turn, and waits for a line; undefined when there are no more. Who stops waiting, by `signal`, leaves the
   * line to who asks next. @throws the signal's reason
   */
  ask(prompt: () => void, signal?: AbortSignal): Promise<string | undefined>
  close(): void
}

export function lineReader(input: Readable): LineReader {
  const lines = createInterface({ input, terminal: false })
  const iterator = lines[Symbol.asyncIterator]()
  let coming: Promise<IteratorResult<string>> | undefined
  let before: Promise<unknown> = Promise.resolve()

  async function read(prompt: () => void, signal: AbortSignal | undefined): Promise<string | undefined> {
    signal?.throwIfAborted()
    prompt()
    coming ??= iterator.next()
    const { value, done } = await unlessAborted(coming, signal)
    coming = undefined
    return done ? undefined : value
  }

  return {
    ask(prompt, signal) {
      const asked = before.then(() => read(prompt, signal))
      before = asked.catch(() => {})
      return asked
    },
    close: () => lines.close(),
  }
}

async function unlessAborted<T>(waiting: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return waiting
  let leave = (): void => {}
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason as Error)
    signal.addEventListener('abort', leave, { once: true })
  })
  try {
    return await Promise.race([waiting, left])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
