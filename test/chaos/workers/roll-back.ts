/** Appends in transactions that are held open a while and then rolled back, until it is stopped. */
import { setTimeout as sleep } from 'node:timers/promises'
import { openPostgresLog } from '@colloquy/postgres'
import { beginningOf, following } from '../../support/log-writer.ts'
import { randomFrom } from '../random.ts'
import { work } from './work.ts'

export interface RollBackJob {
  readonly url: string
  readonly seed: number
  /** The first is held open so long, the others a moment. */
  readonly heldMs: number
}

export interface RollBackEntry {
  readonly kind: 'rolled back'
  readonly heldMs: number
}

class RolledBack extends Error {}

await work<RollBackJob>(async ({ job, record: write, start, isStopped }) => {
  const record = (entry: RollBackEntry) => write(entry)
  const random = randomFrom(job.seed)
  await using log = await openPostgresLog({ url: job.url })
  await start()
  for (let i = 0; !isStopped(); i++) {
    const heldMs = i === 0 ? job.heldMs : random.below(10)
    const key = { tenant: 'default', conversationId: `rolled-back-${i}` }
    const transaction = log.kysely.transaction().execute(async (kysely) => {
      const inside = await openPostgresLog({ kysely })
      const expected = beginningOf(key)
      const [outcome] = await inside.append([{ key, expected, envelopes: following(key, expected, [{}, {}, {}]) }])
      if (outcome?.status !== 'appended') throw new Error(`The append came back as ${outcome?.status}.`)
      await sleep(heldMs)
      throw new RolledBack()
    })
    await transaction.catch((error: unknown) => {
      if (!(error instanceof RolledBack)) throw error
    })
    record({ kind: 'rolled back', heldMs })
    await sleep(random.below(20))
  }
})
