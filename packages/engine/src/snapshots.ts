import { type ConversationKey, type EventLog, encodeState, type Head, type Reducer, type Sha256, stateHash } from '@colloquy/core'
import type { ErrorListener } from './guarded-observable.ts'

/**
 * Saves states after the commit, best effort: a snapshot that fails is reported and missed by nobody.
 * Its state hash stays in the log as a witness: `verifyReplay` compares with it.
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

  /** Whether an append that ends at `position` and began after `before` passed a multiple of the interval. */
  isDue(before: number, position: number): boolean {
    return Math.floor(before / this.#every) < Math.floor(position / this.#every)
  }

  /** Saves in the background. */
  saveLater(key: ConversationKey, state: State, head: Head): void {
    const saving = this.save(key, state, head)
      .then(() => undefined)
      .catch((error: unknown) => this.#onError(error, 'snapshot'))
      .finally(() => this.#saving.delete(saving))
    this.#saving.add(saving)
  }

  /** @returns the state hash that was kept */
  async save(key: ConversationKey, state: State, head: Pick<Head, 'position'>): Promise<Uint8Array> {
    const hash = stateHash(state as object, this.#sha256)
    const { stateKey } = this.#reducer
    await this.#log.saveSnapshot(key, { position: head.position, stateKey, stateHash: hash, body: encodeState(state as object) })
    return hash
  }

  async settled(): Promise<void> {
    await Promise.all(this.#saving)
  }
}
