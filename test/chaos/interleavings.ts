/** Races in one process, where fast-check decides in which order the calls of the log are answered. */
import type { EventLog } from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import fc from 'fast-check'
import { say } from '../support/given.ts'
import { holds } from './fact.ts'
import { audit } from './oracle.ts'
import { acknowledgement } from './retry.ts'

/** Three engines over one log dispatch at once, in `runs` orders. @returns in how many the log is not whole (the search ends at the first) */
export async function raceInMemory(seed: number, runs: number): Promise<number> {
  const race = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
    const log = openMemoryLog()
    const acknowledged = await scheduler.waitFor(
      Promise.all([1, 2, 3].map((writer) => dispatchAll(scheduled(log, scheduler), writer))),
    )
    const facts = await audit(log, acknowledged.flat())
    return facts.every(holds) && facts.some(({ what, seen }) => what === 'stored' && seen === 9)
  })
  const details = await fc.check(race, { seed, numRuns: runs, endOnFailure: true })
  if (details.failed) process.stderr.write(`${fc.defaultReportMessage(details)}\n`)
  return details.failed ? 1 : 0
}

async function dispatchAll(log: EventLog, writer: number) {
  const engine = createEngine({ log })
  const conversation = await engine.open('raced')
  const dispatches = [1, 2, 3].map(async (turn) => {
    const commandId = `${writer}-${turn}`
    return acknowledgement(conversation, commandId, await conversation.dispatch(say(commandId), { commandId }))
  })
  return Promise.all(dispatches)
}

/** The log, whose calls begin and end when the scheduler says so. */
function scheduled(log: EventLog, scheduler: fc.Scheduler): EventLog {
  const turn = () => scheduler.schedule(Promise.resolve())
  return {
    ...log,
    async append(requests) {
      await turn()
      const outcomes = await log.append(requests)
      await turn()
      return outcomes
    },
    async latest(key, stateKey) {
      await turn()
      return log.latest(key, stateKey)
    },
    async command(key, commandId) {
      await turn()
      return log.command(key, commandId)
    },
    async *read(key, range) {
      for await (const page of log.read(key, range)) {
        await turn()
        yield page
      }
    },
  }
}
