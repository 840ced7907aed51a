import { createLogDatabase } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'
import type { InterleavingsEntry, InterleavingsJob } from '../workers/interleavings.ts'

const figures = {
  quick: { dispatches: 500, interleavings: 1_000, models: 100 },
  full: { dispatches: 2_000, interleavings: 1_000, models: 500 },
}

export const races: Row = {
  id: 'D8',
  promise: 'Writers that race on one conversation lose no turn, in whatever order their calls reach the log.',
  service: 'postgres',
  mutants: ['no-compare-and-set', 'no-compare-and-set-in-memory'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { dispatches, interleavings, models } = figures[scale]
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

    const raced = await checkWork(url, racers)
    const explored = explorer.entries()
    wrong.push(...raced.wrong)
    wrong.push(...explored.flatMap(({ what, counterexample }) => (counterexample === null ? [] : `${what}: ${counterexample}`)))
    return { facts: { stored: raced.facts.stored, ...Object.fromEntries(explored.map(({ what, runs }) => [what, runs])) }, wrong }
  },
}

/** The racers load no memory log, which a patch of it would say. */
const sqlOnly = (mutant: Parameters<Row['run']>[0]['mutant']) => (mutant === 'no-compare-and-set' ? mutant : undefined)
