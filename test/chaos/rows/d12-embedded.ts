import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openEmbeddedLog } from '@colloquy/postgres'
import { checkDispatches, checkLog } from '../oracle.ts'
import { endOf, goTogether, startWorker, type WorkerProcess } from '../processes.ts'
import { randomFrom } from '../random.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry } from '../workers/dispatch.ts'
import type { EmbeddedEntry, EmbeddedJob } from '../workers/embedded.ts'

const figures = {
  quick: { kills: 3 },
  full: { kills: 15 },
}
/** For a process to come up on a busy machine. */
const patienceMs = 60_000
const refusedWithinMs = 1_000

export const embedded: Row = {
  id: 'D12',
  promise:
    'An embedded directory whose process is killed loses nothing, and a second process is refused while the first one lives.',
  service: 'none',
  mutants: ['no-lock'],

  async run({ seed, scale, mutant, directory }) {
    const { kills } = figures[scale]
    const random = randomFrom(seed)
    const job: EmbeddedJob = { directory: join(directory, 'store') }
    const start = async (name: string): Promise<WorkerProcess<EmbeddedEntry>> => {
      const worker = startWorker<EmbeddedEntry>('embedded', name, job, { directory, mutant })
      await goTogether([worker])
      return worker
    }
    const wrong: string[] = []
    const holders: WorkerProcess<EmbeddedEntry>[] = []
    const refusalsMs: number[] = []
    for (let round = 0; round < kills && wrong.length === 0; round++) {
      const holder = await start(`holder-${round}`)
      holders.push(holder)
      const enough = 20 + random.below(60)
      let deadline = performance.now() + patienceMs
      const isBusy = () => holder.entries().filter(({ kind }) => kind === 'stored').length >= enough
      while (!isBusy() && performance.now() < deadline) await sleep(10)
      if (!isBusy()) wrong.push(`the holder of round ${round} did not come to append: ${JSON.stringify(holder.entries().at(-1))}`)

      const second = await start(`second-${round}`)
      deadline = performance.now() + patienceMs
      while (second.entries().length === 0 && performance.now() < deadline) await sleep(10)
      const [answer] = second.entries()
      if (answer?.kind !== 'refused') {
        wrong.push(answer ? 'a second process was let in beside a living one' : 'a second process got no answer')
        second.kill()
      } else {
        refusalsMs.push(answer.ms)
        if (answer.code !== 'directory_locked') wrong.push(`the second process was refused with ${answer.code}`)
        if (answer.holder !== holder.pid) wrong.push(`the second process was told of process ${answer.holder}, not ${holder.pid}`)
      }
      wrong.push(...(await endOf([second])))
      holder.kill()
      wrong.push(...(await endOf([holder])))
    }

    // The best of all rounds: a machine that has other work may hold up any of them.
    const quickest = Math.min(...refusalsMs)
    if (refusalsMs.length > 0 && quickest > refusedWithinMs) wrong.push(`no second process was refused before ${quickest} ms`)
    // What the last one left behind is taken over here.
    const entries = holders.flatMap((holder) => holder.entries()).filter((entry): entry is DispatchEntry => 'commandId' in entry)
    try {
      await using log = await openEmbeddedLog(job)
      const check = await checkLog(log)
      // What was under way when its process was killed may be stored, and nobody was told.
      const known = new Set(entries.map(({ commandId }) => commandId))
      const told = check.envelopes.filter(({ commandId }) => known.has(commandId ?? ''))
      const dispatches = checkDispatches(told, entries)
      return {
        facts: {
          kills: holders.length,
          stored: dispatches.facts.stored,
          'stored untold': check.envelopes.length - told.length,
          'quickest refusal ms': quickest,
        },
        wrong: [...wrong, ...check.wrong, ...dispatches.wrong],
      }
    } catch (error) {
      return { facts: { kills: holders.length }, wrong: [...wrong, `the directory does not open any more: ${String(error)}`] }
    }
  },
}
