import { setTimeout as sleep } from 'node:timers/promises'
import { createLogDatabase } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'
import type { InterleavingsEntry, InterleavingsJob } from '../workers/interleavings.ts'

const figures = {
  quick: { dispatches: 500, interleavings: 1_000, models: 100, unevenMs: 6_000 },
  full: { dispatches: 2_000, interleavings: 1_000, models: 500, unevenMs: 20_000 },
}
/** What the slower of two must have of the turns. The faster one's first second, in which it does not know of the other, counts too. */
const leastShare = 0.1
/** What each of them takes for a turn, before the log has it. */
const paces = { fast: 1, slow: 4 }

export const races: Row = {
  id: 'D8',
  promise:
    'Writers that race on one conversation lose no turn, in whatever order their calls reach the log, and each has its turns.',
  service: 'postgres',
  mutants: ['no-compare-and-set', 'no-compare-and-set-in-memory', 'nobody-gives-way'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { dispatches, interleavings, models, unevenMs } = figures[scale]
    const url = await createLogDatabase(postgres, { mutant })
    const racers = Array.from({ length: 2 }, (_, i) => {
      const job: DispatchJob = {
        url,
        seed: seed + i,
        count: dispatches,
        conversations: ['raced'],
        lanes: 1,
        retryWaitMs: 20,
      }
      return startWorker<DispatchEntry>('dispatch', `w${i}`, job, { directory, mutant: sqlOnly(mutant) })
    })
    await goTogether(racers)
    const wrong = await endOf(racers)
    const job: InterleavingsJob = { seed, interleavings, models }
    const explorer = startWorker<InterleavingsEntry>('interleavings', 'interleavings', job, {
      directory,
      mutant: mutant === 'no-compare-and-set-in-memory' ? mutant : undefined,
    })
    await goTogether([explorer])
    wrong.push(...(await endOf([explorer])))

    const uneven = Object.entries(paces).map(([name, slowMs], i) => {
      const job: DispatchJob = {
        url,
        seed: seed + 2 + i,
        count: null,
        conversations: ['uneven'],
        lanes: 1,
        retryWaitMs: 20,
        slowMs,
      }
      const patched = mutant === 'nobody-gives-way' ? mutant : sqlOnly(mutant)
      return startWorker<DispatchEntry>('dispatch', name, job, { directory, mutant: patched })
    })
    await goTogether(uneven)
    await sleep(unevenMs)
    for (const worker of uneven) worker.stop()
    wrong.push(...(await endOf(uneven)))
    const [fast = 0, slow = 0] = uneven.map((worker) => worker.entries().length)
    const share = slow / (fast + slow)
    if (!(share >= leastShare)) wrong.push(`the slower of two had ${slow} of ${fast + slow} turns`)

    const raced = await checkWork(url, [...racers, ...uneven])
    const explored = explorer.entries()
    wrong.push(...raced.wrong)
    wrong.push(...explored.flatMap(({ what, counterexample }) => (counterexample === null ? [] : `${what}: ${counterexample}`)))
    const facts = { stored: raced.facts.stored, 'turns of the faster': fast, 'turns of the slower': slow }
    return { facts: { ...facts, ...Object.fromEntries(explored.map(({ what, runs }) => [what, runs])) }, wrong }
  },
}

/** The racers load no memory log, which a patch of it would say. */
const sqlOnly = (mutant: Parameters<Row['run']>[0]['mutant']) => (mutant === 'no-compare-and-set' ? mutant : undefined)
