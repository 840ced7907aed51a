import { openPostgresLog } from '@colloquy/postgres'
import { createLogDatabase } from '../database.ts'
import type { Operation } from '../list-append.ts'
import { judge } from '../list-append.ts'
import { checkLog } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { HistoryJob } from '../workers/history.ts'

const figures = {
  quick: { processes: 3, operations: 300, lists: 4 },
  full: { processes: 6, operations: 2_000, lists: 12 },
}

export const history: Row = {
  id: 'D17',
  promise:
    'What several processes append and read is as if it happened one by one: nothing lost, doubled, reordered or read stale.',
  service: 'postgres',
  mutants: ['read-with-hole', 'read-from-memory'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { processes, operations, lists } = figures[scale]
    const url = await createLogDatabase(postgres)
    const workers = Array.from({ length: processes }, (_, i) => {
      const job: HistoryJob = { url, seed: seed + i, operations, lists }
      return startWorker<Operation>('history', `w${i}`, job, { directory, mutant })
    })
    await goTogether(workers)
    const wrong = await endOf(workers)
    await using log = await openPostgresLog({ url })
    const check = await checkLog(log)
    const final = Map.groupBy(
      check.envelopes.toSorted((a, b) => a.position - b.position),
      ({ conversationId }) => conversationId,
    )
    const all = workers.flatMap((worker) => worker.entries())
    wrong.push(...check.wrong)
    wrong.push(
      ...judge(all, new Map([...final].map(([list, envelopes]) => [list, envelopes.map(({ commandId }) => commandId ?? '')]))),
    )
    const reads = all.filter(({ kind }) => kind === 'read').length
    return { facts: { processes, appends: all.length - reads, reads, lists: final.size }, wrong }
  },
}
