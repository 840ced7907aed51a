import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { openStore } from '../store.ts'
import { parsePosition } from '../times.ts'

export interface ForkOptions {
  readonly at: string
  readonly reason?: string
}

/** Makes a conversation that continues another one after a position; both go on by themselves. */
export async function fork(context: Context, id: string, { at, reason }: ForkOptions): Promise<ExitCode> {
  const { output } = context
  const position = parsePosition('--at', at)
  await using store = await openStore(context, 'append')
  const made = await store.engine.fork(id, position, reason === undefined ? {} : { reason })
  if (output.json) await output.document({ id: made.id, parentId: id, at: position, position: made.position })
  else await output.write(`${made.id}\n`)
  output.say(`It shares positions 1 to ${position} with ${id}, and goes on by itself from there.`)
  output.next(['show', made.id], ['diff', id, made.id])
  return exitCodes.ok
}
