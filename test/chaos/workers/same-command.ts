/** Sends the same commands as all other workers do, at about the same moments. */
import { toHex } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { work } from './work.ts'

export interface SameCommandJob {
  readonly url: string
  readonly commands: number
  readonly conversations: number
}

export type SameCommandEntry =
  | {
      readonly kind: 'answer'
      readonly command: number
      readonly position: number
      readonly hash: string
      readonly duplicate: boolean
    }
  | { readonly kind: 'other input'; readonly command: number; readonly code: string }
  | { readonly kind: 'other conversation'; readonly command: number; readonly duplicate: boolean }
  | { readonly kind: 'failed'; readonly text: string }

const lanes = 4

await work<SameCommandJob>(async ({ job, record: write, start }) => {
  const record = (entry: SameCommandEntry) => write(entry)
  await using log = await openPostgresLog({ url: job.url })
  await using engine = createEngine({ log, onError: () => {} })
  await start()

  async function command(i: number): Promise<void> {
    const commandId = `command-${i}`
    const conversation = await engine.open(`conversation-${i % job.conversations}`)
    const { envelopes, duplicate } = await conversation.dispatch(say(commandId), { commandId })
    const [first] = envelopes
    if (first === undefined) throw new Error('The dispatch resolved without an envelope.')
    record({ kind: 'answer', command: i, position: first.position, hash: toHex(first.hash), duplicate })
    if (i % 10 !== 0) return
    const other = conversation.dispatch(say(`${commandId}-other`), { commandId })
    const code = await other.then(
      () => 'stored',
      (error: unknown) => String((error as { code?: unknown }).code),
    )
    record({ kind: 'other input', command: i, code })
    const elsewhere = await engine.open(`elsewhere-of-${job.name}`)
    const allowed = await elsewhere.dispatch(say(commandId), { commandId })
    record({ kind: 'other conversation', command: i, duplicate: allowed.duplicate })
  }

  async function lane(number: number): Promise<void> {
    for (let i = number; i < job.commands; i += lanes)
      await command(i).catch((error: unknown) => record({ kind: 'failed', text: `command ${i}: ${String(error)}` }))
  }

  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
})
