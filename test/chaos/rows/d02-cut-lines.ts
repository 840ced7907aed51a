import { setTimeout as sleep } from 'node:timers/promises'
import { type AppendCut, startFramingProxy } from '../../support/framing-proxy.ts'
import { createLogDatabase } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import { randomFrom } from '../random.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'

const figures = {
  quick: { cuts: 50 },
  full: { cuts: 500 },
}
const modes: readonly AppendCut[] = ['after', 'before', 'late', 'mid-message', 'half-open']
const processes = 2
const lanes = 8
/** For all cuts: what hangs is found. */
/** 2,500 cuts take two minutes on a quiet machine. */
const patienceMs = { quick: 120_000, full: 400_000 }

export const cutLines: Row = {
  id: 'D2',
  promise: 'A line that is cut around an append, before it, after it, in it or for good, loses nothing and doubles nothing.',
  service: 'postgres',
  mutants: ['check-then-retry', 'no-second-look'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const wanted = figures[scale].cuts * modes.length
    const random = randomFrom(seed)
    const url = await createLogDatabase(postgres, { mutant })
    // Every mode in turn, at one append in two: what is sent again may be cut again.
    let next = 0
    const proxy = await startFramingProxy(url, {
      cut: () => (next < wanted && random.below(2) === 0 ? modes[next++ % modes.length] : undefined),
    })
    try {
      const workers = Array.from({ length: processes }, (_, i) => {
        const job: DispatchJob = {
          url: proxy.url,
          seed: seed + i + 1,
          count: null,
          conversations: Array.from({ length: 40 }, (_, c) => `conversation-${i}-${c}`),
          lanes,
          // Past the 300 ms of a late append: some are sent again before it arrives, some after.
          retryWaitMs: 600,
          // The one sends again by itself until it knows; the other has to tell its caller that it does not.
          deadlineMs: i === 0 ? 2_500 : 500,
        }
        return startWorker<DispatchEntry>('dispatch', `w${i}`, job, { directory, mutant })
      })
      await goTogether(workers)
      let done = false
      const ended = endOf(workers).finally(() => {
        done = true
      })
      const deadline = performance.now() + patienceMs[scale]
      while (!done && proxy.cuts() < wanted && performance.now() < deadline) await sleep(20)
      for (const worker of workers) worker.stop()
      const wrong = await ended
      if (proxy.cuts() < wanted)
        wrong.push(`only ${proxy.cuts()} of ${wanted} cuts could be made: appends do not go on after a cut`)
      await proxy.settled()
      const check = await checkWork(url, workers)
      return {
        facts: { cuts: proxy.cuts(), appends: proxy.appends(), ...check.facts },
        wrong: [...wrong, ...check.wrong],
      }
    } finally {
      await proxy.close()
    }
  },
}
