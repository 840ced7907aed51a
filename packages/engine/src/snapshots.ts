import {
  type ConversationKey,
  type EventLog,
  encodeState,
  type OpenedEnvelope,
  type Reducer,
  type Sha256,
  stateHash,
} from '@colloquy/core'
import type { ErrorListener } from './guarded-observable.ts'

/**
 * When a conversation's state is saved.
 *
 * A state hash is kept every so many envelopes: hashing costs what has changed. The state itself is written only when the log has
 * grown by as many bytes as the last one had, so that writing states costs no more than writing envelopes, however large the state
 * is, and a load reads at most about twice the bytes of a state.
 */
export class SnapshotPlan {
  readonly #every: number
  #bytesSinceState = 0
  #stateBytes = 0

  constructor(every: number) {
    this.#every = every
  }

  /** Counts what was appended. @returns what is due now */
  next(envelopes: readonly { readonly position: number; readonly body: Uint8Array }[]): 'nothing' | 'hash' | 'state' {
    for (const { body } of envelopes) this.#bytesSinceState += body.length
    const last = envelopes.at(-1)?.position ?? 0
    const before = (envelopes[0]?.position ?? 1) - 1
    if (Math.floor(before / this.#every) === Math.floor(last / this.#every)) return 'nothing'
    return this.#bytesSinceState >= this.#stateBytes ? 'state' : 'hash'
  }

  /** The state was written. */
  saved(stateBytes: number): void {
    this.#stateBytes = stateBytes
    this.#bytesSinceState = 0
  }
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
  readonly #onError: ErrorListener
  readonly #saving = new Set<Promise<void>>()

  constructor(ports: { log: EventLog; reducer: Reducer<State>; sha256: Sha256; every: number; onError: ErrorListener }) {
    this.#log = ports.log
    this.#reducer = ports.reducer
    this.#sha256 = ports.sha256
    this.#every = ports.every
    this.#onError = ports.onError
  }

  plan(): SnapshotPlan {
    return new SnapshotPlan(this.#every)
  }

  /** Saves in the background what is due after these envelopes. */
  follow(plan: SnapshotPlan, key: ConversationKey, state: State, envelopes: readonly OpenedEnvelope[]): void {
    const due = plan.next(envelopes)
    const last = envelopes.at(-1)
    if (due === 'nothing' || last === undefined) return
    const saving = this.#save(key, state, last.position, due === 'state' ? plan : undefined)
      .then(() => undefined)
      .catch((error: unknown) => this.#onError(error, 'snapshot'))
      .finally(() => this.#saving.delete(saving))
    this.#saving.add(saving)
  }

  /** Saves the state now. @returns its hash */
  save(key: ConversationKey, state: State, position: number): Promise<Uint8Array> {
    return this.#save(key, state, position, this.plan())
  }

  /** Saves what a fork begins with, best effort: it can be replayed. */
  async fork(key: ConversationKey, state: State, position: number): Promise<void> {
    await this.save(key, state, position).catch((error: unknown) => this.#onError(error, 'snapshot'))
  }

  /** Saves the hash only. */
  saveHash(key: ConversationKey, state: State, position: number): Promise<Uint8Array> {
    return this.#save(key, state, position, undefined)
  }

  async #save(key: ConversationKey, state: State, position: number, plan: SnapshotPlan | undefined): Promise<Uint8Array> {
    const hash = stateHash(state as object, this.#sha256)
    const body = plan ? encodeState(state as object) : null
    if (body) plan?.saved(body.length)
    await this.#log.saveSnapshot(key, { position, stateKey: this.#reducer.stateKey, stateHash: hash, body })
    return hash
  }

  async settled(): Promise<void> {
    await Promise.all(this.#saving)
  }
}
