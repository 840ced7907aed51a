import { openPostgresLog } from '@colloquy/postgres'
import { createLogDatabase } from '../database.ts'
import { checkLog } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { SameCommandEntry, SameCommandJob } from '../workers/same-command.ts'

const figures = {
  quick: { processes: 8, commands: 50 },
  full: { processes: 8, commands: 1_000 },
}
const conversations = 10

export const sameCommand: Row = {
  id: 'D7',
  promise: 'A command that eight processes send at once is stored once, and all eight are told the same.',
  service: 'postgres',
  mutants: ['no-command-check'],

  async run({ scale, mutant, directory, postgres }) {
    const { processes, commands } = figures[scale]
    const url = await createLogDatabase(postgres, { mutant })
    const job: SameCommandJob = { url, commands, conversations }
    const workers = Array.from({ length: processes }, (_, i) =>
      startWorker<SameCommandEntry>('same-command', `w${i}`, job, { directory, mutant }),
    )
    await goTogether(workers)
    const wrong = await endOf(workers)
    await using log = await openPostgresLog({ url })
    const check = await checkLog(log)
    wrong.push(...check.wrong)

    const entries = workers.flatMap((worker) => worker.entries())
    const failed = entries.filter((entry) => entry.kind === 'failed')
    if (failed.length > 0) wrong.push(`${failed.length} dispatches failed, first ${failed[0]?.text}`)
    const answers = Map.groupBy(
      entries.filter((entry) => entry.kind === 'answer'),
      ({ command }) => command,
    )
    const differing = [...answers.values()].filter((told) => new Set(told.map(({ hash }) => hash)).size !== 1)
    if (differing.length > 0) wrong.push(`${differing.length} commands were answered in more than one way`)
    const firsts = [...answers.values()].filter((told) => told.filter(({ duplicate }) => !duplicate).length !== 1)
    if (firsts.length > 0) wrong.push(`${firsts.length} commands were not the first exactly once`)
    const short = Array.from({ length: commands }, (_, i) => answers.get(i)?.length ?? 0).filter((told) => told !== processes)
    if (short.length > 0) wrong.push(`${short.length} commands were not answered to all`)
    const lost = [...answers.values()].filter(
      ([told]) =>
        !check.envelopes.some(({ conversationId, position, commandId }) => {
          const command = told?.command ?? -1
          return (
            conversationId === `conversation-${command % conversations}` &&
            position === told?.position &&
            commandId === `command-${command}`
          )
        }),
    )
    if (lost.length > 0) wrong.push(`${lost.length} answers name what is not stored`)
    const others = entries.filter((entry) => entry.kind === 'other input')
    const taken = others.filter(({ code }) => code !== 'command_id_reused')
    if (taken.length > 0) wrong.push(`${taken.length} ids for another input were answered with ${taken[0]?.code}`)
    const elsewhere = entries.filter((entry) => entry.kind === 'other conversation')
    if (elsewhere.some(({ duplicate }) => duplicate)) wrong.push('an id of one conversation was taken for that of another')
    return {
      facts: {
        processes,
        commands: answers.size,
        'other inputs refused': others.length,
        'other conversations': elsewhere.length,
      },
      wrong,
    }
  },
}
