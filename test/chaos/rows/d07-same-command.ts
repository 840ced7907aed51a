import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { newDatabase } from '../database.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { defineRow } from '../row.ts'
import { failedOf, startTogether, startWorker } from '../worker.ts'
import type { SameCommandTask } from '../workers/same-command.worker.ts'

const processes = 8

export const sameCommand = defineRow({
  id: 'D7',
  proves:
    'a command that 8 processes send at once is stored once, all get the same reply, and other words under its id are refused',
  scales: { quick: { commands: 100, reused: 10 }, full: { commands: 1_000, reused: 50 } },
  mutants: ['duplicate-check-off'],
  async run(run) {
    const { commands, reused } = run.scale
    const url = await newDatabase(run)
    const task: SameCommandTask = { url, count: commands, reused }
    const workers = Array.from({ length: processes }, () => startWorker('same-command', run.directory, task))
    await startTogether(workers)
    const failed = await failedOf(workers)
    const told = workers.flatMap((worker) => worker.told().slice(1)) as (Acknowledged & {
      reused?: boolean
      duplicate?: boolean
    })[]
    const replies = told.filter((line) => line.reused === undefined)
    const places = new Set(replies.map(({ commandId, position, hash }) => JSON.stringify([commandId, position, hash])))

    await using log = await openPostgresLog({ url })
    await using engine = createEngine({ log })
    const elsewhere = await (await engine.open('elsewhere')).dispatch(say('m0'), { commandId: 'command 0' })
    return [
      { what: 'replies', seen: replies.length, is: processes * commands },
      { what: 'different replies', seen: places.size, is: commands },
      { what: 'first ones', seen: replies.filter(({ duplicate }) => !duplicate).length, is: commands },
      { what: 'other words refused', seen: told.filter((line) => line.reused === true).length, is: processes * reused },
      { what: 'stored in another conversation', seen: elsewhere.duplicate ? 0 : 1, is: 1 },
      { what: 'processes that failed', seen: failed, is: 0 },
      ...(await audit(log, replies)),
    ]
  },
})
