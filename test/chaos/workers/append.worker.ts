/** Appends, and says so after each one, before the next. */
import { createEngine } from '@colloquy/engine'
import { openEmbeddedLog, openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { acknowledgement, untilDone } from '../retry.ts'
import { randomFrom } from '../row.ts'
import { atTheStart, readTask, teller } from '../worker.ts'

export interface AppendTask {
  readonly name: string
  readonly url?: string
  readonly directory?: string
  readonly seed: number
  readonly count: number
  /** How many of the appends go to the conversation that all workers share. */
  readonly sharedRatio: number
  /** How many at once. */
  readonly inFlight: number
}

const task = readTask<AppendTask>()
const tell = teller()
const random = randomFrom(task.seed)
const open = () =>
  task.url === undefined ? openEmbeddedLog({ directory: task.directory ?? '' }) : openPostgresLog({ url: task.url })
await using log = await untilDone(open, random)
await using engine = createEngine({ log })
await atTheStart(tell)

let next = 0
async function lane(): Promise<void> {
  while (next < task.count) {
    const commandId = `${task.name}-${next++}`
    const conversationId = random() < task.sharedRatio ? 'shared' : `of-${task.name}-${Math.floor(random() * 20)}`
    const counted = { tries: 0, unknown: 0 }
    const dispatch = async () => {
      const conversation = await engine.open(conversationId)
      const result = await conversation.dispatch(say(commandId, `What about ${commandId}?`), { commandId })
      return acknowledgement(conversation, commandId, result)
    }
    tell({ ...(await untilDone(dispatch, random, counted)), ...counted })
  }
}
await Promise.all(Array.from({ length: task.inFlight }, lane))
