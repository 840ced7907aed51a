import {
  ColloquyError,
  type ConversationKey,
  type EventLog,
  envelopeProblem,
  forkHash,
  genesisHash,
  isColloquyError,
  type Reducer,
  readAction,
  resolverOf,
  type Sha256,
  type StoredEnvelope,
  segmentsOf,
  stateHash,
  toHex,
  type Unapplied,
} from '@colloquy/core'
import type { Seen } from './seen.ts'

/**
 * Whether what is stored is whole: each envelope is bound to the one before, up to the head, and no state was kept behind it. That it is
 * what was appended follows up to `seen` only: who can write into the database can write the chain anew, or cut its tail.
 */
export interface ChainVerdict {
  readonly conversationId: string
  readonly ok: boolean
  /** The position that was told with its hash, when the log has that hash there: up to it the log is as it was seen. */
  readonly seen?: number
  /** Envelopes checked. */
  readonly positions: number
  /** How many bodies are erased: their commitment is checked, their words are gone. */
  readonly erased: number
  /** In hex. */
  readonly headHash: string
  /** The first thing that is wrong. */
  readonly problem?: { readonly position: number; readonly text: string }
}

/**
 * Checks every envelope of a conversation against its hash, its commitment and the one before, and the end against the head and the kept
 * states.
 * @param options.seen what you kept of it outside of the log: a position and its hash, as in `engine.open`. A log that does not hold it is
 * not `ok`
 * @throws `conversation_not_found`
 */
export async function verifyChain(
  log: EventLog,
  key: ConversationKey,
  sha256: Sha256,
  { seen }: { readonly seen?: Seen } = {},
): Promise<ChainVerdict> {
  const { conversationId } = key
  // Before the head: of an append that comes meanwhile the state is kept later.
  const lastKept = (await log.stateHashes(key)).at(-1)?.position ?? 0
  const head = await log.head(key)
  if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
  const segments = segmentsOf(conversationId, await log.ancestry(key))
  let previousHash = genesisHash({ ...key, conversationId: segments[0]?.conversationId ?? conversationId }, sha256)
  let next = 1
  let positions = 0
  let erased = 0
  let wasSeen = false
  const look = (): void => {
    if (positions === seen?.position && toHex(previousHash) === toHex(seen.hash)) wasSeen = true
  }
  /** Where the history goes on in a fork, the chain goes on from the fork's own beginning. */
  const follow = (): void => {
    look()
    for (let segment = segments[next]; segment !== undefined && segment.from === positions + 1; segment = segments[++next]) {
      previousHash = forkHash(previousHash, positions, { ...key, conversationId: segment.conversationId }, sha256)
      look()
    }
  }
  const verdict = (problem?: ChainVerdict['problem']): ChainVerdict => ({
    conversationId,
    ok: problem === undefined,
    positions,
    erased,
    headHash: toHex(head.hash),
    ...(wasSeen && seen && { seen: seen.position }),
    ...(problem && { problem }),
  })
  const broken = (position: number, text: string): ChainVerdict => verdict({ position, text })
  const notAsSeen = (): ChainVerdict | undefined =>
    positions === seen?.position && !wasSeen
      ? broken(
          positions,
          `the hash is ${toHex(previousHash)} here, and ${toHex(seen.hash)} was seen: this or one before was replaced`,
        )
      : undefined
  try {
    for await (const page of readToFirstHole(log, key, head.position)) {
      for (const envelope of page) {
        follow()
        const replaced = notAsSeen()
        if (replaced) return replaced
        const owner = segments[next - 1]?.conversationId
        const problem =
          envelope.conversationId === owner
            ? envelopeProblem(envelope, { position: positions + 1, previousHash }, sha256)
            : `the envelope is of ${envelope.conversationId}, not of ${owner}`
        if (problem !== undefined) return broken(positions + 1, problem)
        positions += 1
        if (envelope.salt === null) erased += 1
        previousHash = envelope.hash
      }
    }
  } catch (error) {
    if (!isColloquyError(error, 'log_corrupt')) throw error
    follow()
    return notAsSeen() ?? broken(error.details.position, error.details.problem)
  }
  follow()
  const replaced = notAsSeen()
  if (replaced) return replaced
  if (positions !== head.position)
    return broken(positions + 1, `the head says ${head.position} envelopes, and the log has ${positions}`)
  if (toHex(previousHash) !== toHex(head.hash)) return broken(positions, 'the last envelope has another hash than the head')
  const ends = `the log ends at position ${positions}`
  if (seen && seen.position > positions) return broken(positions + 1, `${ends}, and position ${seen.position} was seen`)
  if (lastKept > positions) return broken(positions + 1, `${ends}, and a state was kept at position ${lastKept}`)
  return verdict()
}

/** A log gives no page with a hole in it: of one that has, what is before the hole is read by itself. @throws `log_corrupt` behind it */
async function* readToFirstHole(log: EventLog, key: ConversationKey, to: number): AsyncGenerator<readonly StoredEnvelope[]> {
  let next = 1
  try {
    for await (const page of log.read(key, { to })) {
      yield page
      next += page.length
    }
  } catch (error) {
    if (isColloquyError(error, 'log_corrupt') && error.details.position > next)
      yield* log.read(key, { from: next, to: error.details.position - 1 })
    throw error
  }
}

/** Whether a replay leads to the states that were kept. */
export interface ReplayVerdict {
  readonly conversationId: string
  /**
   * 'same': every kept state hash is reached again. 'log_changed': the chain is broken, so the stored actions are not those that were
   * appended. 'code_changed': the chain holds, and the same actions lead to another state than the kept hash says: the code changed, or
   * the hash, which no chain protects. 'nothing_kept': the chain holds and every action was applied, but no state was kept, as of a
   * conversation that is shorter than `snapshotEvery`. 'unproved': the chain holds, and these slices could not apply every action, or
   * cannot be compared with any of the states that were kept: the slices of those who appended may know better.
   */
  readonly verdict: 'same' | 'log_changed' | 'code_changed' | 'nothing_kept' | 'unproved'
  /** Replayed: all, or as far as a changed log can be read. */
  readonly positions: number
  /** Kept state hashes that were compared. None: nothing vouches for the states. */
  readonly compared: number
  /** State hashes that were kept by other slices, or other versions of them: they cannot be compared. */
  readonly keptUnderOtherKeys: number
  /** As of `Replayed`. */
  readonly unappliedCount: number
  readonly firstUnapplied?: Unapplied
  /** Of the state at the end, in hex. */
  readonly stateHash: string
  /** The first kept hash that is not reached again. */
  readonly difference?: { readonly position: number; readonly kept: string; readonly replayed: string }
  readonly chain: ChainVerdict
}

/**
 * Replays action by action and compares with the state hashes that were kept with the snapshots.
 * Hashing after every action costs what the action changed, so the whole costs about one replay.
 * @param onPosition told the state hash at every position
 * @throws `conversation_not_found`, `log_corrupt` where the chain is whole and an action cannot be read
 */
export async function verifyReplay<State>(
  log: EventLog,
  key: ConversationKey,
  reducer: Reducer<State>,
  sha256: Sha256,
  onPosition: (position: number, hash: Uint8Array) => void = () => {},
): Promise<ReplayVerdict> {
  const { conversationId } = key
  const chain = await verifyChain(log, key, sha256)
  const hashes = await log.stateHashes(key)
  const kept = new Map(hashes.filter((s) => s.stateKey === reducer.stateKey).map((s) => [s.position, toHex(s.stateHash)]))
  const resolve = resolverOf(log, key, reducer)
  let state = Object.freeze(reducer.initial())
  let positions = 0
  let compared = 0
  let unappliedCount = 0
  let firstUnapplied: Unapplied | undefined
  const onUnapplied = (unapplied: Unapplied): void => {
    unappliedCount += 1
    firstUnapplied ??= unapplied
  }
  let hash = stateHash(state, sha256)
  let difference: ReplayVerdict['difference']
  try {
    for await (const page of readToFirstHole(log, key, Number.MAX_SAFE_INTEGER)) {
      for (const envelope of page) {
        state = reducer.reduce(state, await readAction(reducer, envelope, resolve), onUnapplied)
        hash = stateHash(state, sha256)
        positions = envelope.position
        onPosition(positions, hash)
        const expected = kept.get(positions)
        if (expected === undefined) continue
        compared += 1
        if (expected !== toHex(hash)) difference ??= { position: positions, kept: expected, replayed: toHex(hash) }
      }
    }
  } catch (error) {
    // What was changed may be unreadable now. Where it was changed, the chain says.
    if (chain.ok || !isColloquyError(error, 'log_corrupt')) throw error
  }
  const isUnproved = unappliedCount > 0 || compared < kept.size || (compared === 0 && hashes.length > 0)
  const proof = isUnproved ? 'unproved' : compared > 0 ? 'same' : 'nothing_kept'
  return {
    conversationId,
    verdict: !chain.ok ? 'log_changed' : difference ? 'code_changed' : proof,
    positions,
    compared,
    keptUnderOtherKeys: hashes.length - kept.size,
    unappliedCount,
    ...(firstUnapplied && { firstUnapplied }),
    stateHash: toHex(hash),
    ...(difference && { difference }),
    chain,
  }
}
