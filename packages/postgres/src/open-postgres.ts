import { ColloquyError } from '@colloquy/core'
import { type AppendOptions, defaultDeadlineMs } from './append/append.ts'
import { connect, type PostgresTarget } from './connections/connect.ts'
import { toColloquyError } from './connections/failures.ts'
import { openLog, type PostgresLog } from './postgres-log.ts'
import { migrate } from './schema/migrate.ts'
import type { Settings } from './schema/settings.ts'
import type { Signals } from './signals/growth.ts'

export type PostgresOptions = PostgresTarget &
  AppendOptions & {
    /** How many partitions the database must have; a new one gets them (default 64). */
    readonly partitions?: number
    /** Bring the schema up to date first. Needs the right to create tables; otherwise `migrate` is run once by somebody who has it. */
    readonly migrate?: boolean
    /** How long the server may work at a statement that is no append, on connections of our own (default 30,000). */
    readonly statementTimeoutMs?: number
    /** Take a server with fsync=off, on which nothing that was acknowledged survives a crash of the machine: for tests. */
    readonly allowFsyncOff?: boolean
    /**
     * How readers of the feed hear that there is more, before their sweep finds it: `local` (default), of what this process appends;
     * a transport, of what others append too (`postgresSignals`, or `redisSignals` from `@colloquy/postgres/redis`); `none`, not at all.
     * A transport serves one log and is closed with it.
     */
    readonly signals?: Signals
  }

/**
 * The log in a Postgres on a server: also on a standby, which answers reads and refuses the rest with `log_read_only`.
 * @throws `database_unreachable`, `schema_missing`, `schema_newer`, `partitions_differ`, `durability_off`, `database_failed`
 */
export async function openPostgresLog(options: PostgresOptions): Promise<PostgresLog> {
  if (options.migrate === true) await migrate(options)
  const { statementTimeoutMs = 30_000, deadlineMs = defaultDeadlineMs } = options
  // An append that got no answer has time for others within its deadline.
  const connection = await connect(options, { statementMs: statementTimeoutMs, appendMs: Math.ceil(deadlineMs / 4) })
  try {
    return await openLog(connection, options, (settings) => judge(settings, connection.target, options))
  } catch (error) {
    if (typeof options.signals === 'object') await options.signals.close()
    await connection.close()
    throw toColloquyError(error, 'open the log', connection.target)
  }
}

/** @throws `durability_off` */
function judge(settings: Settings, target: string, { allowFsyncOff = false, onWarning = warnOnce }: PostgresOptions): void {
  if (settings.isEmbedded) return
  if (settings.fsync === 'off' && !allowFsyncOff) throw new ColloquyError('durability_off', { target, setting: 'fsync' })
  for (const weakness of weaknessesOf(settings)) onWarning(`The log at ${target} ${weakness}. See "colloquy doctor".`)
}

/** What is worth a word each time a log is opened; the doctor says more. */
function weaknessesOf({ synchronousCommit, encoding, isSuperuser, role, owner }: Settings): string[] {
  return [
    ...(synchronousCommit === 'off' ? ['has synchronous_commit=off: a crash of the server loses acknowledged appends'] : []),
    ...(encoding === 'UTF8' ? [] : [`has the encoding ${encoding}, which cannot hold every id`]),
    ...(isSuperuser ? [`is used as ${role}, a superuser, who may change history and sees every tenant`] : []),
    ...(role === owner && !isSuperuser ? [`is used as ${role}, the owner of its tables, who may change history`] : []),
  ]
}

const warned = new Set<string>()

function warnOnce(text: string): void {
  if (warned.has(text)) return
  warned.add(text)
  process.emitWarning(text, { type: 'ColloquyWarning', code: 'COLLOQUY_DATABASE' })
}
