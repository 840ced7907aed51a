import { ColloquyError, isColloquyError } from '@colloquy/core'
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
    /**
     * A standby, opened as `log.reader` beside the log and closed with it: `createEngine({ log: log.reader })` replays, verifies and
     * feeds without burdening the server that appends. It looks for what is new every second. One that cannot be reached now is a
     * warning, and the reader is the log itself: who writes need not wait for who reads.
     */
    readonly readUrl?: string
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
 * @throws `database_unreachable`, `schema_missing`, `schema_newer`, `partitions_differ`, `durability_off`, `database_failed`,
 * `settings_invalid` when `readUrl` is of another log, or for a number of partitions to migrate to
 */
export async function openPostgresLog(options: PostgresOptions): Promise<PostgresLog> {
  const log = await migrateAndOpen(options)
  if (options.readUrl === undefined) return log
  const reader = await openReader(log, options.readUrl, options).catch(async (error: unknown) => {
    await log.close()
    throw error
  })
  if (reader === undefined) return log
  const close = async (): Promise<void> => void (await Promise.all([log.close(), reader.close()]))
  return { ...log, reader, close, [Symbol.asyncDispose]: close }
}

async function migrateAndOpen(options: PostgresOptions): Promise<PostgresLog> {
  try {
    if (options.migrate === true) await migrate(options)
    return await openOne(options)
  } catch (error) {
    // They are closed with the log, which there will not be.
    if (typeof options.signals === 'object') await options.signals.close()
    throw error
  }
}

/** @returns undefined, and a warning, when nobody answers there @throws as `openPostgresLog` */
async function openReader(
  { id }: PostgresLog,
  url: string,
  { statementTimeoutMs, allowFsyncOff, onWarning }: PostgresOptions,
): Promise<PostgresLog | undefined> {
  try {
    // Hints of what this process appends would come before the standby has it.
    const reader = await openOne({
      url,
      signals: 'none',
      ...(statementTimeoutMs !== undefined && { statementTimeoutMs }),
      ...(allowFsyncOff !== undefined && { allowFsyncOff }),
      ...(onWarning && { onWarning }),
    })
    if (reader.id === id) return reader
    await reader.close()
    throw new ColloquyError('settings_invalid', { field: 'readUrl', problem: `it leads to log ${reader.id}, not to ${id}` })
  } catch (error) {
    if (!isColloquyError(error, 'database_unreachable')) throw error
    const warn = onWarning ?? warnOnce
    warn(`The standby to read from cannot be used, so that reads burden the server that appends. ${error.message}`)
    return undefined
  }
}

async function openOne(options: PostgresOptions): Promise<PostgresLog> {
  const { statementTimeoutMs = 30_000, deadlineMs = defaultDeadlineMs } = options
  // An append that got no answer has time for others within its deadline.
  const connection = await connect(options, { statementMs: statementTimeoutMs, appendMs: Math.ceil(deadlineMs / 4) })
  try {
    return await openLog(connection, options, (settings) => judge(settings, connection.target, options))
  } catch (error) {
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
