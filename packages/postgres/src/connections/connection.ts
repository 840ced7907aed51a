import { ColloquyError } from '@colloquy/core'
import { CompiledQuery, type Kysely, type PostgresPool } from 'kysely'
import { kyselySessions, type WithAppendSession } from '../append/append-session.ts'
import type { StoredSegment } from '../read/ancestry.ts'
import type { Database } from '../schema/database.ts'
import type { Settings } from '../schema/settings.ts'
import { toColloquyError } from './failures.ts'
import { setTenant, tenantSessions } from './tenant-session.ts'

/** A statement that is worth preparing, by its name, on each connection that it is sent on. */
export interface RowQuery {
  readonly name: string
  readonly text: string
  readonly values: readonly unknown[]
}

/**
 * Rows one by one, as they arrive, by the order of their fields. `bytea` that is UTF-8 may come as text; where it is not UTF-8, that text
 * holds U+FFFD. With a tenant, as `asTenant`. @returns when all have arrived
 */
export type ReadRows = (tenant: string | null, query: RowQuery, onRow: (row: readonly unknown[]) => void) => Promise<void>

/** A database and how to let go of it. */
export interface Connection {
  readonly kysely: Kysely<Database>
  /** Where it is, for people: never with a password. */
  readonly target: string
  /** Where there is more than Kysely to append through. */
  readonly withAppendSession?: WithAppendSession
  /** What `kysely` takes its connections from, where that is known. */
  readonly pool?: PostgresPool
  /** Where rows can be had before the last of them has come. */
  readonly readRows?: ReadRows
  /** Frees what was opened here, and only that: a pool or a Kysely that was handed in stays open. */
  readonly close: () => Promise<void>
}

/** What the parts of a log work on: a connection with a log's tables in it. */
export interface LogConnection {
  readonly kysely: Kysely<Database>
  readonly target: string
  readonly id: string
  readonly partitions: number
  /** Its partitions may lie on several machines. */
  readonly isCluster: boolean
  /** Sessions do not start at read committed, so an append has to ask for it. */
  readonly needsReadCommitted: boolean
  /** The server took no writes when the log was opened: a standby, or sessions that may only read. */
  readonly isReadOnly: boolean
  readonly withAppendSession: WithAppendSession
  /**
   * Batches of appends that are worth having under way at once: over a pool the next one is made, and its locks are waited for, while the
   * server works on another (1,000 in flight: 1.2 to 1.5 times the appends of one at a time; more than two add nothing on two cores).
   */
  readonly batchesInFlight: number
  /** @throws `tenant_missing` where row-level security holds for the role: what names no tenant would see none, and look empty */
  readonly assertSeesAllTenants: (operation: string) => void
  /**
   * Does `work` where this tenant can be seen; with null, what the role itself may see, which is nothing of any tenant where row-level
   * security holds for it. The tenant is set for one transaction and never for a session, which others use after us: over a pool,
   * each statement of `work` is a transaction of its own and one round trip.
   */
  readonly asTenant: <T>(tenant: string | null, work: (kysely: Kysely<Database>) => Promise<T>) => Promise<T>
  /** As `ReadRows`; where rows come only all together, all of them then. */
  readonly readRows: (tenant: string, query: RowQuery, onRow: (row: readonly unknown[]) => void) => Promise<void>
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
  { kysely, target, pool, readRows, withAppendSession = kyselySessions(kysely), close }: Connection,
  facts: Pick<LogConnection, 'id' | 'partitions' | 'needsReadCommitted' | 'isReadOnly'> &
    Pick<Settings, 'isCluster' | 'role' | 'seesAllTenants'>,
): LogConnection {
  // Counted and not kept in a set: the former tables of a set keep what was in it, here whole pages of answers, until the next full
  // collection (see `append-queue.ts`).
  let pending = 0
  let whenIdle = (): void => {}
  let closing: Promise<void> | undefined
  const sessions = pool && tenantSessions(pool)

  function inTransaction<T>(tenant: string | null, work: (trx: Kysely<Database>) => Promise<T>): Promise<T> {
    const working = async (trx: Kysely<Database>): Promise<T> => {
      if (tenant !== null && !facts.seesAllTenants) await trx.executeQuery(CompiledQuery.raw(setTenant(tenant)))
      const result = await work(trx)
      if (!pool) await assertNotAborted(trx)
      return result
    }
    // The application's own transaction, where the log was opened on one.
    return kysely.isTransaction ? working(kysely) : kysely.transaction().setIsolationLevel('read committed').execute(working)
  }

  /** Where the answer to a commit cannot be seen (`pool.ts` sees it): after a failure that `work` swallowed, any statement fails. */
  async function assertNotAborted(trx: Kysely<Database>): Promise<void> {
    await trx.executeQuery(CompiledQuery.raw('select 1')).catch((error: unknown) => {
      throw new ColloquyError('transaction_aborted', { target }, { cause: error })
    })
  }

  function asTenant<T>(tenant: string | null, work: (kysely: Kysely<Database>) => Promise<T>): Promise<T> {
    if (tenant === null || facts.seesAllTenants) return work(kysely)
    return sessions ? work(sessions(tenant)) : inTransaction(tenant, work)
  }

  return {
    kysely,
    id: facts.id,
    partitions: facts.partitions,
    isCluster: facts.isCluster,
    needsReadCommitted: facts.needsReadCommitted,
    isReadOnly: facts.isReadOnly,
    target,
    withAppendSession,
    batchesInFlight: pool ? 2 : 1,
    segments: new Map(),
    assertSeesAllTenants(operation) {
      if (!facts.seesAllTenants) throw new ColloquyError('tenant_missing', { role: facts.role, operation })
    },
    asTenant,
    async readRows(tenant, query, onRow) {
      if (readRows) return readRows(facts.seesAllTenants ? null : tenant, query, onRow)
      const all = CompiledQuery.raw(query.text, [...query.values])
      const { rows } = await asTenant(tenant, (kysely) => kysely.executeQuery<Record<string, unknown>>(all))
      for (const row of rows) onRow(Object.values(row))
    },
    inTransaction,
    async run(operation, work) {
      if (closing) throw new ColloquyError('log_closed', { target })
      pending += 1
      try {
        return await work()
      } catch (error) {
        throw toColloquyError(error, operation, target)
      } finally {
        pending -= 1
        if (pending === 0) whenIdle()
      }
    },
    close() {
      closing ??= new Promise<void>((resolve) => {
        whenIdle = resolve
        if (pending === 0) resolve()
      }).then(close)
      return closing
    },
  }
}
