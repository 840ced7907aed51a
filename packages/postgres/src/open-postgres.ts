import { connect, type PostgresTarget } from './connect.ts'
import { toColloquyError } from './failures.ts'
import { applyMigrations, defaultServerPartitions } from './migrate.ts'
import { openLog, type PostgresLog } from './postgres-log.ts'
import type { Signals } from './signals/growth.ts'

export type PostgresOptions = PostgresTarget & {
  /** How many partitions the database must have; a new one gets them (default 64). */
  readonly partitions?: number
  /** Bring the schema up to date first. Needs the right to create tables; otherwise `migrate` is run once by somebody who has it. */
  readonly migrate?: boolean
  /**
   * How readers of the feed hear that there is more, before their sweep finds it: `local` (default), of what this process appends;
   * a transport, of what others append too (`postgresSignals`, or `redisSignals` from `@colloquy/postgres/redis`); `none`, not at all.
   * A transport serves one log and is closed with it.
   */
  readonly signals?: Signals
}

/**
 * The log in a Postgres on a server.
 * @throws `database_unreachable`, `schema_missing`, `schema_newer`, `partitions_differ`, `database_failed`
 */
export async function openPostgresLog(options: PostgresOptions): Promise<PostgresLog> {
  const connection = await connect(options)
  try {
    if (options.migrate === true) await applyMigrations(connection, options.partitions ?? defaultServerPartitions)
    return await openLog(connection, options)
  } catch (error) {
    if (typeof options.signals === 'object') await options.signals.close()
    await connection.close()
    throw toColloquyError(error, 'open the log', connection.target)
  }
}
