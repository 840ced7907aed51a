/** One partition of a subscription, while this process holds its lease: read a page, handle it, move the checkpoint. */
import { setImmediate, setTimeout } from 'node:timers/promises'
import { isColloquyError, openEnvelope, readFeedPage, type StoredEnvelope } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { PostgresLog } from '../postgres-log.ts'
import type { Database } from '../schema/database.ts'
import { type Lease, lockCheckpoint, moveCheckpoint, noteProblem, readPosition } from './checkpoints.ts'
import { park } from './dead-letters.ts'
import { HandlerFailed, handled, handleInTransaction, type InTransaction } from './handler-failures.ts'
import type { Handling, HandlingPolicy } from './handling.ts'
import type { Permits } from './permits.ts'
import { problemText } from './problem-text.ts'
import type { Troubles } from './troubles.ts'

const longestPauseMs = 30_000

export interface ReaderPorts {
  readonly log: PostgresLog
  readonly inTransaction: InTransaction
  readonly handling: Handling
  readonly policy: HandlingPolicy
  readonly permits: Permits
  readonly troubles: Troubles
  /** The end of a partition, as far as it is known. */
  readonly headOf: (partition: number) => number
  readonly onMoved: () => void
  readonly onError: (error: unknown, where: string) => void
}

export class PartitionReader {
  readonly lease: Lease
  /** Ends by itself when the lease was taken over or the log is closed. */
  readonly done: Promise<void>
  readonly #ports: ReaderPorts
  readonly #stop = new AbortController()
  readonly #where: string
  #position: number
  /** By `Date.now()`, which goes on while a machine sleeps. */
  #heldUntil: number
  /** Up to there envelopes are handled one by one: a page of them failed, and only the one to blame is to be tried again. */
  #singlyUntil = 0
  /** Of the envelope that comes next. */
  #tries = 0
  #problem: string | null = null
  #hasGrown = false
  #wake = () => {}

  constructor(lease: Lease, { position, heldUntil }: { position: number; heldUntil: number }, ports: ReaderPorts) {
    this.lease = lease
    this.#position = position
    this.#heldUntil = heldUntil
    this.#ports = ports
    this.#where = `subscription ${lease.name}, partition ${lease.partition}`
    this.done = this.#run()
  }

  /** The feed position that is dealt with, and checkpointed. */
  get position(): number {
    return this.#position
  }

  get isStopping(): boolean {
    return this.#stop.signal.aborted
  }

  /** What failed and is tried again, or makes it stand still; null: it goes on. */
  get problem(): string | null {
    return this.#problem
  }

  /** There may be more to read. */
  wake(): void {
    this.#hasGrown = true
    this.#wake()
  }

  /** Nobody else can have the lease before. */
  holdUntil(time: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, time)
  }

  /** Finishes the page that is under way. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.wake()
    await this.done
  }

  async #run(): Promise<void> {
    const { log, permits, policy, troubles } = this.#ports
    let failures = 0
    while (!this.isStopping) {
      try {
        // Before it reads: what grows meanwhile is looked for again.
        this.#hasGrown = false
        const next = await permits.with(async () => (this.isStopping ? 'go on' : this.#step()))
        failures = 0
        troubles.recovered(this)
        // An embedded database answers without leaving the turn of the event loop; catching up would let nothing else have one.
        await setImmediate()
        if (next === 'wait for growth') await this.#untilGrown()
        else if (next === 'stand still') await this.#untilStopped()
        else if (next === 'try again') await this.#pause(policy.retryMs, this.#tries)
      } catch (error) {
        if (error instanceof LeaseLost || isColloquyError(error, 'log_closed')) break
        failures += 1
        this.#problem = problemText(error)
        troubles.met(this, error, `${this.#where} (it tries again)`)
        await this.#pause(100, failures)
        // The answer to a checkpoint may be what was lost.
        const position = await readPosition(log.kysely, this.lease).catch(() => this.#position)
        if (position === undefined) break
        if (position !== this.#position) this.#movedTo(position)
      }
    }
    troubles.recovered(this)
  }

  /** Deals with one page. @returns what is to be done before the next one */
  async #step(): Promise<'go on' | 'wait for growth' | 'try again' | 'stand still'> {
    const { log, policy, headOf } = this.#ports
    const { partition } = this.lease
    const limit = this.#position < this.#singlyUntil ? 1 : policy.limit
    const query = { ...policy.filter, partition, after: this.#position, limit }
    const page = await readFeedPage(log, query, headOf(partition)).catch((error: unknown) => {
      if (!isColloquyError(error, 'feed_hole')) throw error
      return error
    })
    if (page instanceof Error) return this.#standStill(page)
    const { envelopes, scannedTo } = page
    if (scannedTo === this.#position) {
      this.#problem = null
      return 'wait for growth'
    }
    const failure = await this.#deliver(envelopes, scannedTo)
    if (failure === undefined) return 'go on'
    if (envelopes.length > 1) {
      this.#singlyUntil = scannedTo
      return 'go on'
    }
    this.#tries += 1
    this.#problem = problemText(failure.cause)
    if (this.#tries < policy.tries) return 'try again'
    if (policy.onPoison === 'stop') return this.#standStill(failure.cause)
    await this.#park(envelopes[0] as StoredEnvelope, scannedTo, failure.cause)
    return 'go on'
  }

  /** @returns what the handler failed with, when it did: then nothing has moved */
  async #deliver(envelopes: readonly StoredEnvelope[], to: number): Promise<HandlerFailed | undefined> {
    const { log, inTransaction, handling, policy } = this.#ports
    const { partition } = this.lease
    const { leaseMs } = policy
    try {
      if (envelopes.length === 0) await this.#checkpoint(log.kysely, to)
      else if (handling.transactional === true) {
        await handleInTransaction({
          inTransaction,
          leaseMs,
          lock: async (transaction) => {
            const at = { feedPosition: this.#position, leaseMs }
            if (!(await lockCheckpoint(transaction, this.lease, at))) throw new LeaseLost()
          },
          handle: (transaction) => handling.handle(envelopes.map(openEnvelope), { partition, transaction }),
          settle: (transaction) => this.#checkpoint(transaction, to),
        })
      } else {
        // The process hung past its lease: another one may handle these already.
        if (Date.now() >= this.#heldUntil) await this.#checkpoint(log.kysely, this.#position)
        await handled(() => handling.handle(envelopes.map(openEnvelope), { partition }))
        await this.#checkpoint(log.kysely, to)
      }
    } catch (error) {
      if (error instanceof HandlerFailed) return error
      throw error
    }
    this.#movedTo(to)
    return undefined
  }

  async #park(envelope: StoredEnvelope, to: number, cause: unknown): Promise<void> {
    const { inTransaction, onError } = this.#ports
    const { name, partition } = this.lease
    const letter = { partition, envelope, tries: this.#tries, problem: problemText(cause) }
    await inTransaction(async (transaction) => {
      await this.#checkpoint(transaction, to)
      await park(transaction, name, letter)
    })
    onError(cause, `${this.#where}: parked feed position ${envelope.feedPosition} after ${this.#tries} tries`)
    this.#movedTo(to)
  }

  async #standStill(cause: unknown): Promise<'stand still'> {
    this.#problem = problemText(cause)
    await noteProblem(this.#ports.log.kysely, this.lease, this.#problem)
    this.#ports.onError(cause, `${this.#where}: stopped behind feed position ${this.#position}`)
    this.#ports.onMoved()
    return 'stand still'
  }

  /** Writes it down, and keeps the lease. */
  async #checkpoint(kysely: Kysely<Database>, to: number): Promise<void> {
    const { leaseMs } = this.#ports.policy
    const asked = Date.now()
    const isMoved = await moveCheckpoint(kysely, this.lease, { from: this.#position, to, leaseMs })
    if (!isMoved) throw new LeaseLost()
    // In a transaction it is not certain yet.
    if (!kysely.isTransaction) this.holdUntil(asked + leaseMs)
  }

  #movedTo(position: number): void {
    this.#position = position
    this.#tries = 0
    this.#problem = null
    this.#ports.onMoved()
  }

  async #untilGrown(): Promise<void> {
    while (!this.#hasGrown && !this.isStopping) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async #untilStopped(): Promise<void> {
    while (!this.isStopping) {
      this.#hasGrown = false
      await this.#untilGrown()
    }
  }

  /** Half of it by chance, so that those who failed together do not try again together. */
  async #pause(leastMs: number, failures: number): Promise<void> {
    const ms = Math.min(leastMs * 2 ** (failures - 1), longestPauseMs)
    await setTimeout(ms * (0.5 + Math.random() / 2), undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}

/** Somebody took the lease over: what was read here is read there. */
class LeaseLost extends Error {
  constructor() {
    super('the lease was taken over')
  }
}
