import { ColloquyError, type ConversationState, type Json, type Replayed, segmentsOf, sharedPosition } from '@colloquy/core'
import type { Context } from '../context.ts'
import { describeMessage } from '../describe-action.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Output } from '../output.ts'
import { cutTo, printable } from '../printable.ts'
import { type FieldChange, type SliceDifference, stateDifference, type Thing } from '../state-difference.ts'
import { headOf, openStore, type Store } from '../store.ts'
import { parsePosition } from '../times.ts'
import { unappliedText } from '../unapplied-text.ts'

export interface DiffOptions {
  readonly from?: string
  readonly to?: string
}

/** Shows what is different between the states after two positions; 0 is the state before the first action. */
export async function diff(
  context: Context,
  id: string,
  otherId: string | undefined,
  { from, to }: DiffOptions,
): Promise<ExitCode> {
  if (otherId === undefined && (from === undefined || to === undefined)) {
    throw new ColloquyError('usage_invalid', {
      problem: 'One conversation is compared with itself, from --from to --to; two are compared at their ends',
    })
  }
  const { output } = context
  const positions = {
    from: from === undefined ? undefined : parsePosition('--from', from),
    to: to === undefined ? undefined : parsePosition('--to', to),
  }
  await using store = await openStore(context)
  const before = await stateAt(store, id, positions.from)
  const after = await stateAt(store, otherId ?? id, positions.to)
  const slices = stateDifference(before.state, after.state)
  const shared = otherId === undefined ? undefined : await sharedBy(store, id, otherId)
  if (output.json) {
    const branches = otherId !== undefined && { otherId, shared }
    const unappliedCount = { from: before.unappliedCount, to: after.unappliedCount }
    await output.document({ id, ...branches, from: before.position, to: after.position, unappliedCount, slices })
  } else for (const slice of slices) await writeSlice(output, slice)
  if (shared !== undefined) output.say(`They share ${shared === 0 ? 'no positions' : `positions 1 to ${shared}`}.`)
  sayUnapplied(
    output,
    otherId === undefined
      ? [[id, longest(before, after)]]
      : [
          [id, before],
          [otherId, after],
        ],
  )
  const isPartial = before.unappliedCount + after.unappliedCount > 0
  if (slices.length === 0) {
    const without = isPartial ? ', without what could not be applied' : ''
    output.say(`The states at ${before.position} and ${after.position} are the same${without}.`)
  }
  output.next(['show', otherId ?? id, '--at', after.position])
  return exitCodes.ok
}

type Compared = Pick<Replayed<ConversationState>, 'state' | 'position' | 'unapplied' | 'unappliedCount'>

/** At the end when no position is given. */
async function stateAt(store: Store, id: string, given: number | undefined): Promise<Compared> {
  const head = await headOf(store, id)
  const position = given ?? head.position
  if (position > 0) return store.engine.replay(id, { position })
  return { state: store.engine.reducer.initial(), position, unapplied: [], unappliedCount: 0 }
}

const longest = (a: Compared, b: Compared): Compared => (a.position > b.position ? a : b)

/** Of one conversation the longer replay has left out what the shorter one did. */
function sayUnapplied(output: Output, replayed: readonly (readonly [id: string, Compared])[]): void {
  for (const [id, { position, unapplied, unappliedCount }] of replayed) {
    if (unappliedCount === 0) continue
    const where = ` up to position ${position}${replayed.length > 1 ? ` of ${id}` : ''}`
    output.say(`${unappliedText(unappliedCount, unapplied[0], where)}.`)
  }
}

/** The last position that two branches share. */
async function sharedBy({ log, key }: Store, id: string, otherId: string): Promise<number> {
  const [mine, theirs] = await Promise.all([id, otherId].map(async (one) => segmentsOf(one, await log.ancestry(key(one)))))
  const { position } = await headOf({ log, key }, id)
  return Math.min(sharedPosition(mine ?? [], theirs ?? []), position)
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
