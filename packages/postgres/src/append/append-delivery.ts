/**
 * Delivers a batch: sends the same bytes until an answer comes, or until its requests give up.
 *
 * A send that was lost may have taken effect, may never, and may still. Sending the same envelopes again decides it: the head must be
 * where they expect it, so they are stored once or not at all, and what refuses them now (another head, a command that is stored) refuses
 * the lost send too, whenever it arrives. Only then is it looked up whether it was the lost send that moved the head.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type AppendRequest, ColloquyError, toHex } from '@colloquy/core'
import { toColloquyError } from '../connections/failures.ts'
import { type AppendFailure, appendFailure } from './append-failure.ts'
import type { AppendCall, BatchAnswer } from './append-function.ts'
import type { AppendSession, WithAppendSession } from './append-session.ts'
import type { PreparedRequest } from './prepared-request.ts'

export interface Delivery {
  readonly target: string
  /** Sessions do not start at read committed, so each call needs a transaction that does. */
  readonly needsTransaction: boolean
  /** The log was opened inside a transaction of the application, which a failure ends. */
  readonly isTransaction: boolean
  /** The server took no writes when the log was opened: there is no fail-over to wait for. */
  readonly isReadOnly: boolean
  readonly withSession: WithAppendSession
  readonly callFor: (batch: readonly PreparedRequest[]) => AppendCall
  /** Settles the requests that were answered. */
  readonly settle: (batch: readonly PreparedRequest[], answer: BatchAnswer, isLocalOnly: boolean) => void
}

const firstPauseMs = 10
const longestPauseMs = 1_000

/** Settles each of the requests. Never rejects. */
export async function deliver(delivery: Delivery, requests: readonly PreparedRequest[]): Promise<void> {
  let batch = requests
  for (let attempt = 1; batch.length > 0; attempt++) {
    const failure = await send(delivery, batch)
    if (failure === undefined) return
    if (failure.kind === 'refused' && batch.length > 1 && !delivery.isTransaction) {
      // One of them is to blame, and not the others.
      const middle = batch.length >> 1
      await deliver(delivery, batch.slice(0, middle))
      await deliver(delivery, batch.slice(middle))
      return
    }
    const isFinal = isDefinite(failure.kind, delivery) || delivery.isTransaction
    const pauseMs = Math.random() * Math.min(longestPauseMs, firstPauseMs * 2 ** attempt)
    const giveUp = isFinal ? Number.POSITIVE_INFINITY : performance.now() + pauseMs
    for (const prepared of batch) if (prepared.deadline <= giveUp) prepared.reject(finalError(delivery, prepared, failure))
    batch = batch.filter(({ deadline }) => deadline > giveUp)
    if (batch.length > 0) await pause(pauseMs)
  }
}

/** Trying again would end the same way. A server that took writes before and takes none now is being replaced by one that will. */
function isDefinite(kind: AppendFailure, { isReadOnly }: Delivery): boolean {
  return kind === 'refused' || kind === 'storage_full' || (kind === 'read_only' && isReadOnly)
}

interface Failure {
  readonly kind: AppendFailure
  readonly error: unknown
}

async function send(delivery: Delivery, batch: readonly PreparedRequest[]): Promise<Failure | undefined> {
  const { prepare, isSeveralStatements } = delivery.callFor(batch)
  const isOwnTransaction = delivery.needsTransaction || (isSeveralStatements && !delivery.isTransaction)
  let call: ReturnType<typeof prepare>
  try {
    call = prepare(batch)
  } catch (error) {
    return { kind: 'refused', error }
  }
  try {
    const { answer, isLocalOnly } = await delivery.withSession(async (session) => {
      const answer = await (isOwnTransaction ? inTransaction(session, call) : call(session))
      return { answer, isLocalOnly: session.isLocalOnly() }
    })
    delivery.settle(batch, answer, isLocalOnly)
    return undefined
  } catch (error) {
    const kind = appendFailure(error)
    if (kind === 'lost') for (const prepared of batch) prepared.lost ??= error
    return { kind, error }
  }
}

async function inTransaction<T>(session: AppendSession, work: (session: AppendSession) => Promise<T>): Promise<T> {
  await session.query({ text: 'start transaction isolation level read committed' }, [])
  try {
    const result = await work(session)
    await session.commit()
    return result
  } catch (error) {
    // A connection that is lost takes its transaction along.
    await session.query({ text: 'rollback' }, []).catch(() => undefined)
    throw error
  }
}

function finalError({ target }: Delivery, prepared: PreparedRequest, { kind, error }: Failure): ColloquyError {
  // Of another send of it nobody knows the outcome, whatever became of the last one.
  if (prepared.lost !== undefined) return outcomeUnknown(prepared.request, prepared.lost)
  if (kind === 'storage_full') return new ColloquyError('storage_full', { target }, { cause: error })
  return toColloquyError(error, `append to ${prepared.request.key.conversationId}`, target)
}

export function outcomeUnknown({ key, expected, envelopes }: AppendRequest, cause: unknown): ColloquyError {
  const { position, hash } = envelopes.at(-1) ?? expected
  return new ColloquyError(
    'append_outcome_unknown',
    { conversationId: key.conversationId, position, hash: toHex(hash) },
    { cause },
  )
}
