/** Two engines with clocks that are wrong and jump, in turn on the same conversations. */
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { randomFrom } from '../random.ts'
import { work } from './work.ts'

export interface ClocksJob {
  readonly url: string
  readonly seed: number
  readonly cases: number
}

/** In the order in which the appends were done, one by one. */
export interface ClocksEntry {
  readonly conversationId: string
  readonly commandId: string
  readonly position: number
}

const hour = 3_600_000_000

await work<ClocksJob>(async ({ job, record: write, start }) => {
  const record = (entry: ClocksEntry) => write(entry)
  const random = randomFrom(job.seed)
  await using log = await openPostgresLog({ url: job.url })
  await start()
  for (let i = 0; i < job.cases; i++) {
    // Off by an hour at most, another way at every look: forwards, backwards, anything.
    const clock = () => Date.now() * 1_000 + Math.round((random.fraction() * 2 - 1) * hour)
    const engines = [0, 1].map(() => createEngine({ log, clock, onError: () => {} }))
    for (let turn = 0; turn < 4; turn++) {
      const engine = engines[random.below(2)]
      const conversationId = `conversation-${i}-${random.below(2)}`
      const commandId = `command-${i}-${turn}`
      const dispatched = await (await engine?.open(conversationId))?.dispatch(say(commandId), { commandId })
      record({ conversationId, commandId, position: dispatched?.position ?? 0 })
    }
    for (const engine of engines) await engine.close()
  }
})
