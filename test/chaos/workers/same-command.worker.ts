/** Dispatches the same commands as all others do, and tells each reply. */
import { ColloquyError, isColloquyError } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { acknowledgement } from '../retry.ts'
import { atTheStart, readTask, teller } from '../worker.ts'

export interface SameCommandTask {
  readonly url: string
  readonly count: number
  /** Commands that are sent again with other words, at the end. */
  readonly reused: number
}

const conversationOf = (command: number): string => `c${command % 20}`

const task = readTask<SameCommandTask>()
const tell = teller()
await using log = await openPostgresLog({ url: task.url })
await using engine = createEngine({ log })
await atTheStart(tell)
for (let i = 0; i < task.count; i++) {
  const conversation = await engine.open(conversationOf(i))
  const commandId = `command ${i}`
  tell(acknowledgement(conversation, commandId, await conversation.dispatch(say(`m${i}`), { commandId })))
}
for (let i = 0; i < task.reused; i++) {
  const conversation = await engine.open(conversationOf(i))
  const error: unknown = await conversation
    .dispatch(say(`other words ${i}`), { commandId: `command ${i}` })
    .catch((e: unknown) => e)
  if (error instanceof ColloquyError && !isColloquyError(error, 'command_id_reused')) throw error
  tell({ reused: isColloquyError(error, 'command_id_reused') })
}
