import { ColloquyError } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { StoredSegment } from './ancestry.ts'
import { kyselySessions, type WithAppendSession } from './append-session.ts'
import type { Database } from './database.ts'
import { toColloquyError } from './failures.ts'

/** A database and how to let go of it. */
export interface Connection {
  readonly kysely: Kysely<Database>
  /** Where it is, for people: never with a password. */
  readonly target: string
  /** Where there is more than Kysely to append through. */
  readonly withAppendSession?: WithAppendSession
  /** Frees what was opened here, and only that: a pool or a Kysely that was handed in stays open. */
  readonly close: () => Promise<void>
}

/** What the parts of a log work on: a connection with a log's tables in it. */
export interface LogConnection {
  readonly kysely: Kysely<Database>
  readonly target: string
  readonly partitions: number
  /** Sessions do not start at read committed, so an append has to ask for it. */
  readonly needsReadCommitted: boolean
  readonly withAppendSession: WithAppendSession
  /**
   * Does `work` on a connection that may see this tenant, or with null every one: where row-level security holds for the role, what
   * names no tenant sees nothing.
   */
  readonly asTenant: <T>(tenant: string | null, work: (kysely: Kysely<Database>) => Promise<T>) => Promise<T>
  /** As `asTenant`, in a transaction at read committed: each statement sees what was committed before it. */
  readonly inTransaction: <T>(tenant: string | null, work: (trx: Kysely<Database>) => Promise<T>) => Promise<T>
  /** Where the histories of forks lie, once looked up: it never changes. */
  readonly segments: Map<string, readonly StoredSegment[]>
  /** Does `work`; what it throws becomes a ColloquyError. @throws `database_unreachable`, `database_failed`, `log_closed` */
  readonly run: <T>(operation: string, work: () => Promise<T>) => Promise<T>
  /** Refuses new work, waits for what is under way, then lets go. Idempotent. */
  readonly close: () => Promise<void>
}

export function logConnection(
  { kysely, target, withAppendSession = kyselySessions(kysely), close }: Connection,
  facts: Pick<LogConnection, 'partitions' | 'needsReadCommitted'>,
): LogConnection {
  const pending = new Set<Promise<unknown>>()
  let closing: Promise<void> | undefined
  return {
    ...facts,
    kysely,
    target,
    withAppendSession,
    segments: new Map(),
    asTenant: (_tenant, work) => work(kysely),
    inTransaction: (_tenant, work) =>
      // The application's own transaction, where the log was opened on one.
      kysely.isTransaction ? work(kysely) : kysely.transaction().setIsolationLevel('read committed').execute(work),
    async run(operation, work) {
      if (closing) throw new ColloquyError('log_closed', { target })
      const working = work()
      pending.add(working)
      try {
        return await working
      } catch (error) {
        throw toColloquyError(error, operation, target)
      } finally {
        pending.delete(working)
      }
    },
    close() {
      closing ??= Promise.allSettled(pending).then(close)
      return closing
    },
  }
}
