import {
  ColloquyError,
  type ConversationKey,
  decodeState,
  type EventLog,
  encodeState,
  freezeState,
  type OpenedEnvelope,
  type Reducer,
  replay,
  resolverOf,
  type Sha256,
  type Snapshot,
  stateHash,
  toHex,
  Vector,
} from '@colloquy/core'
import type { ErrorListener } from './guarded-observable.ts'
import type { Loaded } from './load.ts'

/** Reading a state back costs what reading as many bytes of envelopes costs: one that saves less than half of them is not worth its room. */
const isWorth = (stateBytes: number, loadBytes: number): boolean => stateBytes * 2 <= loadBytes

/**
 * When a conversation's state is saved.
 *
 * A state hash is kept every so many envelopes: hashing costs what has changed. The state itself is written only where a load reads at
 * most half as much with it. While a conversation only grows its state is about as large as its log, and no state is written at all;
 * after a compaction one is. To know that, the state must be encoded, which costs all of it: so that is tried only when a load has
 * become twice as long since the last time, or when the lists of the state have become half as long.
 */
export class SnapshotPlan {
  readonly #every: number
  /** What a load reads at present: the youngest state, and the bodies since. */
  #loadBytes: number
  #triedAtBytes = 0
  #triedAtItems = 0

  constructor(every: number, loadBytes = 0) {
    this.#every = every
    this.#loadBytes = loadBytes
  }

  /** Counts what was appended. @returns what is due now; 'state': if `isWorth` says so */
  next(
    envelopes: readonly { readonly position: number; readonly body: Uint8Array }[],
    state: object,
  ): 'nothing' | 'hash' | 'state' {
    for (const { body } of envelopes) this.#loadBytes += body.length
    const last = envelopes.at(-1)?.position ?? 0
    const before = (envelopes[0]?.position ?? 1) - 1
    if (Math.floor(before / this.#every) === Math.floor(last / this.#every)) return 'nothing'
    const items = itemsIn(state)
    if (this.#loadBytes < this.#triedAtBytes * 2 && items * 2 > this.#triedAtItems) return 'hash'
    this.#triedAtBytes = this.#loadBytes
    this.#triedAtItems = items
    return 'state'
  }

  isWorth(stateBytes: number): boolean {
    return isWorth(stateBytes, this.#loadBytes)
  }

  /** The state is written. */
  saved(stateBytes: number): void {
    this.#loadBytes = stateBytes
    this.#triedAtBytes = stateBytes
  }
}

/** Elements of all vectors: what grows in a state, counted without looking at it. */
function itemsIn(value: unknown): number {
  if (Vector.isVector(value)) return value.length
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 0
  return Object.values(value).reduce<number>((sum, child) => sum + itemsIn(child), 0)
}

/**
 * Saves states and their hashes after the commit, best effort: a snapshot that fails is reported and missed by nobody.
 * The hashes stay in the log as witnesses: `verifyReplay` compares with them.
 */
export class Snapshots<State> {
  readonly #log: EventLog
  readonly #reducer: Reducer<State>
  readonly #sha256: Sha256
  readonly #every: number
  readonly #verifyEvery: number
  readonly #onError: ErrorListener
  readonly #underWay = new Set<Promise<void>>()
  #loads = 0

  constructor(ports: {
    log: EventLog
    reducer: Reducer<State>
    sha256: Sha256
    every: number
    verifyEvery: number
    onError: ErrorListener
  }) {
    this.#log = ports.log
    this.#reducer = ports.reducer
    this.#sha256 = ports.sha256
    this.#every = ports.every
    this.#verifyEvery = ports.verifyEvery
    this.#onError = ports.onError
  }

  /** The plan of a conversation that took a load so many bytes. */
  plan(loadBytes = 0): SnapshotPlan {
    return new SnapshotPlan(this.#every, loadBytes)
  }

  /** Saves in the background what is due after these envelopes. */
  follow(plan: SnapshotPlan, key: ConversationKey, state: State, envelopes: readonly OpenedEnvelope[]): void {
    const due = plan.next(envelopes, state as object)
    const last = envelopes.at(-1)
    if (due === 'nothing' || last === undefined) return
    this.#inBackground(async () => {
      // Hashed first: that says of a state which no snapshot could keep what is wrong with it.
      const hash = stateHash(state as object, this.#sha256)
      const encoded = due === 'state' ? encodeState(state as object) : null
      const body = encoded && plan.isWorth(encoded.length) ? encoded : null
      if (body) plan.saved(body.length)
      await this.#save(key, { position: last.position, hash, body })
    })
  }

  /** Saves the state, where a load that would read `loadBytes` is shorter with it, and its hash in any case. @returns the hash */
  async save(key: ConversationKey, state: State, position: number, loadBytes: number): Promise<Uint8Array> {
    const hash = stateHash(state as object, this.#sha256)
    const body = encodeState(state as object)
    return this.#save(key, { position, hash, body: isWorth(body.length, loadBytes) ? body : null })
  }

  /** Saves what a fork begins with, best effort: it can be replayed. What its parent's state was worth, its own is too. */
  async fork(key: ConversationKey, { state, snapshot, readBytes }: Loaded<State>, position: number): Promise<void> {
    const saving = this.save(key, state, position, snapshot ? Infinity : readBytes)
    await saving.catch((error: unknown) => this.#onError(error, 'snapshot'))
  }

  /** Saves the hash only. */
  async saveHash(key: ConversationKey, state: State, position: number): Promise<Uint8Array> {
    return this.#save(key, { position, hash: stateHash(state as object, this.#sha256), body: null })
  }

  /** The saved state, frozen, if it is the one that was saved. Otherwise that is reported, and nobody uses it again. */
  open(key: ConversationKey, snapshot: Snapshot): State | undefined {
    try {
      if (snapshot.body === null) return undefined
      const state = freezeState(decodeState(snapshot.body)) as State
      if (this.#hasHash(state, snapshot)) return state
      this.#reject(key, snapshot, 'the state in it is not the one whose hash was kept')
    } catch (error) {
      this.#reject(key, snapshot, 'the state in it cannot be read', error)
    }
    return undefined
  }

  /**
   * After a load from a snapshot: one in so many is compared in the background with a replay of the whole log up to it.
   * @param onDifference the state that was loaded is wrong
   */
  verifySome(key: ConversationKey, snapshot: Snapshot, onDifference: () => void): void {
    this.#loads += 1
    if (this.#loads % this.#verifyEvery !== 0) return
    this.#inBackground(async () => {
      const resolve = resolverOf(this.#log, key, this.#reducer)
      const { state } = await replay(this.#reducer, this.#log.actions(key, { from: 1, to: snapshot.position }), { resolve })
      if (this.#hasHash(state, snapshot)) return
      onDifference()
      this.#reject(key, snapshot, 'replaying the log leads to another state')
    })
  }

  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  #hasHash(state: State, { stateHash: kept }: Snapshot): boolean {
    return toHex(stateHash(state as object, this.#sha256)) === toHex(kept)
  }

  #reject(key: ConversationKey, { position, stateKey }: Snapshot, problem: string, cause?: unknown): void {
    const { conversationId } = key
    this.#onError(new ColloquyError('snapshot_differs', { conversationId, position, problem }, { cause }), 'snapshot')
    this.#inBackground(() => this.#log.dropSnapshot(key, { position, stateKey }))
  }

  async #save(
    key: ConversationKey,
    { position, hash, body }: { readonly position: number; readonly hash: Uint8Array; readonly body: Uint8Array | null },
  ): Promise<Uint8Array> {
    await this.#log.saveSnapshot(key, { position, stateKey: this.#reducer.stateKey, stateHash: hash, body })
    return hash
  }

  #inBackground(work: () => Promise<unknown>): void {
    const working = work()
      .then(() => undefined)
      .catch((error: unknown) => this.#onError(error, 'snapshot'))
      .finally(() => this.#underWay.delete(working))
    this.#underWay.add(working)
  }
}
