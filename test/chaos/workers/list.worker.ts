/** Appends to lists and reads them, with begin and end by the clock that all processes of a machine share. */
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import type { Operation } from '../list-history.ts'
import { acknowledgement } from '../retry.ts'
import { randomFrom } from '../row.ts'
import { atTheStart, readTask, teller } from '../worker.ts'

export interface ListTask {
  readonly name: string
  readonly url: string
  readonly seed: number
  readonly count: number
  readonly lists: number
}

const task = readTask<ListTask>()
const tell = teller()
const random = randomFrom(task.seed)
const now = () => Number(process.hrtime.bigint() / 1_000n)
await using log = await openPostgresLog({ url: task.url })
await using engine = createEngine({ log })
await atTheStart(tell)
for (let i = 0; i < task.count; i++) {
  const list = `list-${Math.floor(random() * task.lists)}`
  const begun = now()
  const conversation = await engine.open(list)
  if (random() < 0.5) {
    const value = `${task.name}-${i}`
    const result = await conversation.dispatch(say(value), { commandId: value })
    const operation: Operation = { list, begun, ended: now(), appended: value }
    tell({ ...operation, ...acknowledgement(conversation, value, result) })
  } else {
    const state = random() < 0.5 ? await conversation.refresh() : (await engine.replay(list).catch(() => undefined))?.state
    const read = state?.messages.slice().map(({ id }) => id) ?? []
    tell({ list, begun, ended: now(), read } satisfies Operation)
  }
}
