import { Writable } from 'node:stream'
import type { EventLog } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import type { Io, OutputStream } from '../../packages/cli/src/output.ts'

/** A stream that keeps what is written to it. */
export interface Captured extends OutputStream {
  readonly text: string
}

export function captured(terminal?: { readonly columns: number }): Captured {
  let text = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  Object.defineProperty(stream, 'text', { get: () => text })
  return Object.assign(stream, terminal && { isTTY: true, columns: terminal.columns }) as unknown as Captured
}

interface CapturedOptions {
  readonly env?: Io['env']
  readonly terminal?: { readonly columns: number }
  /** Used by one command after the other: none of them closes it. */
  readonly log?: EventLog
}

/** A world for a command: nothing is read, everything written is kept, and the store is in memory. */
export function capturedIo(options: CapturedOptions = {}) {
  const log = options.log ?? openMemoryLog()
  return {
    stdout: captured(options.terminal),
    stderr: captured(options.terminal),
    stdin: (async function* (): AsyncGenerator<Uint8Array> {})(),
    env: { COLLOQUY_DB: 'memory:', ...options.env },
    openLog: async () => Object.assign(Object.create(log) as EventLog, { close: async () => {} }),
    signal: new AbortController().signal,
  } satisfies Io
}
