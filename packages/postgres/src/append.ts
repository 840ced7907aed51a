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
  forkHash,
  genesisHash,
  type Head,
  isColloquyError,
  isForkId,
  pageSize,
  type StoredEnvelope,
} from '@colloquy/core'
import { type Delivery, deliver, outcomeUnknown } from './append-delivery.ts'
import { type Answer, callForMany, callForOne } from './append-function.ts'
import { AppendQueue, type QueueOptions } from './append-queue.ts'
import { callByStatements } from './append-statements.ts'
import type { LogConnection } from './connection.ts'
import { failureKind } from './failures.ts'
import { type PreparedRequest, prepareRequest, rememberedPartitions } from './prepared-request.ts'
import { readCommands, readRange } from './read.ts'
import { sha256 } from './sha256.ts'

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

/** How a log appends. See `EventLog.append`. */
export type Append = (requests: readonly AppendRequest[]) => Promise<readonly AppendOutcome[]>

export function appender(log: LogConnection, options: AppendOptions, grew: (partitions: readonly number[]) => void): Append {
  const { deadlineMs = defaultDeadlineMs, onWarning = warnProcess, appendBy, batchAcrossPartitions = true } = options
  const partitionOf = rememberedPartitions(log.partitions)
  const delivery: Delivery = {
    target: log.target,
    needsTransaction: log.needsReadCommitted && !log.kysely.isTransaction,
    isTransaction: log.kysely.isTransaction,
    withSession: log.withAppendSession,
    callFor(batch) {
      if (appendBy === 'statements') return callByStatements
      return batch.length === 1 && batch[0]?.envelopes === 1 ? callForOne : callForMany
    },
    settle(batch, answers, isLocalOnly) {
      if (isLocalOnly) onWarning(localOnlyWarning(batch.length))
      const grown = new Set<number>()
      for (const [i, prepared] of batch.entries()) {
        const answer = answers[i] as Answer
        if (answer.outcome === 'appended' || prepared.lost !== undefined) grown.add(prepared.partition)
        prepared.resolve(outcomeOf(log, prepared, answer, isLocalOnly))
      }
      if (grown.size > 0) grew([...grown])
    },
  }
  const queue = new AppendQueue<PreparedRequest>({ ...options.queue, batchAcrossPartitions }, (batch) => deliver(delivery, batch))

  const appendOne = (request: AppendRequest): Promise<AppendOutcome> =>
    new Promise((resolve, reject) => {
      const deadline = performance.now() + deadlineMs
      queue.add(prepareRequest(request, partitionOf(request.key), { deadline, resolve, reject }))
    })
  return async (requests) => {
    const [first] = requests
    if (first && requests.length === 1) return [await appendOne(first)]
    return allOf(requests, await Promise.allSettled(requests.map(appendOne)))
  }
}

/** A call of several requests rejects as a whole, and must not say "not stored" of those that are. */
function allOf(requests: readonly AppendRequest[], settled: readonly PromiseSettledResult<AppendOutcome>[]): AppendOutcome[] {
  const failed = settled.filter((result) => result.status === 'rejected')
  if (failed.length === 0) return settled.map((result) => (result as PromiseFulfilledResult<AppendOutcome>).value)
  const { reason } =
    failed.find((result) => isColloquyError(result.reason, 'append_outcome_unknown')) ?? (failed[0] as PromiseRejectedResult)
  const stored = requests.find((_, i) => {
    const result = settled[i]
    return result?.status === 'fulfilled' && result.value.status === 'appended'
  })
  throw stored && !isColloquyError(reason, 'append_outcome_unknown') ? outcomeUnknown(stored, reason) : reason
}

function outcomeOf(
  log: LogConnection,
  prepared: PreparedRequest,
  answer: Answer,
  isLocalOnly: boolean,
): AppendOutcome | Promise<AppendOutcome> {
  if (answer.outcome !== 'appended') {
    return prepared.lost === undefined ? refusal(log, prepared, answer) : afterLoss(log, prepared, answer, isLocalOnly)
  }
  const { firstFeedPosition, recordedAt } = answer
  return appended(
    prepared.request.envelopes.map((envelope, i) => ({ ...envelope, feedPosition: firstFeedPosition + i, recordedAt })),
    isLocalOnly,
  )
}

function appended(envelopes: readonly StoredEnvelope[], isLocalOnly: boolean): AppendOutcome {
  return isLocalOnly ? { status: 'appended', envelopes, durability: 'local' } : { status: 'appended', envelopes }
}

async function refusal(
  log: LogConnection,
  { request, commandIds, expectedPosition }: PreparedRequest,
  answer: Refused,
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
  const envelopes = await readRange(log, key, expectedPosition, Math.min(head.position, expectedPosition + pageSize))
  if (expectedPosition === 0) return envelopes
  const [seen, ...missed] = envelopes
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
  answer: Refused,
  isLocalOnly: boolean,
): Promise<AppendOutcome> {
  const { envelopes, key, expected, archive } = prepared.request
  const [first, last] = [envelopes[0], envelopes.at(-1)]
  for (;;) {
    try {
      if (first && last) {
        const stored = await readRange(log, key, first.position, last.position)
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
      return await refusal(log, prepared, answer)
    } catch (error) {
      if (failureKind(error) === 'failed' || performance.now() + lookupPauseMs > prepared.deadline) {
        throw outcomeUnknown(prepared.request, error)
      }
      await pause(lookupPauseMs)
    }
  }
}

const lookupPauseMs = 200

type Refused = Exclude<Answer, { readonly outcome: 'appended' }>

const localOnlyWarning = (appends: number): string =>
  `${appends} appends are stored on the primary only: their wait for the synchronous standby was cancelled. They are lost if the ` +
  'primary is lost now. Look at the standby, and at who cancels statements.'

function warnProcess(warning: string): void {
  process.emitWarning(warning, { code: 'COLLOQUY_DURABILITY' })
}
