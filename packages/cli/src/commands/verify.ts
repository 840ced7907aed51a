import { ColloquyError, isColloquyError, toHex } from '@colloquy/core'
import { type ChainVerdict, type FeedHole, findFeedHoles, type Seen, sha256, verifyChain } from '@colloquy/engine'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes, failureText } from '../exit.ts'
import { readExportedHashes } from '../exported-hashes.ts'
import type { Listing } from '../output.ts'
import { headOf, isThere, openStore, placeName, type Store } from '../store.ts'

export interface VerifyOptions {
  readonly all?: boolean
  readonly seen?: string
  /** An export. */
  readonly against?: string
}

const pageSize = 100

/**
 * Checks that one conversation is whole, and up to what was seen of it the same; or that all of a tenant are, and the feed, where a cut
 * tail leaves a hole.
 */
export async function verify(context: Context, id: string | undefined, options: VerifyOptions): Promise<ExitCode> {
  if (id !== undefined && options.all) throw usage('Give an id or --all, not both')
  for (const name of ['seen', 'against'] as const)
    if (id === undefined && options[name] !== undefined) throw usage(`--${name} is about one conversation: give its id`)
  const held = await heldBy(options)
  await using store = await openStore(context)
  return id === undefined ? await verifyAll(context, store) : await verifyOne(context, store, id, held)
}

/** What somebody kept outside of the store. */
interface Held {
  readonly seen?: Seen
  /** Of an export: the hashes from position 1 on. The last one, which is bound to all before it, is `seen`. */
  readonly export?: { readonly file: string; readonly hashes: readonly string[] }
}

/** @throws `usage_invalid` */
async function heldBy({ seen, against: file }: VerifyOptions): Promise<Held> {
  if (seen !== undefined) return { seen: parseSeen(seen) }
  if (file === undefined) return {}
  const hashes = await readExportedHashes(file)
  return { seen: { position: hashes.length, hash: Buffer.from(hashes.at(-1) as string, 'hex') }, export: { file, hashes } }
}

/** Undefined where all that can be read is as it was. */
async function firstDifference({ log, key }: Store, id: string, hashes: readonly string[]): Promise<number | undefined> {
  let positions = 0
  try {
    for await (const page of log.read(key(id), { to: hashes.length })) {
      for (const { position, hash } of page) {
        if (toHex(hash) !== hashes[position - 1]) return position
        positions = position
      }
    }
  } catch (error) {
    // A hole: what is before it in its page was not given, and verify has named it.
    if (isColloquyError(error, 'log_corrupt')) return undefined
    throw error
  }
  return positions < hashes.length ? positions + 1 : undefined
}

async function verifyOne({ output }: Context, store: Store, id: string, held: Held): Promise<ExitCode> {
  const { seen } = held
  const verdict = await verdictOn(store, id, seen)
  await output.list(listing, [[verdict]])
  if (!verdict.ok) {
    const different = held.export && (await firstDifference(store, id, held.export.hashes))
    if (different !== undefined)
      output.say(`The first envelope that is not as in ${held.export?.file} is at position ${different}.`)
    output.say(`${id} is not whole${seen ? ', or not as it was seen' : ''}. Restore it from a copy that passes.`)
    output.next(['replay', id, '--verify'])
    return exitCodes.verificationFailed
  }
  output.say(`${id} is whole${seen ? `, and up to position ${seen.position} as it was seen` : ''}.`)
  output.say(
    `Keep ${verdict.positions}:${verdict.headHash} outside of this store: --seen tells by it whether anything up to there was changed.`,
  )
  output.next(['replay', id, '--verify'])
  return exitCodes.ok
}

async function verifyAll(context: Context, store: Store): Promise<ExitCode> {
  const { output } = context
  // A check of a store that is not there must not pass.
  if (!isThere(store.place)) throw new ColloquyError('store_missing', { directory: placeName(store.place) })
  const broken: ChainVerdict[] = []
  const count = await output.list(listing, verdicts(store, broken))
  const holes = await feedHoles(context, store)
  for (const hole of holes ?? []) {
    const style = { json: output.json, debug: context.options.debug ?? false }
    context.io.stderr.write(`${failureText(new ColloquyError('feed_hole', hole), style)}\n`)
  }
  if (broken.length > 0) {
    output.say(`${broken.length} of ${count} conversations are not whole. Restore them from a copy that passes.`)
    output.next(...broken.slice(0, 1).map(({ conversationId }) => ['replay', conversationId, '--verify']))
  }
  if (holes?.length) output.say(`${holes.length} of ${store.log.partitions} partitions of the feed have holes.`)
  if (broken.length > 0 || holes?.length) return exitCodes.verificationFailed
  output.say(`${count} ${count === 1 ? 'conversation is' : 'conversations are'} whole${holes ? ', and so is the feed' : ''}.`)
  output.next(['list'])
  return exitCodes.ok
}

/** Undefined for a role that does not see the whole feed. */
async function feedHoles({ output }: Context, store: Store): Promise<readonly FeedHole[] | undefined> {
  const total = (await store.log.feedHeads()).reduce((sum, end) => sum + end, 0)
  using _progress = store.progress('Looking for holes in the feed', total)
  try {
    return await findFeedHoles(store.log)
  } catch (error) {
    if (!isColloquyError(error, 'tenant_missing')) throw error
    output.say(`The feed was not looked at for holes: ${error.message}`)
    return undefined
  }
}

/** As `verify` prints it, and `export --format jsonl` has it in each line: a position and 64 hexadecimal digits. @throws `usage_invalid` */
function parseSeen(text: string): Seen {
  const [, position, hash] = /^([1-9]\d{0,14}):([\da-f]{64})$/i.exec(text) ?? []
  if (position === undefined || hash === undefined) {
    throw usage(`--seen takes a position and the whole hash of its envelope, such as 72:1f0c... with 64 digits, not "${text}"`)
  }
  return { position: Number(position), hash: Buffer.from(hash, 'hex') }
}

async function* ids({ log, tenant }: Store): AsyncIterable<string> {
  for (let after: string | undefined; ; ) {
    const page = await log.conversations({ tenant, limit: pageSize, ...(after !== undefined && { after }) })
    for (const { conversationId } of page) yield conversationId
    after = page.at(-1)?.conversationId
    if (page.length < pageSize) return
  }
}

async function* verdicts(store: Store, broken: ChainVerdict[]): AsyncIterable<ChainVerdict[]> {
  for await (const id of ids(store)) {
    const verdict = await verdictOn(store, id)
    if (!verdict.ok) broken.push(verdict)
    yield [verdict]
  }
}

async function verdictOn(store: Store, id: string, seen?: Seen): Promise<ChainVerdict> {
  const { position } = await headOf(store, id)
  using _progress = store.progress(`Verifying ${id}`, position)
  return await verifyChain(store.log, store.key(id), sha256, { ...(seen && { seen }) })
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
  json: ({ conversationId, ok, positions, erased, headHash, seen, problem }) => ({
    id: conversationId,
    ok,
    positions,
    erased,
    headHash,
    seen: seen ?? null,
    problem: problem ?? null,
  }),
}

const usage = (problem: string) => new ColloquyError('usage_invalid', { problem })
