import type { ConversationState, Json } from '@colloquy/core'
import type { Context } from '../context.ts'
import { describeMessage } from '../describe-action.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Output } from '../output.ts'
import { cutTo, printable } from '../printable.ts'
import { type FieldChange, type SliceDifference, stateDifference, type Thing } from '../state-difference.ts'
import { headOf, openStore, type Store } from '../store.ts'
import { parsePosition } from '../times.ts'

export interface DiffOptions {
  readonly from: string
  readonly to: string
}

/** Shows what is different between the states after two positions; 0 is the state before the first action. */
export async function diff(context: Context, id: string, options: DiffOptions): Promise<ExitCode> {
  const { output } = context
  const from = parsePosition('--from', options.from)
  const to = parsePosition('--to', options.to)
  await using store = await openStore(context)
  await headOf(store, id)
  const slices = stateDifference(await stateAt(store, id, from), await stateAt(store, id, to))
  if (output.json) await output.document({ id, from, to, slices })
  else for (const slice of slices) await writeSlice(output, slice)
  if (slices.length === 0) output.say(`The states at ${from} and ${to} are the same.`)
  output.next(['show', id, '--at', to])
  return exitCodes.ok
}

async function stateAt({ engine }: Store, id: string, position: number): Promise<ConversationState> {
  return position === 0 ? engine.reducer.initial() : (await engine.replay(id, { position })).state
}

async function writeSlice(output: Output, { id, added, removed, changed, fields }: SliceDifference): Promise<void> {
  const lines: (readonly ['-' | '+' | '~', ...string[]])[] = [
    ...removed.map((thing) => ['-', ...describeThing(id, thing)] as const),
    ...added.map((thing) => ['+', ...describeThing(id, thing)] as const),
    ...changed.map((thing) => ['~', printable(thing.id), thing.fields.map(describeField).join('; ')] as const),
    ...fields.map((field) => ['~', describeField(field)] as const),
  ]
  if (!output.isTerminal) {
    for (const line of lines) await output.write(`${printable(id)}\t${line.join('\t')}\n`)
    return
  }
  await output.write(`${output.paint('bold', printable(id))}\n`)
  for (const [sign, ...words] of lines) {
    await output.write(`  ${output.paint(signStyles[sign], sign)} ${cutTo(words.join(' '), output.width - 4)}\n`)
  }
}

const signStyles = { '-': 'red', '+': 'green', '~': 'yellow' } as const

function describeThing(slice: string, { id, value }: Thing): string[] {
  // The slice of our messages holds nothing but messages.
  if (slice === 'messages') {
    const message = value as unknown as Parameters<typeof describeMessage>[0] & {
      readonly position: number
      readonly role: string
    }
    return [`#${message.position}`, printable(id), message.role, describeMessage(message)]
  }
  return [printable(id), shortJson(value)]
}

function describeField({ path, before, after }: FieldChange): string {
  const change = `${shortJson(before)} -> ${shortJson(after)}`
  const grown = typeof before === 'number' && typeof after === 'number' ? ` (${after > before ? '+' : ''}${after - before})` : ''
  return `${path === '' ? '' : `${printable(path)} `}${change}${grown}`
}

const valueColumns = 60

function shortJson(value: Json | undefined): string {
  return value === undefined ? 'nothing' : cutTo(printable(JSON.stringify(value)), valueColumns)
}
