import { ColloquyError } from '@colloquy/core'
import { type ChainVerdict, sha256, verifyChain } from '@colloquy/engine'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'
import { headOf, isThere, openStore, placeName, type Store } from '../store.ts'

export interface VerifyOptions {
  readonly all?: boolean
}

const pageSize = 100

/** Checks the hash chain of one conversation, or of all. */
export async function verify(context: Context, id: string | undefined, options: VerifyOptions): Promise<ExitCode> {
  const { output } = context
  if (id !== undefined && options.all) throw new ColloquyError('usage_invalid', { problem: 'Give an id or --all, not both' })
  await using store = await openStore(context)
  // A check of a store that is not there must not pass.
  if (id === undefined && !isThere(store.place)) {
    throw new ColloquyError('store_missing', { directory: placeName(store.place) })
  }
  const broken: ChainVerdict[] = []
  const count = await output.list(listing, verdicts(store, id === undefined ? ids(store) : [id], broken))
  if (broken.length > 0) {
    output.say(`${broken.length} of ${count} conversations are not as they were appended. Restore them from a copy that passes.`)
    output.next(...broken.slice(0, 1).map(({ conversationId }) => ['replay', conversationId, '--verify']))
    return exitCodes.verificationFailed
  }
  output.say(`${count} ${count === 1 ? 'conversation is' : 'conversations are'} as appended.`)
  output.next(id === undefined ? ['list'] : ['replay', id, '--verify'])
  return exitCodes.ok
}

async function* ids({ log, tenant }: Store): AsyncIterable<string> {
  for (let after: string | undefined; ; ) {
    const page = await log.conversations({ tenant, limit: pageSize, ...(after !== undefined && { after }) })
    for (const { conversationId } of page) yield conversationId
    after = page.at(-1)?.conversationId
    if (page.length < pageSize) return
  }
}

async function* verdicts(
  store: Store,
  ids: AsyncIterable<string> | Iterable<string>,
  broken: ChainVerdict[],
): AsyncIterable<ChainVerdict[]> {
  for await (const id of ids) {
    const verdict = await verdictOn(store, id)
    if (!verdict.ok) broken.push(verdict)
    yield [verdict]
  }
}

async function verdictOn(store: Store, id: string): Promise<ChainVerdict> {
  const { position } = await headOf(store, id)
  using _progress = store.progress(`Verifying ${id}`, position)
  return await verifyChain(store.log, store.key(id), sha256)
}

const listing: Listing<ChainVerdict> = {
  columns: [
    { title: 'ID', value: ({ conversationId }) => conversationId },
    { title: 'CHAIN', value: ({ ok }) => (ok ? 'whole' : 'broken'), style: ({ ok }) => (ok ? 'green' : 'red') },
    { title: 'POSITIONS', value: ({ positions }) => positions, align: 'right' },
    { title: 'ERASED', value: ({ erased }) => erased, align: 'right' },
    { title: 'HEAD HASH', value: ({ headHash }) => headHash, shown: ({ headHash }) => headHash.slice(0, 16) },
    { title: 'PROBLEM', value: ({ problem }) => (problem ? `position ${problem.position}: ${problem.text}` : '') },
  ],
  json: ({ conversationId, ok, positions, erased, headHash, problem }) => ({
    id: conversationId,
    ok,
    positions,
    erased,
    headHash,
    problem: problem ?? null,
  }),
}
