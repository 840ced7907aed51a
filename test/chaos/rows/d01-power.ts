import { setTimeout as sleep } from 'node:timers/promises'
import { startKillablePostgres } from '../../support/killable-postgres.ts'
import { createLogDatabase } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import { randomFrom } from '../random.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'

const figures = {
  quick: { appends: 2_000, processes: 4, kills: 4 },
  full: { appends: 10_000, processes: 8, kills: 20 },
}

export const power: Row = {
  id: 'D1',
  promise: 'Postgres, killed over and over under several processes, loses nothing that was acknowledged and doubles nothing.',
  service: 'own postgres',
  mutants: ['no-command-check', 'no-synchronous-commit'],

  async run({ seed, scale, mutant, directory }) {
    const { appends, processes, kills } = figures[scale]
    const random = randomFrom(seed)
    const server = await startKillablePostgres()
    try {
      const url = await createLogDatabase(server, { mutant })
      const workers = Array.from({ length: processes }, (_, i) => {
        const job: DispatchJob = {
          url,
          seed: seed + i + 1,
          count: null,
          conversations: Array.from({ length: 12 }, (_, c) => `conversation-${i}-${c}`),
          shared: 'shared',
          lanes: 4,
          repeatEvery: 20,
          retryWaitMs: 300,
        }
        return startWorker<DispatchEntry>('dispatch', `w${i}`, job, { directory, mutant })
      })
      await goTogether(workers)
      let done = false
      const ended = endOf(workers).finally(() => {
        done = true
      })
      const stored = () => workers.flatMap((worker) => worker.entries()).filter(({ kind }) => kind === 'stored').length
      const untilStored = async (count: number) => {
        while (!done && stored() < count) await sleep(50)
      }
      let killed = 0
      for (; killed < kills; killed++) {
        // Spread over the run by what was acknowledged, so that a fast machine is not killed less.
        await untilStored(((killed + 0.2 + random.fraction() * 0.6) * appends) / kills)
        if (done) break
        await server.kill()
        await sleep(random.fraction() * 200)
        await server.start()
      }
      await untilStored(appends)
      for (const worker of workers) worker.stop()
      const wrong = await ended
      if (killed < kills) wrong.push(`the work ended after ${killed} of ${kills} kills`)
      const check = await checkWork(url, workers)
      return {
        facts: { kills: killed, processes, ...check.facts },
        wrong: [...wrong, ...check.wrong],
      }
    } finally {
      await server.stop()
    }
  },
}
