/** One partition of a subscription, while this process holds its lease: read a page, handle it, move the checkpoint. */
import { setImmediate, setTimeout } from 'node:timers/promises'
import { isColloquyError, openEnvelope, readFeedPage, type StoredEnvelope } from '@colloquy/core'
import type { Kysely } from 'kysely'
import { failureKind } from '../connections/failures.ts'
import type { PostgresLog } from '../postgres-log.ts'
import type { Database } from '../schema/database.ts'
import { type Lease, lockCheckpoint, moveCheckpoint, noteProblem, readPosition } from './checkpoints.ts'
import { park } from './dead-letters.ts'
import type { Handling, HandlingPolicy } from './handling.ts'
import type { Permits } from './permits.ts'

const longestPauseMs = 30_000

export interface ReaderPorts {
  readonly log: PostgresLog
  readonly handling: Handling
  readonly policy: HandlingPolicy
  readonly permits: Permits
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
  /** Up to there envelopes are handled one by one: a page of them failed, and only the one to blame is to be tried again. */
  #singlyUntil = 0
  /** Of the envelope that comes next. */
  #tries = 0
  #hasGrown = false
  #wake = () => {}

  constructor(lease: Lease, position: number, ports: ReaderPorts) {
    this.lease = lease
    this.#position = position
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

  /** There may be more to read. */
  wake(): void {
    this.#hasGrown = true
    this.#wake()
  }

  /** Finishes the page that is under way. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.wake()
    await this.done
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.isStopping) {
      try {
        // Before it reads: what grows meanwhile is looked for again.
        this.#hasGrown = false
        const step = await this.#ports.permits.with(() => (this.isStopping ? Promise.resolve('ended' as const) : this.#step()))
        failures = 0
        // An embedded database answers without leaving the turn of the event loop; catching up would let nothing else have one.
        await setImmediate()
        if (step === 'ended') await this.#growth()
        else if (step === 'stands') await this.#stopped()
        else if (step === 'failed') await this.#pause(this.#ports.policy.retryMs, this.#tries)
      } catch (error) {
        if (error instanceof LeaseLost || isColloquyError(error, 'log_closed')) return
        failures += 1
        if (failures === 1) this.#ports.onError(error, `${this.#where} (it tries again)`)
        await this.#pause(100, failures)
        // The answer to a checkpoint may be what was lost.
        const position = await readPosition(this.#ports.log.kysely, this.lease).catch(() => this.#position)
        if (position === undefined) return
        this.#position = position
      }
    }
  }

  /** `ended`: nothing is new. `failed`: the next envelope is to be tried again, later. `stands`: it is not. */
  async #step(): Promise<'moved' | 'ended' | 'failed' | 'stands'> {
    const { log, policy, headOf } = this.#ports
    const { partition } = this.lease
    const limit = this.#position < this.#singlyUntil ? 1 : policy.limit
    const query = { ...policy.filter, partition, after: this.#position, limit }
    const page = await readFeedPage(log, query, headOf(partition)).catch((error: unknown) => {
      if (!isColloquyError(error, 'feed_hole')) throw error
      return error
    })
    if (page instanceof Error) return this.#stand(page)
    const { envelopes, scannedTo } = page
    if (scannedTo === this.#position) return 'ended'
    const failure = await this.#deliver(envelopes, scannedTo)
    if (failure === undefined) return 'moved'
    if (envelopes.length > 1) {
      this.#singlyUntil = scannedTo
      return 'moved'
    }
    this.#tries += 1
    if (this.#tries < policy.tries) return 'failed'
    if (policy.onPoison === 'stop') return this.#stand(failure.cause)
    await this.#park(envelopes[0] as StoredEnvelope, scannedTo, failure.cause)
    return 'moved'
  }

  /** @returns what the handler failed with, when it did: then nothing has moved */
  async #deliver(envelopes: readonly StoredEnvelope[], to: number): Promise<HandlerFailed | undefined> {
    const { log, handling, policy } = this.#ports
    const { partition } = this.lease
    const at = { feedPosition: this.#position, leaseMs: policy.leaseMs }
    try {
      if (envelopes.length === 0) await this.#move(log.kysely, to)
      else if (handling.transactional === true) {
        await log.kysely
          .transaction()
          .setIsolationLevel('read committed')
          .execute(async (transaction) => {
            if (!(await lockCheckpoint(transaction, this.lease, at))) throw new LeaseLost()
            await handled(() => handling.handle(envelopes.map(openEnvelope), { partition, transaction }))
            // Last: it fails where the handler passed over the failure of a statement, with which a COMMIT would roll back in silence.
            await handled(() => this.#move(transaction, to))
          })
          .catch((error: unknown) => {
            if (error instanceof HandlerFailed && isOutage(error.cause)) throw error.cause
            throw error
          })
      } else {
        await handled(() => handling.handle(envelopes.map(openEnvelope), { partition }))
        await this.#move(log.kysely, to)
      }
    } catch (error) {
      if (error instanceof HandlerFailed) return error
      throw error
    }
    this.#moved(to)
    return undefined
  }

  async #park(envelope: StoredEnvelope, to: number, cause: unknown): Promise<void> {
    const { log, onError } = this.#ports
    const { name, partition } = this.lease
    const letter = { partition, envelope, tries: this.#tries, problem: textOf(cause) }
    await log.kysely.transaction().execute(async (transaction) => {
      await this.#move(transaction, to)
      await park(transaction, name, letter)
    })
    onError(cause, `${this.#where}: parked feed position ${envelope.feedPosition} after ${this.#tries} tries`)
    this.#moved(to)
  }

  async #stand(cause: unknown): Promise<'stands'> {
    await noteProblem(this.#ports.log.kysely, this.lease, textOf(cause))
    this.#ports.onError(cause, `${this.#where}: stopped behind feed position ${this.#position}`)
    this.#ports.onMoved()
    return 'stands'
  }

  async #move(kysely: Kysely<Database>, to: number): Promise<void> {
    const { leaseMs } = this.#ports.policy
    const isMoved = await moveCheckpoint(kysely, this.lease, { from: this.#position, to, leaseMs })
    if (!isMoved) throw new LeaseLost()
  }

  #moved(to: number): void {
    this.#position = to
    this.#tries = 0
    this.#ports.onMoved()
  }

  async #growth(): Promise<void> {
    while (!this.#hasGrown && !this.isStopping) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async #stopped(): Promise<void> {
    while (!this.isStopping) {
      this.#hasGrown = false
      await this.#growth()
    }
  }

  /** Half of it by chance, so that those who failed together do not try again together. */
  async #pause(leastMs: number, failures: number): Promise<void> {
    const ms = Math.min(leastMs * 2 ** (failures - 1), longestPauseMs)
    await setTimeout(ms * (0.5 + Math.random() / 2), undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}

/** Somebody took the lease over: what was read here is read there. */
class LeaseLost extends Error {}

/** What the application's handler threw, apart from what goes wrong around it. */
class HandlerFailed extends Error {}

async function handled(work: () => Promise<void> | void): Promise<void> {
  try {
    await work()
  } catch (cause) {
    if (cause instanceof LeaseLost) throw cause
    throw new HandlerFailed('the handler failed', { cause })
  }
}

/** Classes of SQLSTATE: rolled back by the server for the sake of others, out of resources, stopped, broken. */
const outageClasses = new Set(['40', '53', '57', '58'])
/** A statement that takes too long takes too long again. */
const statementTimeout = '57014'

/** In a transaction: whether the database is to blame, and not the envelope. Such tries do not count. */
function isOutage(error: unknown): boolean {
  if (failureKind(error) !== 'failed') return true
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
  return code.length === 5 && code !== statementTimeout && outageClasses.has(code.slice(0, 2))
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
