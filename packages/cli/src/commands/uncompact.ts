import { undoCompaction } from '@colloquy/context'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { writeFacts } from '../show-state.ts'
import { openStore } from '../store.ts'
import { parsePosition } from '../times.ts'

export interface UncompactOptions {
  readonly at?: string
}

/** Takes a compaction back: the messages that it covers are in the working set again, out of the log. */
export async function uncompact(context: Context, id: string, options: UncompactOptions): Promise<ExitCode> {
  const { output } = context
  const at = options.at === undefined ? {} : { at: parsePosition('--at', options.at) }
  await using store = await openStore(context, 'append')
  const undone = await undoCompaction(store.engine, id, at)
  const { position, compactionPosition, restoredMessages, restoredTokens } = undone
  if (output.json) await output.document({ id, ...undone })
  else {
    await writeFacts(output, [
      ['conversation', id],
      ['undone', `the compaction at position ${compactionPosition}, by position ${position}`],
      ['restored', `${restoredMessages} messages, ${restoredTokens} tokens`],
    ])
  }
  output.next(['diff', id, '--from', position - 1, '--to', position], ['compact', id, '--redo', compactionPosition])
  return exitCodes.ok
}
