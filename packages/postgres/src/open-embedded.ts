import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { PGliteOptions } from '@electric-sql/pglite'
import { Kysely, PGliteDialect } from 'kysely'
import type { AppendOptions } from './append.ts'
import type { Connection } from './connection.ts'
import type { Database } from './database.ts'
import { lockDirectory } from './directory-lock.ts'
import { toColloquyError } from './failures.ts'
import { int8Oid, safeInteger } from './int8.ts'
import { applyMigrations } from './migrate.ts'
import { openLog, type PostgresLog } from './postgres-log.ts'

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
 * @throws `directory_locked`, `schema_newer`, `partitions_differ`, `database_failed`
 */
export async function openEmbeddedLog(options: EmbeddedOptions): Promise<PostgresLog> {
  const connection = 'memory' in options ? await startPglite() : await startInDirectory(resolve(options.directory))
  try {
    await applyMigrations(connection, options.partitions ?? 1)
    return await openLog(connection, options)
  } catch (error) {
    await connection.close()
    throw toColloquyError(error, 'open the log', connection.target)
  }
}

async function startInDirectory(directory: string): Promise<Connection> {
  // Conversations are nobody else's business on this machine.
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(directory)
  try {
    const connection = await startPglite(directory)
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

const byteaOid = 17

async function startPglite(directory?: string): Promise<Connection> {
  const { PGlite } = await import('@electric-sql/pglite')
  const pglite = await PGlite.create({
    ...(directory !== undefined && { dataDir: join(directory, 'postgres') }),
    parsers: { [int8Oid]: safeInteger, [byteaOid]: (hex) => Buffer.from(hex.slice(2), 'hex') },
    // Bytes go as they are. PGlite's own way, in hex and a byte at a time, takes seconds for a megabyte.
    serializers: { [byteaOid]: (bytes: Uint8Array) => bytes } as unknown as NonNullable<PGliteOptions['serializers']>,
  })
  // Nothing gathers statistics here, and a planner without them would rather sort a whole feed than follow its index.
  await pglite.exec('set enable_bitmapscan = off')
  return {
    kysely: new Kysely<Database>({ dialect: new PGliteDialect({ pglite }) }),
    target: directory ?? 'memory',
    close: () => pglite.close(),
  }
}
