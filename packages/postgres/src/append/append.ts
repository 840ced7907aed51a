/**
 * Append: requests gather in a queue (`append-queue.ts`), a batch is delivered until it is answered (`append-delivery.ts`) by one call of
 * an SQL function (`append-function.ts`) or by plain statements (`append-statements.ts`), and an answer becomes an outcome here. Only a
 * conflict or a duplicate costs a second round trip, which reads what is handed back: envelopes that are stored do not change places, so
 * reading them later reads the same.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  type AppendOutcome,
  type AppendRequest,
  assertAppend,
  ColloquyError,
  forkHash,
  genesisHash,
  type Head,
  isColloquyError,
  isForkId,
  pageSize,
  type StoredEnvelope,
} from '@colloquy/core'
import type { LogConnection } from '../connections/connection.ts'
import { failureKind } from '../connections/failures.ts'
import { readCommands, readRange } from '../read/read.ts'
import { sha256 } from '../sha256.ts'
import { type Delivery, deliver, outcomeUnknown } from './append-delivery.ts'
import { callForMany, callForOne, type Refusal } from './append-function.ts'
import { AppendQueue, type QueueOptions } from './append-queue.ts'
import { callByStatements } from './append-statements.ts'
import { PreparedRequest, rememberedPartitions } from './prepared-request.ts'

export interface AppendOptions {
  readonly queue?: QueueOptions
  /**
   * How long an append is tried again while the database cannot be reached, undoes it or does not answer (default 30,000). Then it rejects:
   * with `append_outcome_unknown` where it may be stored.
   */
  readonly deadlineMs?: number
  /** By the functions of the schema (default), or by plain statements, for engines that have no such functions. Slower; the same outcomes. */
  readonly appendBy?: 'function' | 'statements'
  /** One batch may mix partitions (default true). Where they lie on several machines, as with Citus, a call should stay in one. */
  readonly batchAcrossPartitions?: boolean
  /** Hears what an operator should know (default: a process warning): an append is stored, but not on the standby that it was to wait for. */
  readonly onWarning?: (warning: string) => void
}

export const defaultDeadlineMs = 30_000

export interface Appender {
  /** See `EventLog.append`. */
  readonly append: (requests: readonly AppendRequest[]) => Promise<readonly AppendOutcome[]>
  /** Takes no more, and resolves when all that was taken is settled. */
  readonly close: () => Promise<void>
}

export function appender(log: LogConnection, options: AppendOptions, grew: (partitions: readonly number[]) => void): Appender {
  const { deadlineMs = defaultDeadlineMs, onWarning = warnProcess, appendBy, batchAcrossPartitions = true } = options
  const partitionOf = rememberedPartitions(log.partitions)
  const delivery: Delivery = {
    target: log.target,
    needsTransaction: log.needsReadCommitted && !log.kysely.isTransaction,
    isTransaction: log.kysely.isTransaction,
    isReadOnly: log.isReadOnly,
    withSession: log.withAppendSession,
    callFor(batch) {
      if (appendBy === 'statements') return callByStatements
      return batch.length === 1 && batch[0]?.envelopes === 1 ? callForOne : callForMany
    },
    settle(batch, answer, isLocalOnly) {
      if (isLocalOnly) onWarning(localOnlyWarning(batch.length))
      const grown = new Set<number>()
      batch.forEach((prepared, n) => {
        const refusal = answer.refused.get(n)
        if (refusal === undefined || prepared.lost !== undefined) grown.add(prepared.partition)
        if (refusal === undefined)
          prepared.resolve(appended(storedAs(prepared, answer.feedPositions[n] as number, answer.recordedAt), isLocalOnly))
        else outcomeOf(log, prepared, refusal, isLocalOnly).then(prepared.resolve, prepared.reject)
      })
      if (grown.size > 0) grew([...grown])
    },
  }
  const queue = new AppendQueue<PreparedRequest>(
    { ...options.queue, batchAcrossPartitions, batchesInFlight: log.batchesInFlight },
    (batch) => deliver(delivery, batch),
  )
  let isClosed = false

  const add = (request: AppendRequest, resolve: PreparedRequest['resolve'], reject: PreparedRequest['reject']): void => {
    if (isClosed) throw new ColloquyError('log_closed', { target: log.target })
    const deadline = performance.now() + deadlineMs
    queue.add(new PreparedRequest(request, partitionOf(request.key), deadline, resolve, reject))
  }
  return {
    append(requests) {
      const [only] = requests
      if (only && requests.length === 1) {
        return new Promise((resolve, reject) => {
          assertAppend(only)
          add(only, (outcome) => resolve([outcome]), reject)
        })
      }
      return appendAll(requests, add)
    },
    close() {
      isClosed = true
      return queue.idle()
    },
  }
}

async function appendAll(
  requests: readonly AppendRequest[],
  add: (request: AppendRequest, resolve: PreparedRequest['resolve'], reject: PreparedRequest['reject']) => void,
): Promise<readonly AppendOutcome[]> {
  requests.forEach(assertAppend)
  const all = requests.map((request) => new Promise<AppendOutcome>((resolve, reject) => add(request, resolve, reject)))
  return allOf(requests, await Promise.allSettled(all))
}

/** A call of several requests rejects as a whole, and must not say "not stored" of those that are. */
function allOf(requests: readonly AppendRequest[], settled: readonly PromiseSettledResult<AppendOutcome>[]): AppendOutcome[] {
  const outcomes = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failures = settled.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []))
  if (failures.length === 0) return outcomes
  const unknown = failures.find((failure) => isColloquyError(failure, 'append_outcome_unknown'))
  const stored = requests.find((_, i) => {
    const result = settled[i]
    return result?.status === 'fulfilled' && result.value.status === 'appended'
  })
  throw unknown ?? (stored ? outcomeUnknown(stored, failures[0]) : failures[0])
}

function storedAs({ request: { envelopes } }: PreparedRequest, feedPosition: number, recordedAt: number): StoredEnvelope[] {
  return envelopes.map((envelope, i) => ({ ...envelope, feedPosition: feedPosition + i, recordedAt }))
}

/** What a refused request comes back with. @throws `append_outcome_unknown`, `database_unreachable`, `database_failed` */
async function outcomeOf(
  log: LogConnection,
  prepared: PreparedRequest,
  refusal: Refusal,
  isLocalOnly: boolean,
): Promise<AppendOutcome> {
  if (prepared.lost !== undefined) return afterLoss(log, prepared, refusal, isLocalOnly)
  return log.run(`read on in ${prepared.request.key.conversationId}`, () => refused(log, prepared, refusal))
}

function appended(envelopes: readonly StoredEnvelope[], isLocalOnly: boolean): AppendOutcome {
  return isLocalOnly ? { status: 'appended', envelopes, durability: 'local' } : { status: 'appended', envelopes }
}

async function refused(
  log: LogConnection,
  { request, commandIds, expectedPosition }: PreparedRequest,
  answer: Refusal,
): Promise<AppendOutcome> {
  if (answer.outcome === 'duplicate') {
    return { status: 'duplicate', commands: await readCommands(log, request.key, commandIds) }
  }
  const head = answer.head ?? { position: 0, hash: genesisHash(request.key, sha256), occurredAt: 0, archived: false }
  if (answer.outcome === 'archived') return { status: 'archived', head }
  return { status: 'conflict', head, missed: await readMissed(log, request, expectedPosition, head) }
}

async function readMissed(
  log: LogConnection,
  { key, expected }: AppendRequest,
  expectedPosition: number,
  head: Head,
): Promise<StoredEnvelope[]> {
  if (expectedPosition === -1 || expectedPosition >= head.position) return []
  const last = Math.min(head.position, expectedPosition + pageSize)
  const envelopes = await readRange(log, key, expectedPosition, last)
  if (expectedPosition === 0) return envelopes
  const [seen, ...found] = envelopes
  // The one that was seen may be a page of its own; none missed would say that the log is another one.
  const missed = found.length > 0 ? found : await readRange(log, key, expectedPosition + 1, last)
  if (!seen) return []
  // Of a fork without envelopes of its own, the position is its parent's and the hash is not.
  const hashes = isForkId(key.conversationId) ? [seen.hash, forkHash(seen.hash, seen.position, key, sha256)] : [seen.hash]
  return hashes.some((hash) => Buffer.compare(hash, expected.hash) === 0) ? missed : []
}

/**
 * Refused now, but sent before without an answer: what stands at our position tells whether that was stored. A refusal is definite for
 * the lost send too (`append-delivery.ts`), so what is not there will not come.
 */
async function afterLoss(
  log: LogConnection,
  prepared: PreparedRequest,
  answer: Refusal,
  isLocalOnly: boolean,
): Promise<AppendOutcome> {
  const { envelopes, key, expected, archive } = prepared.request
  const [first, last] = [envelopes[0], envelopes.at(-1)]
  for (;;) {
    try {
      if (first && last) {
        const stored: StoredEnvelope[] = []
        for (let next = first.position; next <= last.position; next = first.position + stored.length) {
          const page = await readRange(log, key, next, last.position)
          if (page.length === 0) break
          stored.push(...page)
        }
        const end = stored.at(-1)
        if (end?.position === last.position && Buffer.compare(end.hash, last.hash) === 0) return appended(stored, isLocalOnly)
      } else if (
        archive === true &&
        answer.outcome === 'archived' &&
        answer.head &&
        Buffer.compare(answer.head.hash, expected.hash) === 0
      ) {
        return appended([], isLocalOnly)
      }
      return await refused(log, prepared, answer)
    } catch (error) {
      if (failureKind(error) === 'failed' || performance.now() + lookupPauseMs > prepared.deadline) {
        throw outcomeUnknown(prepared.request, error)
      }
      await pause(lookupPauseMs)
    }
  }
}

const lookupPauseMs = 200

const localOnlyWarning = (appends: number): string =>
  `${appends} appends are stored on the primary only: their wait for the synchronous standby was cancelled. They are lost if the ` +
  'primary is lost now. Look at the standby, and at who cancels statements.'

function warnProcess(warning: string): void {
  process.emitWarning(warning, { code: 'COLLOQUY_DURABILITY' })
}
