/** What a handler fails with, and whether the handler is to blame for it or the database. */
import { type Kysely, sql } from 'kysely'
import { codeOf, failureKind } from '../connections/failures.ts'
import type { Database } from '../schema/database.ts'

/** What the application's handler failed with, in `cause`, apart from what goes wrong around it. */
export class HandlerFailed extends Error {
  constructor(cause: unknown) {
    super('the handler failed', { cause })
  }
}

/** @throws HandlerFailed */
export async function handled(work: () => Promise<void> | void): Promise<void> {
  try {
    await work()
  } catch (cause) {
    throw new HandlerFailed(cause)
  }
}

export interface HandlingTransaction {
  readonly inTransaction: InTransaction
  /** Locks what the handler works for. What it throws is thrown. */
  readonly lock: (transaction: Kysely<Database>) => Promise<void>
  readonly handle: (transaction: Kysely<Database>) => Promise<void> | void
  /** Last: it fails where the handler passed over the failure of a statement, with which a COMMIT would roll back in silence. */
  readonly settle: (transaction: Kysely<Database>) => Promise<void>
  /** How long the database lets the transaction idle, from `lock` on. */
  readonly leaseMs: number
}

export type InTransaction = <T>(work: (transaction: Kysely<Database>) => Promise<T>) => Promise<T>

/**
 * Handles in a transaction, all of it or nothing.
 * @throws HandlerFailed where the database could have gone on: the handler's own failures, what a COMMIT refuses, and a transaction that
 * was left to idle. Anything else is the database's, and says nothing about the handler.
 */
export async function handleInTransaction({ inTransaction, lock, handle, settle, leaseMs }: HandlingTransaction): Promise<void> {
  let failure: unknown
  let isSettled = false
  try {
    await inTransaction(async (transaction) => {
      const begun = performance.now()
      await lock(transaction)
      try {
        await handle(transaction)
        await settle(transaction)
        isSettled = true
      } catch (cause) {
        failure = await failureOf(transaction, cause, { tookMs: performance.now() - begun, leaseMs })
        throw failure
      }
    })
  } catch (error) {
    // A rollback over a connection that is gone fails, too, with less to say.
    if (failure !== undefined) throw failure
    // The answer to the COMMIT, as to a constraint that was deferred to it.
    if (isSettled && !isOutage(error)) throw new HandlerFailed(error)
    throw error
  }
}

/**
 * The error's own word is not enough: a file that is missing and a service that hung up have the codes of a database that is gone. So the
 * transaction is asked whether it would go on.
 */
async function failureOf(
  transaction: Kysely<Database>,
  cause: unknown,
  { tookMs, leaseMs }: { readonly tookMs: number; readonly leaseMs: number },
): Promise<unknown> {
  const refusal = await sql`select 1`.execute(transaction).then(
    () => undefined,
    (error: unknown) => ({ error }),
  )
  if (refusal === undefined) return new HandlerFailed(cause)
  // It answers, and is rolled back for a statement of the handler.
  if (failureKind(refusal.error) === 'failed') return isOutage(cause) ? cause : new HandlerFailed(cause)
  if (tookMs < leaseMs) return cause
  const problem = `its transaction lost the connection after ${Math.round(tookMs)} ms; one without a statement for ${leaseMs} ms is ended`
  return new HandlerFailed(new Error(problem, { cause }))
}

/** Classes of SQLSTATE: rolled back by the server for the sake of others, out of resources, stopped, broken. */
const outageClasses = new Set(['40', '53', '57', '58'])
/** A statement that takes too long takes too long again. */
const statementTimeout = '57014'

/** Of what a statement failed with: whether the next try may be luckier for nothing that the handler does. */
function isOutage(error: unknown): boolean {
  if (failureKind(error) !== 'failed') return true
  const code = codeOf(error) ?? ''
  return code.length === 5 && code !== statementTimeout && outageClasses.has(code.slice(0, 2))
}
