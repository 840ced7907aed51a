import {
  ColloquyError,
  type ConversationState,
  type OpenedEnvelope,
  openEnvelope,
  readAction,
  resolverOf,
  startFold,
  stateHash,
  toHex,
} from '@colloquy/core'
import { type ReplayVerdict, sha256, verifyReplay } from '@colloquy/engine'
import { formatIsoTime } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { describeAction } from '../describe-action.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'
import { writeFacts } from '../show-state.ts'
import { headOf, openStore, type Store } from '../store.ts'
import { parsePosition, timeColumn } from '../times.ts'
import { countText, firstText, unappliedText } from '../unapplied-text.ts'

export interface ReplayOptions {
  readonly to?: string
  readonly verify?: boolean
}

interface Replayed extends OpenedEnvelope {
  /** With `--verify`, in hex. */
  readonly stateHash?: string
}

/** Replays a conversation action by action, and with `--verify` proves that it leads to the states that it led to. */
export async function replay(context: Context, id: string, options: ReplayOptions): Promise<ExitCode> {
  const to = options.to === undefined ? undefined : parsePosition('--to', options.to)
  await using store = await openStore(context)
  const head = await headOf(store, id)
  if (to !== undefined && (to < 1 || to > head.position)) {
    throw new ColloquyError('position_not_found', { conversationId: id, position: to, headPosition: head.position })
  }
  return options.verify
    ? await replayAndVerify(context, store, id, head.position, to ?? head.position)
    : await replayOnly(context, store, id, to ?? head.position)
}

async function replayOnly({ output }: Context, store: Store, id: string, to: number): Promise<ExitCode> {
  const fold = startFold<ConversationState>(store.engine.reducer)
  await output.list(listing(false), replayed(store, id, to, fold))
  const { state, unapplied, unappliedCount } = fold.finish()
  output.say(`Replayed ${to} positions; state hash ${toHex(stateHash(state, sha256))}.`)
  if (unappliedCount > 0) output.say(`${unappliedText(unappliedCount, unapplied[0])}.`)
  output.next(['replay', id, '--verify'], ['show', id, '--at', Math.ceil(to / 2)])
  return exitCodes.ok
}

async function* replayed(
  store: Store,
  id: string,
  to: number,
  fold: ReturnType<typeof startFold<ConversationState>>,
): AsyncIterable<Replayed[]> {
  const { log, engine, key } = store
  const resolve = resolverOf(log, key(id), engine.reducer)
  for await (const page of log.read(key(id), { to })) {
    for (const envelope of page) fold.apply(await readAction(engine.reducer, envelope, resolve))
    yield page.map(openEnvelope)
  }
}

async function replayAndVerify(context: Context, store: Store, id: string, head: number, to: number): Promise<ExitCode> {
  const { output } = context
  const hashes: string[] = []
  const verdict = await verifyWithProgress(store, id, head, hashes)
  const rows = hashed(store, id, Math.min(to, verdict.positions), hashes)
  if (output.json) {
    const envelopes: object[] = []
    for await (const page of rows) envelopes.push(...page.map(listing(true).json))
    const { conversationId, ...rest } = verdict
    await output.document({ id: conversationId, ...rest, envelopes })
  } else {
    await output.list(listing(true), rows)
    if (output.isTerminal) await output.write('\n')
    await writeFacts(output, verdictFacts(verdict))
  }
  const { chain, difference, firstUnapplied } = verdict
  const oddPosition = chain.problem?.position ?? difference?.position ?? firstUnapplied?.position
  if (oddPosition === undefined) output.next(['verify', id], ['export', id, '--format', 'markdown'])
  else output.next(['verify', id], ['show', id, '--at', Math.min(oddPosition, head)])
  return verdictExits[verdict.verdict]
}

/** Where nothing was kept nothing is wrong, as with every short conversation; where these slices do not know enough, that must not pass. */
const verdictExits: Readonly<Record<ReplayVerdict['verdict'], ExitCode>> = {
  same: exitCodes.ok,
  nothing_kept: exitCodes.ok,
  log_changed: exitCodes.verificationFailed,
  code_changed: exitCodes.verificationFailed,
  unproved: exitCodes.notProved,
}

/** The log is read twice: once for the chain, once for the states. */
async function verifyWithProgress(store: Store, id: string, head: number, hashes: string[]): Promise<ReplayVerdict> {
  using _progress = store.progress('Verifying', head * 2)
  return await verifyReplay(store.log, store.key(id), store.engine.reducer, sha256, (position, hash) => {
    hashes[position] = toHex(hash)
  })
}

async function* hashed({ log, key }: Store, id: string, to: number, hashes: readonly string[]): AsyncIterable<Replayed[]> {
  for await (const page of log.read(key(id), { to })) {
    yield page.map((envelope) => ({ ...openEnvelope(envelope), stateHash: hashes[envelope.position] ?? '' }))
  }
}

/** The verdict in words. */
function verdictFacts({
  verdict,
  positions,
  compared,
  keptUnderOtherKeys,
  unappliedCount,
  firstUnapplied,
  stateHash: hash,
  difference,
  chain,
}: ReplayVerdict): (readonly [string, string])[] {
  const words: Readonly<Record<ReplayVerdict['verdict'], string>> = {
    same: `same: every kept state hash (${compared}) is reached again`,
    log_changed: 'log_changed: the stored actions are not those that were appended',
    code_changed:
      'code_changed: the log is whole, but its actions lead to another state than was kept: the code changed, or what was kept',
    nothing_kept:
      'nothing_kept: the log is whole and every action was applied; no state hash was kept, so there is nothing to compare with',
    unproved:
      'unproved: the log is whole, but the slices of this command do not know all that is in it: replay it with those that wrote it',
  }
  return [
    ['verdict', words[verdict]],
    ['positions', String(positions)],
    ['state hash', hash],
    ...(unappliedCount > 0
      ? ([['not applied', `${countText(unappliedCount)}, the first is ${firstText(firstUnapplied)}`]] as const)
      : []),
    ...(keptUnderOtherKeys > 0
      ? ([
          [
            'not compared',
            `${keptUnderOtherKeys} state ${keptUnderOtherKeys === 1 ? 'hash' : 'hashes'}, kept by other slices or versions`,
          ],
        ] as const)
      : []),
    ...(chain.problem ? ([['broken at', `position ${chain.problem.position}: ${chain.problem.text}`]] as const) : []),
    ...(difference
      ? ([['differs at', `position ${difference.position}: kept ${difference.kept}, replayed ${difference.replayed}`]] as const)
      : []),
  ]
}

function listing(isVerified: boolean): Listing<Replayed> {
  return {
    columns: [
      { title: 'POSITION', value: ({ position }) => position, align: 'right' },
      timeColumn,
      { title: 'ACTION', value: ({ type }) => type, style: ({ type }) => (isTrouble(type) ? 'red' : 'cyan') },
      ...(isVerified
        ? [
            {
              title: 'STATE HASH',
              value: ({ stateHash }: Replayed) => stateHash ?? '',
              shown: ({ stateHash }: Replayed) => stateHash?.slice(0, 12) ?? '',
            },
          ]
        : []),
      { title: 'SUMMARY', value: ({ action }) => describeAction(action), isRest: true },
    ],
    json: ({ position, occurredAt, type, actor, cause, commandId, action, stateHash }) => ({
      id: position,
      position,
      occurredAt: formatIsoTime(occurredAt),
      type,
      actor,
      cause,
      commandId,
      summary: describeAction(action),
      ...(stateHash !== undefined && { stateHash }),
    }),
  }
}

const isTrouble = (type: string) => /Failed|Refused|Interrupted|errorRecorded|degraded|circuitOpened/.test(type)
