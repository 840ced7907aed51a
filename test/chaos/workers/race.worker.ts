/** Races for one conversation: half of the dispatches insist on a position, half take whatever comes. */
import { isColloquyError } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { acknowledgement, untilDone } from '../retry.ts'
import { atTheStart, readTask, teller } from '../worker.ts'

export interface RaceTask {
  readonly name: string
  readonly url: string
  readonly count: number
}

const task = readTask<RaceTask>()
const tell = teller()
await using log = await openPostgresLog({ url: task.url })
await using engine = createEngine({ log })
const conversation = await engine.open('raced')
await atTheStart(tell)
for (let i = 0; i < task.count; i++) {
  const commandId = `${task.name} ${i}`
  if (i % 2 === 0) {
    try {
      const result = await conversation.dispatch(say(commandId), { commandId, expectedPosition: conversation.position })
      tell({ insists: true, ...acknowledgement(conversation, commandId, result) })
    } catch (error) {
      if (!isColloquyError(error, 'position_conflict')) throw error
      tell({ conflict: true })
      await conversation.refresh()
    }
  } else {
    // Who is rebased time and again is told so, and dispatches again.
    const counted = { tries: 0, unknown: 0 }
    const result = await untilDone(() => conversation.dispatch(say(commandId), { commandId }), Math.random, counted)
    tell({ insists: false, tries: counted.tries, ...acknowledgement(conversation, commandId, result) })
  }
}
