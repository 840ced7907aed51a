import { setTimeout as sleep } from 'node:timers/promises'
import { createLogDatabase, withClient } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import { randomFrom } from '../random.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'

const figures = {
  quick: { rounds: 20 },
  full: { rounds: 100 },
}
const patienceMs = 60_000

export const backends: Row = {
  id: 'D10',
  promise: 'Backends that the server terminates, idle or at work, end no process and lose nothing.',
  service: 'postgres',
  mutants: ['no-error-listeners'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { rounds } = figures[scale]
    const url = await createLogDatabase(postgres, { mutant })
    // Transactions of several statements, between which a connection is checked out and nothing is asked of it.
    await withClient(url, async (client) => {
      const database = client.escapeIdentifier(client.database ?? '')
      await client.query(`alter database ${database} set default_transaction_isolation = 'repeatable read'`)
    })
    const random = randomFrom(seed)
    const workers = Array.from({ length: 2 }, (_, i) => {
      const conversations = Array.from({ length: 10 }, (_, c) => `conversation-${i}-${c}`)
      // The pauses leave connections idle.
      const job: DispatchJob = { url, seed: seed + i, count: null, conversations, lanes: 4, pauseMs: 40, retryWaitMs: 50 }
      return startWorker<DispatchEntry>('dispatch', `w${i}`, job, { directory, mutant })
    })
    await goTogether(workers)
    const ended = endOf(workers)
    let terminated = 0
    await withClient(url, async (client) => {
      // More rounds where a busy machine makes connections slowly: each of those asked for finds one to end.
      const deadline = performance.now() + patienceMs
      for (let round = 0; round < rounds || (terminated < rounds && performance.now() < deadline); round++) {
        await sleep(50 + random.below(100))
        const { rows } = await client.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
        )
        terminated += rows.length
      }
    })
    for (const worker of workers) worker.stop()
    const wrong = await ended
    const check = await checkWork(url, workers)
    if (terminated < rounds) wrong.push(`only ${terminated} backends were there to terminate in ${rounds} rounds`)
    return { facts: { terminated, ...check.facts }, wrong: [...wrong, ...check.wrong] }
  },
}
