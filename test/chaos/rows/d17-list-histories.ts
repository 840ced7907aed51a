import { openPostgresLog } from '@colloquy/postgres'
import { storedIn } from '../../support/given.ts'
import { newDatabase } from '../database.ts'
import { findAnomalies, type Operation } from '../list-history.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { defineRow } from '../row.ts'
import { failedOf, startTogether, startWorker } from '../worker.ts'
import type { ListTask } from '../workers/list.worker.ts'

export const listHistories = defineRow({
  id: 'D17',
  proves: 'what processes append and read at once is a history that one list could have had',
  scales: { quick: { processes: 3, operations: 400, lists: 3 }, full: { processes: 6, operations: 2_000, lists: 6 } },
  mutants: ['stale-reads'],
  async run(run) {
    const { processes, operations, lists } = run.scale
    const url = await newDatabase(run)
    const workers = Array.from({ length: processes }, (_, i) =>
      startWorker('list', run.directory, {
        name: `p${i}`,
        url,
        seed: run.seed + i,
        count: operations,
        lists,
      } satisfies ListTask),
    )
    await startTogether(workers)
    const failed = await failedOf(workers)
    const history = workers.flatMap((worker) => worker.told().slice(1)) as (Operation & Acknowledged)[]
    await using log = await openPostgresLog({ url })
    const ends = new Map<string, string[]>()
    for (let i = 0; i < lists; i++) {
      const stored = await storedIn(log, `list-${i}`)
      ends.set(
        `list-${i}`,
        stored.map(({ commandId }) => commandId ?? ''),
      )
    }
    const appends = history.filter(({ appended }) => appended !== undefined)
    const anomalies = findAnomalies(history, ends)
    return [
      { what: 'operations', seen: history.length, is: processes * operations },
      { what: 'reads', seen: history.length - appends.length, atLeast: 1 },
      { what: 'appends lost', seen: anomalies.lost, is: 0 },
      { what: 'values twice', seen: anomalies.duplicated, is: 0 },
      { what: 'reads in another order', seen: anomalies.reordered, is: 0 },
      { what: 'stale reads', seen: anomalies.stale, is: 0 },
      { what: 'processes that failed', seen: failed, is: 0 },
      ...(await audit(log, appends)),
    ]
  },
})
