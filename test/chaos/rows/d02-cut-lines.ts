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
const lanes = 8
/** For all cuts: what hangs is found. 2,500 of them take two minutes on a quiet machine. */
const patienceMs = { quick: 120_000, full: 400_000 }

export const cutLines: Row = {
  id: 'D2',
  promise: 'A line that is cut around an append, before it, after it, in it or for good, loses nothing and doubles nothing.',
  service: 'postgres',
  mutants: ['check-then-retry', 'no-second-look'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const random = randomFrom(seed)
    const url = await createLogDatabase(postgres, { mutant })
    /** Each mode in turn, at so many appends of four: what is sent again may be cut again. */
    const cutting = async (modes: readonly AppendCut[], ofFour: number) => {
      const wanted = figures[scale].cuts * modes.length
      let next = 0
      const proxy = await startFramingProxy(url, {
        cut: () => (next < wanted && random.below(4) < ofFour ? modes[next++ % modes.length] : undefined),
      })
      return { ...proxy, wanted }
    }
    const [all, late] = [await cutting(modes, 2), await cutting(['late'], 3)]
    const proxies = [all, late]
    const cuts = (): number => all.cuts() + late.cuts()
    const wanted = all.wanted + late.wanted
    try {
      // The first sends again by itself until it knows, the second has to tell its caller that it does not. The third does so before what
      // was cut off arrives: whoever looks then and finds nothing knows nothing.
      const callers = [
        { proxy: all, deadlineMs: 2_500 },
        { proxy: all, deadlineMs: 500 },
        { proxy: late, deadlineMs: 100 },
      ]
      const workers = callers.map(({ proxy, deadlineMs }, i) => {
        const job: DispatchJob = {
          url: proxy.url,
          seed: seed + i + 1,
          count: null,
          conversations: Array.from({ length: 40 }, (_, c) => `conversation-${i}-${c}`),
          lanes,
          // Past the 300 ms of a late append: some are sent again before it arrives, some after.
          retryWaitMs: 600,
          deadlineMs,
        }
        return startWorker<DispatchEntry>('dispatch', `w${i}`, job, { directory, mutant })
      })
      await goTogether(workers)
      let done = false
      const ended = endOf(workers).finally(() => {
        done = true
      })
      const deadline = performance.now() + patienceMs[scale]
      const stillCut = new Set(callers)
      while (!done && cuts() < wanted && performance.now() < deadline) {
        await sleep(20)
        // Who is not cut any more appends as fast as it can.
        for (const caller of stillCut) {
          if (caller.proxy.cuts() < caller.proxy.wanted) continue
          stillCut.delete(caller)
          workers[callers.indexOf(caller)]?.stop()
        }
      }
      for (const worker of workers) worker.stop()
      const wrong = await ended
      if (cuts() < wanted) wrong.push(`only ${cuts()} of ${wanted} cuts could be made: appends do not go on after a cut`)
      for (const proxy of proxies) await proxy.settled()
      const check = await checkWork(url, workers)
      return {
        facts: { cuts: cuts(), appends: all.appends() + late.appends(), ...check.facts },
        wrong: [...wrong, ...check.wrong],
      }
    } finally {
      for (const proxy of proxies) await proxy.close()
    }
  },
}
