/** The schema: `migrations/*.sql`, applied in the order of their names by Kysely's Migrator. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { ColloquyError } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { distribute } from '../citus/distribute.ts'
import { connect, type PostgresTarget } from '../connections/connect.ts'
import type { Connection } from '../connections/connection.ts'
import { toColloquyError } from '../connections/failures.ts'
import type { Database } from './database.ts'
import { assertPartitions, createPartitions, readPartitions } from './partitions.ts'
import { grantRoles, type Roles } from './roles.ts'

/** Partitions of a new database on a server; an embedded one gets 1, and with it a total order. */
const defaultServerPartitions = 64

/**
 * Brings the schema up to date; a new database gets `partitions` (default 64), which never change. Any number of processes may do this
 * at once: one applies, the others wait and find nothing to do. `roles` are given what they need and nothing more, on every call.
 * @returns the names of the migrations that were applied now, and of the roles that were missing and are made now, which cannot log in yet
 * @throws `schema_newer`, `partitions_differ`, `settings_invalid` for a number of partitions, `id_invalid` for a role, `citus_unfit`,
 * `database_unreachable`, `database_failed`
 */
export async function migrate(
  options: PostgresTarget & {
    readonly partitions?: number
    readonly roles?: Roles
    /** `citus` spreads the log over the nodes of a cluster as well. Default `postgres`. */
    readonly engine?: 'postgres' | 'citus'
  },
): Promise<{ readonly applied: readonly string[]; readonly createdRoles: readonly string[] }> {
  const { partitions = defaultServerPartitions, roles } = options
  assertPartitions(partitions)
  // The longest statement of a migration may take as long as it takes.
  const connection = await connect(options, { statementMs: 0, appendMs: 0 })
  try {
    const applied = await applyMigrations(connection, partitions)
    await readPartitions(connection.kysely, options.partitions)
    if (options.engine === 'citus') await distribute(connection.kysely)
    return { applied, createdRoles: roles ? await grantRoles(connection.kysely, roles) : [] }
  } catch (error) {
    throw toColloquyError(error, 'migrate', connection.target)
  } finally {
    await connection.close()
  }
}

/** Applies what is missing. @throws `schema_newer`, and what the driver throws */
export async function applyMigrations({ kysely }: Connection, partitions: number): Promise<string[]> {
  await schemaVersion(kysely)
  const migrator = new Migrator({
    db: kysely,
    provider: { getMigrations: () => readMigrations(partitions) },
    // Names of our own: the application may keep migrations by Kysely in the same schema.
    migrationTableName: 'colloquy_migration',
    migrationLockTableName: 'colloquy_migration_lock',
  })
  const { error, results = [] } = await migrator.migrateToLatest()
  if (error !== undefined) throw error
  return results.map(({ migrationName }) => migrationName)
}

/** @throws `schema_missing`, `schema_newer`, and what the driver throws */
export async function checkSchema({ kysely }: Connection): Promise<void> {
  const { found, needed } = await schemaVersion(kysely)
  if (found !== needed) throw new ColloquyError('schema_missing', { found, needed })
}

/** The last migration that was applied, and the last there is. @throws `schema_newer` when one was applied that we do not know */
export async function schemaVersion(
  kysely: Kysely<Database>,
): Promise<{ readonly found: string | null; readonly needed: string }> {
  const known = await migrationNames()
  const needed = known.at(-1) ?? ''
  const applied = await appliedMigrations(kysely)
  const found = applied.at(-1) ?? null
  if (found !== null && applied.some((name) => !known.includes(name)))
    throw new ColloquyError('schema_newer', { found, known: needed })
  return { found, needed }
}

async function appliedMigrations(kysely: Kysely<Database>): Promise<string[]> {
  // Asked for by name first: selecting from a table that is not there is an error, and would end a transaction of the caller.
  const { rows } = await sql<{ exists: boolean }>`select to_regclass('colloquy_migration') is not null as exists`.execute(kysely)
  if (rows[0]?.exists !== true) return []
  const applied = await kysely.selectFrom('colloquy_migration').select('name').orderBy('name').execute()
  return applied.map(({ name }) => name)
}

/** In a package beside `dist`; in the repository at its root. */
export const migrationsDirectory = ['../../migrations/', '../../../../migrations/']
  .map((path) => new URL(path, import.meta.url))
  .find((url) => existsSync(url)) as URL

async function migrationNames(): Promise<string[]> {
  const files = await readdir(migrationsDirectory)
  return files
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.slice(0, -'.sql'.length))
    .sort()
}

/** Of the text of all migrations: what a database that is at the last of them was made of. */
export async function migrationsHash(): Promise<string> {
  const hash = createHash('sha256')
  for (const name of await migrationNames()) hash.update(name).update(await readFile(new URL(`${name}.sql`, migrationsDirectory)))
  return hash.digest('hex')
}

async function readMigrations(partitions: number): Promise<Record<string, Migration>> {
  const names = await migrationNames()
  const [first] = names
  const migrations = names.map(async (name): Promise<[string, Migration]> => {
    const text = await readFile(new URL(`${name}.sql`, migrationsDirectory), 'utf8')
    const up = async (kysely: Kysely<Database>): Promise<void> => {
      // Citus refuses to change several distributed tables in parallel in one transaction. No other server knows the setting, or minds.
      await sql`select set_config('citus.multi_shard_modify_mode', 'sequential', true)`.execute(kysely)
      // One by one: PGlite takes no two commands in one call.
      for (const statement of text.split(/^-- statement-break$/m)) await sql.raw(statement).execute(kysely)
      // In the same transaction, so that of two migrators with two wishes only one is heard.
      if (name === first) await createPartitions(kysely, partitions)
    }
    return [name, { up }]
  })
  return Object.fromEntries(await Promise.all(migrations))
}
