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
} from '@colloquy/core'

/** Whether what is stored is what was appended. */
export interface ChainVerdict {
  readonly conversationId: string
  readonly ok: boolean
  /** Envelopes checked. */
  readonly positions: number
  /** How many bodies are erased: their commitment is checked, their words are gone. */
  readonly erased: number
  /** In hex. */
  readonly headHash: string
  /** The first thing that is wrong. */
  readonly problem?: { readonly position: number; readonly text: string }
}

/** Checks every envelope of a conversation against its hash, its commitment and the one before. @throws `conversation_not_found` */
export async function verifyChain(log: EventLog, key: ConversationKey, sha256: Sha256): Promise<ChainVerdict> {
  const { conversationId } = key
  const head = await log.head(key)
  if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
  const segments = segmentsOf(conversationId, await log.ancestry(key))
  let previousHash = genesisHash({ ...key, conversationId: segments[0]?.conversationId ?? conversationId }, sha256)
  let next = 1
  /** Where the history goes on in a fork, the chain goes on from the fork's own beginning. */
  const follow = (position: number): void => {
    for (let segment = segments[next]; segment !== undefined && segment.from === position; segment = segments[++next]) {
      previousHash = forkHash(previousHash, position - 1, { ...key, conversationId: segment.conversationId }, sha256)
    }
  }
  let positions = 0
  let erased = 0
  const broken = (position: number, text: string): ChainVerdict => ({
    conversationId,
    ok: false,
    positions,
    erased,
    headHash: toHex(head.hash),
    problem: { position, text },
  })
  try {
    for await (const page of readToFirstHole(log, key, head.position)) {
      for (const envelope of page) {
        follow(positions + 1)
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
    return broken(error.details.position, error.details.problem)
  }
  follow(positions + 1)
  if (positions !== head.position)
    return broken(positions + 1, `the head says ${head.position} envelopes, and the log has ${positions}`)
  if (toHex(previousHash) !== toHex(head.hash)) return broken(positions, 'the last envelope has another hash than the head')
  return { conversationId, ok: true, positions, erased, headHash: toHex(head.hash) }
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
   * the hash, which no chain protects.
   */
  readonly verdict: 'same' | 'log_changed' | 'code_changed'
  /** Replayed: all, or as far as a changed log can be read. */
  readonly positions: number
  /** Kept state hashes that were compared. None: nothing vouches for the states. */
  readonly compared: number
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
  const kept = new Map((await log.stateHashes(key, reducer.stateKey)).map((s) => [s.position, toHex(s.stateHash)]))
  const resolve = resolverOf(log, key, reducer)
  let state = Object.freeze(reducer.initial())
  let positions = 0
  let compared = 0
  let hash = stateHash(state, sha256)
  let difference: ReplayVerdict['difference']
  try {
    for await (const page of readToFirstHole(log, key, Number.MAX_SAFE_INTEGER)) {
      for (const envelope of page) {
        state = reducer.reduce(state, await readAction(reducer, envelope, resolve), () => {})
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
  const verdict = !chain.ok ? 'log_changed' : difference ? 'code_changed' : 'same'
  return { conversationId, verdict, positions, compared, stateHash: toHex(hash), chain, ...(difference && { difference }) }
}
