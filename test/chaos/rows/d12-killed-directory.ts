import { join } from 'node:path'
import { openEmbeddedLog } from '@colloquy/postgres'
import { type Acknowledged, audit } from '../oracle.ts'
import { defineRow, randomFrom } from '../row.ts'
import { failedOf, sleep, startTogether, startWorker } from '../worker.ts'
import type { AppendTask } from '../workers/append.worker.ts'
import type { OpenDirectoryTask } from '../workers/open-directory.worker.ts'

interface Attempt {
  readonly opened: boolean
  readonly holder?: number
  readonly ms?: number
}

export const killedDirectory = defineRow({
  id: 'D12',
  proves: 'an embedded directory loses nothing when its process is killed, opens again, and has one holder, who is named',
  scales: { quick: { kills: 3, rivals: 2 }, full: { kills: 15, rivals: 4 } },
  mutants: ['directory-lock-off', 'live-holder-robbed'],
  async run(run) {
    const { kills, rivals } = run.scale
    const random = randomFrom(run.seed)
    const directory = join(run.directory, 'store')
    const acknowledged: Acknowledged[] = []
    const attempts: (Attempt & { readonly by: number | undefined })[] = []
    let rivalsFailed = 0
    for (let kill = 0; kill < kills; kill++) {
      const task: AppendTask = { name: `w${kill}`, directory, seed: run.seed + kill, count: 1e9, sharedRatio: 0.25, inFlight: 2 }
      const holder = startWorker('append', run.directory, task)
      await startTogether([holder])
      if (kill === 0) {
        const rival: OpenDirectoryTask = { directory, tries: 5 }
        const others = Array.from({ length: rivals }, () => startWorker('open-directory', run.directory, rival))
        await startTogether(others)
        rivalsFailed = await failedOf(others)
        attempts.push(...others.flatMap((o) => (o.told().slice(1) as Attempt[]).map((a) => ({ ...a, by: holder.process.pid }))))
      }
      const enough = 50 + random() * 150
      while (holder.process.exitCode === null && holder.told().length < enough) await sleep(5)
      holder.process.kill('SIGKILL')
      await holder.ended
      acknowledged.push(...(holder.told().slice(1) as Acknowledged[]))
    }
    await using log = await openEmbeddedLog({ directory })
    const refused = attempts.filter(({ opened, holder, by }) => !opened && holder === by)
    return [
      { what: 'kills', seen: kills },
      { what: 'refused with the name of the holder', seen: refused.length, is: rivals * 5 },
      { what: 'ms at most until then', seen: Math.max(0, ...attempts.map(({ ms = 0 }) => ms)), atMost: 1_000 },
      { what: 'rivals that failed', seen: rivalsFailed, is: 0 },
      ...(await audit(log, acknowledged)),
    ]
  },
})
