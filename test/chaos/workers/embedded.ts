/** Opens an embedded directory and dispatches until it is stopped or killed; or writes down why it may not. */
import { isColloquyError, toHex } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openEmbeddedLog, type PostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import type { DispatchEntry } from './dispatch.ts'
import { work } from './work.ts'

export interface EmbeddedJob {
  readonly directory: string
}

export type EmbeddedEntry =
  | DispatchEntry
  | { readonly kind: 'opened' }
  | { readonly kind: 'refused'; readonly code: string; readonly holder: number | null; readonly ms: number }

const lanes = 4

await work<EmbeddedJob>(async ({ job, record: write, start, isStopped }) => {
  const record = (entry: EmbeddedEntry) => write(entry)
  await start()
  const asked = performance.now()
  let log: PostgresLog
  try {
    log = await openEmbeddedLog({ directory: job.directory })
  } catch (error) {
    const ms = Math.round(performance.now() - asked)
    if (isColloquyError(error, 'directory_locked')) record({ kind: 'refused', code: error.code, holder: error.details.pid, ms })
    else record({ kind: 'refused', code: String(error), holder: null, ms })
    return
  }
  record({ kind: 'opened' })
  const engine = createEngine({ log, onError: () => {} })
  async function lane(number: number): Promise<void> {
    for (let i = number; !isStopped(); i += lanes) {
      const commandId = `${job.name}-${i}`
      const conversationId = `conversation-${i % 10}`
      try {
        const { envelopes, duplicate } = await (await engine.open(conversationId)).dispatch(say(commandId), { commandId })
        const first = envelopes[0]
        if (first === undefined) throw new Error('The dispatch resolved without an envelope.')
        record({ kind: 'stored', commandId, conversationId, position: first.position, hash: toHex(first.hash), duplicate })
      } catch (error) {
        record({ kind: 'failed', commandId, text: String(error) })
        return
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
  await engine.close()
  await log.close()
})
