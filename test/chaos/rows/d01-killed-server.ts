import { openPostgresLog } from '@colloquy/postgres'
import { newCluster } from '../database.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import type { Tries } from '../retry.ts'
import { defineRow, randomFrom } from '../row.ts'
import { failedOf, sleep, startTogether, startWorker } from '../worker.ts'
import type { AppendTask } from '../workers/append.worker.ts'

export const killedServer = defineRow({
  id: 'D1',
  proves: 'what was acknowledged is there after every process of Postgres was killed, once and in order',
  scales: { quick: { appends: 2_000, processes: 4, kills: 4 }, full: { appends: 10_000, processes: 8, kills: 20 } },
  mutants: ['acknowledged-before-flush'],
  async run(run) {
    const { appends, processes, kills } = run.scale
    const random = randomFrom(run.seed)
    const cluster = await newCluster(run)
    const workers = Array.from({ length: processes }, (_, i) =>
      startWorker('append', run.directory, {
        name: `w${i}`,
        url: cluster.url,
        seed: run.seed + i + 1,
        count: appends / processes,
        sharedRatio: 0.25,
        inFlight: 2,
      } satisfies AppendTask),
    )
    const told = () => workers.flatMap((worker) => worker.told().slice(1) as (Acknowledged & Tries)[])
    await startTogether(workers)
    let done = 0
    let working = true
    const ended = failedOf(workers).finally(() => {
      working = false
    })
    // Each kill falls into its own part of the appends, so that none comes after the work is done.
    for (let kill = 1; kill <= kills; kill++) {
      const from = (appends * (kill - 0.7)) / (kills + 0.5)
      while (working && told().length < from) await sleep(10)
      if (!working) break
      await sleep(random() * 50)
      await cluster.kill()
      await cluster.start()
      done += 1
    }
    const failed = await ended
    await using log = await openPostgresLog({ url: cluster.url })
    const acknowledged = told()
    return [
      { what: 'appends', seen: acknowledged.length, is: appends },
      { what: 'kills', seen: done, is: kills },
      { what: 'tried again', seen: acknowledged.reduce((sum, { tries }) => sum + tries - 1, 0), atLeast: kills },
      { what: 'unknown', seen: acknowledged.reduce((sum, { unknown }) => sum + unknown, 0) },
      { what: 'processes that failed', seen: failed, is: 0 },
      ...(await audit(log, acknowledged)),
    ]
  },
})
