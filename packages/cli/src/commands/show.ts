import { type ConversationState, type Replayed, stateHash, toHex } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { formatIsoTime } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { showState } from '../show-state.ts'
import { openStore } from '../store.ts'
import { type Moment, parseMoment } from '../times.ts'
import { unappliedText } from '../unapplied-text.ts'

export interface ShowOptions {
  readonly at?: string
  readonly full?: boolean
}

/** Shows the state of a conversation: now, after a position, or at a time. */
export async function show(context: Context, id: string, options: ShowOptions): Promise<ExitCode> {
  const { output } = context
  const moment = options.at === undefined ? undefined : parseMoment('--at', options.at)
  await using store = await openStore(context)
  const replayed = await store.engine.replay(id, moment)
  if (output.json) await output.document(documentOf(id, replayed))
  else await showState(output, id, replayed, { full: options.full ?? false })
  sayWhatIsOdd(context, replayed, moment)
  const { position } = replayed
  if (position > 1) output.next(['diff', id, '--from', Math.max(1, position - 10), '--to', position], ['replay', id, '--verify'])
  return exitCodes.ok
}

function documentOf(id: string, { state, position, occurredAt, unapplied }: Replayed<ConversationState>) {
  return {
    id,
    position,
    occurredAt: position === 0 ? null : formatIsoTime(occurredAt),
    stateHash: toHex(stateHash(state, sha256)),
    state,
    unapplied,
  }
}

function sayWhatIsOdd({ output }: Context, { position, unapplied, unappliedCount }: Replayed<unknown>, moment?: Moment): void {
  if (position === 0 && moment)
    output.say('The conversation had not begun at that time: this is the state before its first action.')
  if (unappliedCount > 0) output.say(`${unappliedText(unappliedCount, unapplied[0])}.`)
}
