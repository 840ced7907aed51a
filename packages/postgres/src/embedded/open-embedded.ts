import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ColloquyError, isColloquyError } from '@colloquy/core'
import { Kysely } from 'kysely'
import type { AppendOptions } from '../append/append.ts'
import type { Connection } from '../connections/connection.ts'
import { textOf, toColloquyError } from '../connections/failures.ts'
import { pgliteDialect } from '../connections/pglite-dialect.ts'
import { logOver, type PostgresLog } from '../postgres-log.ts'
import type { Database } from '../schema/database.ts'
import { applyMigrations, migrationsHash, schemaVersion } from '../schema/migrate.ts'
import { assertPartitions, forgetLogId, readOwnPartitions } from '../schema/partitions.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import { cachedTemplate, type Template, unpackTemplate } from './embedded-template.ts'

export type EmbeddedOptions = AppendOptions &
  ({ readonly directory: string } | { readonly memory: true }) & {
    /** How many partitions the database must have; a new one gets them (default 1, which gives a total order). */
    readonly partitions?: number
  }

/**
 * The log in a Postgres inside this process (PGlite), in a directory of its own or in memory. Brings the schema up to date itself.
 *
 * A directory serves one process at a time and is locked. PGlite writes without fsync: what was appended survives the end of the
 * process, also by force, but a power cut may lose or damage it.
 * @throws `directory_locked`, `schema_newer`, `partitions_differ`, `database_failed`, `settings_invalid` for a directory that cannot be
 * made or written, or for a number of partitions
 */
export async function openEmbeddedLog(options: EmbeddedOptions): Promise<PostgresLog> {
  const partitions = options.partitions ?? 1
  assertPartitions(partitions)
  const connection = await ('memory' in options
    ? startInMemory(partitions)
    : startInDirectory(resolve(options.directory), partitions))
  try {
    const { found, needed } = await schemaVersion(connection.kysely)
    if (found !== needed) await applyMigrations(connection, partitions)
    return logOver(connection, { ...settings, ...(await readOwnPartitions(connection.kysely, options.partitions)) }, options)
  } catch (error) {
    await connection.close()
    throw toColloquyError(error, 'open the log', connection.target)
  }
}

/** Not asked for: the database is ours alone, and the session is started by us. To ask takes a tenth of an opening. */
const settings = {
  isCluster: false,
  isReadOnly: false,
  isolation: 'read committed',
  role: 'postgres',
  seesAllTenants: true,
} as const

async function startInMemory(partitions: number): Promise<Connection> {
  try {
    return await startPglite({ template: await template(partitions) })
  } catch (error) {
    throw toColloquyError(error, 'start', 'memory')
  }
}

async function startInDirectory(directory: string, partitions: number): Promise<Connection> {
  const lock = await lockOwn(directory)
  try {
    const database = join(directory, 'postgres')
    const { beginCompiling } = await import('./engine.ts')
    await beginCompiling()
    if (!existsSync(database)) await unpackTemplate(await template(partitions), database)
    const connection = await startPglite({ directory })
    return {
      ...connection,
      close: async () => {
        await connection.close()
        await lock.release()
      },
    }
  } catch (error) {
    await lock.release()
    throw toColloquyError(error, 'start', directory)
  }
}

/** Makes the directory and locks it. @throws `directory_locked`, `settings_invalid` */
async function lockOwn(directory: string): Promise<DirectoryLock> {
  try {
    // Conversations are nobody else's business on this machine.
    await mkdir(directory, { recursive: true, mode: 0o700 })
    return await lockDirectory(directory)
  } catch (error) {
    if (isColloquyError(error)) throw error
    throw new ColloquyError('settings_invalid', { field: 'directory', problem: textOf(error) }, { cause: error })
  }
}

async function startPglite({
  directory,
  template: beginning,
}: {
  readonly directory?: string
  readonly template?: Template
}): Promise<Connection> {
  const { startEngine } = await import('./engine.ts')
  const pglite = await startEngine({
    ...(directory !== undefined && { dataDir: join(directory, 'postgres') }),
    ...(beginning !== undefined && { loadDataDir: new Blob([beginning]) }),
    settings: [`default_transaction_isolation=${settings.isolation}`],
  })
  return {
    kysely: new Kysely<Database>({ dialect: pgliteDialect(pglite) }),
    target: directory ?? 'memory',
    close: () => pglite.close(),
  }
}

/** An empty log, as bytes. */
async function template(partitions: number): Promise<Template> {
  const contents = [await pgliteVersion(), await migrationsHash(), String(partitions), 'one database', ...initdbSettings]
  return cachedTemplate(contents, async () => {
    const { PGlite } = await import('@electric-sql/pglite')
    const pglite = await PGlite.create({
      initDbStartParams: initdbSettings,
      startParams: [...PGlite.defaultStartParams, '-c', 'wal_recycle=off'],
    })
    try {
      const connection = {
        kysely: new Kysely<Database>({ dialect: pgliteDialect(pglite) }),
        target: 'memory',
        close: async () => {},
      }
      await applyMigrations(connection, partitions)
      await forgetLogId(connection.kysely)
      // Nobody makes another database in here, and to copy the 300 files of each takes longer than all the rest of an opening.
      for (const unused of ['template0', 'template1']) {
        await pglite.exec(`update pg_database set datistemplate = false where datname = '${unused}'`)
        await pglite.exec(`drop database ${unused}`)
      }
      // So that who starts with it has no log to go through, and next to nothing of it to copy.
      await pglite.exec('select pg_switch_wal()')
      await pglite.exec('checkpoint')
      const dump = await pglite.dumpDataDir('none')
      return new Uint8Array(await dump.arrayBuffer())
    } finally {
      await pglite.close()
    }
  })
}

/** A new log is copied with a segment of the write-ahead log that is nearly empty; Postgres makes them of 16 MB. */
const initdbSettings = ['--wal-segsize=8']

async function pgliteVersion(): Promise<string> {
  const main = fileURLToPath(import.meta.resolve('@electric-sql/pglite'))
  const { version } = JSON.parse(await readFile(join(dirname(main), '..', 'package.json'), 'utf8')) as { version: string }
  return version
}
