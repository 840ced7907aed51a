import { openPostgresLog } from '@colloquy/postgres'
import { newDatabase } from '../database.ts'
import { raceInMemory } from '../interleavings.ts'
import { playAgainstModel } from '../model.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { defineRow } from '../row.ts'
import { failedOf, startTogether, startWorker } from '../worker.ts'
import type { RaceTask } from '../workers/race.worker.ts'

interface Told extends Acknowledged {
  readonly conflict?: boolean
  readonly insists?: boolean
  readonly tries?: number
}

export const races = defineRow({
  id: 'D8',
  proves: 'who races for a conversation loses no turn: one wins each position, the others are told or rebased',
  scales: {
    quick: { appends: 200, interleavings: 300, histories: 100 },
    full: { appends: 2_000, interleavings: 1_000, histories: 500 },
  },
  mutants: ['compare-and-set-off', 'memory-compare-and-set-off', 'memory-duplicate-check-off'],
  async run(run) {
    const { appends, interleavings, histories } = run.scale
    const url = await newDatabase(run)
    const workers = ['left', 'right'].map((name) =>
      startWorker('race', run.directory, { name, url, count: appends } satisfies RaceTask),
    )
    await startTogether(workers)
    const failed = await failedOf(workers)
    const told = workers.flatMap((worker) => worker.told().slice(1)) as Told[]
    const won = told.filter((line) => line.conflict !== true)
    await using log = await openPostgresLog({ url })
    const head = await log.head({ tenant: 'default', conversationId: 'raced' })
    return [
      { what: 'dispatches', seen: told.length, is: 2 * appends },
      { what: 'conflicts', seen: told.length - won.length, atLeast: 1 },
      { what: 'rebased or first', seen: won.filter(({ insists }) => !insists).length, is: appends },
      { what: 'dispatched again after 64 rebases', seen: told.reduce((sum, { tries = 1 }) => sum + tries - 1, 0) },
      { what: 'winners without a position', seen: won.length - (head?.position ?? 0), is: 0 },
      { what: 'processes that failed', seen: failed, is: 0 },
      ...(await audit(log, won)),
      { what: 'interleavings that lost a turn', seen: await raceInMemory(run.seed, interleavings), is: 0 },
      { what: 'interleavings', seen: interleavings },
      { what: 'histories that differ from the model', seen: await playAgainstModel(run.seed, histories), is: 0 },
      { what: 'histories', seen: histories },
    ]
  },
})
