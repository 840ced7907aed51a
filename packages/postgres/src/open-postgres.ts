import { type AppendOptions, defaultDeadlineMs } from './append.ts'
import { connect, type PostgresTarget } from './connect.ts'
import { toColloquyError } from './failures.ts'
import { migrate } from './migrate.ts'
import { openLog, type PostgresLog } from './postgres-log.ts'
import type { Signals } from './signals/growth.ts'

export type PostgresOptions = PostgresTarget &
  AppendOptions & {
    /** How many partitions the database must have; a new one gets them (default 64). */
    readonly partitions?: number
    /** Bring the schema up to date first. Needs the right to create tables; otherwise `migrate` is run once by somebody who has it. */
    readonly migrate?: boolean
    /** How long the server may work at a statement that is no append, on connections of our own (default 30,000). */
    readonly statementTimeoutMs?: number
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
  if (options.migrate === true) await migrate(options)
  const { statementTimeoutMs = 30_000, deadlineMs = defaultDeadlineMs } = options
  // An append that got no answer has time for others within its deadline.
  const connection = await connect(options, { statementMs: statementTimeoutMs, appendMs: Math.ceil(deadlineMs / 4) })
  try {
    return await openLog(connection, options)
  } catch (error) {
    if (typeof options.signals === 'object') await options.signals.close()
    await connection.close()
    throw toColloquyError(error, 'open the log', connection.target)
  }
}
