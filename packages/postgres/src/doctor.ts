import { isColloquyError } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import { connect, type PostgresTarget } from './connect.ts'
import type { Database } from './database.ts'
import { toColloquyError } from './failures.ts'
import { schemaVersion } from './migrate.ts'
import { readPartitions } from './partitions.ts'

export interface Check {
  readonly name: string
  /** `warn`: it works, but a promise is weaker. `fail`: a promise does not hold. */
  readonly status: 'ok' | 'warn' | 'fail'
  readonly found: string
  /** What to do, or why it is as it is; null when there is nothing to say. */
  readonly advice: string | null
}

/**
 * Looks whether a database can keep the log's promises. Takes an opened log too. Reads only.
 * @throws `database_unreachable`, `database_failed`
 */
export async function doctor(target: PostgresTarget): Promise<readonly Check[]> {
  const connection = await connect(target, { statementMs: 30_000, appendMs: 0 })
  try {
    return await examine(connection.kysely)
  } catch (error) {
    throw toColloquyError(error, 'answer the doctor', connection.target)
  } finally {
    await connection.close()
  }
}

interface Settings {
  readonly version: string
  readonly version_number: string
  readonly fsync: string
  readonly synchronous_commit: string
  readonly full_page_writes: string
  readonly encoding: string
  readonly isolation: string
  readonly role: string
  readonly is_superuser: boolean
  readonly owner: string | null
}

async function examine(kysely: Kysely<Database>): Promise<Check[]> {
  const { rows } = await sql<Settings>`
    select
      version() as version,
      current_setting('server_version_num') as version_number,
      current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as synchronous_commit,
      current_setting('full_page_writes') as full_page_writes,
      current_setting('server_encoding') as encoding,
      current_setting('default_transaction_isolation') as isolation,
      current_user::text as role,
      (select rolsuper from pg_roles where rolname = current_user) as is_superuser,
      (select pg_get_userbyid(relowner)::text from pg_class where oid = to_regclass('envelope')) as owner
  `.execute(kysely)
  const settings = rows[0] as Settings
  // PGlite is Postgres compiled to WebAssembly, and says so.
  const isEmbedded = settings.version.includes('emscripten')
  return [
    checkVersion(settings),
    await checkSchemaVersion(kysely),
    checkFsync(settings, isEmbedded),
    checkSynchronousCommit(settings),
    checkFullPageWrites(settings, isEmbedded),
    checkEncoding(settings),
    checkIsolation(settings),
    checkRole(settings, isEmbedded),
    await checkPartitions(kysely, settings.owner !== null),
  ]
}

const check = (name: string, status: Check['status'], found: string, advice: string | null = null): Check => ({
  name,
  status,
  found,
  advice,
})

const oldestVersion = 15

function checkVersion({ version, version_number }: Settings): Check {
  const major = Math.floor(Number(version_number) / 10_000)
  if (major >= oldestVersion) return check('server version', 'ok', version)
  return check('server version', 'fail', version, `Upgrade to Postgres ${oldestVersion} or later; Colloquy is tested on 18.`)
}

async function checkSchemaVersion(kysely: Kysely<Database>): Promise<Check> {
  try {
    const { found, needed } = await schemaVersion(kysely)
    if (found === needed) return check('schema version', 'ok', found)
    return check('schema version', 'fail', found ?? 'none', `Run "colloquy migrate" to bring it to ${needed}.`)
  } catch (error) {
    if (!isColloquyError(error, 'schema_newer')) throw error
    return check(
      'schema version',
      'fail',
      error.details.found,
      `Upgrade Colloquy: this version knows ${error.details.known} at most.`,
    )
  }
}

function checkFsync({ fsync }: Settings, isEmbedded: boolean): Check {
  if (fsync === 'on') return check('fsync', 'ok', fsync)
  return isEmbedded
    ? check(
        'fsync',
        'warn',
        fsync,
        'PGlite runs without it: appends survive the end of the process, but not a power cut. Use Postgres where that matters.',
      )
    : check(
        'fsync',
        'fail',
        fsync,
        'Turn it on: acknowledged appends would be lost, and data damaged, in a crash of the machine.',
      )
}

function checkSynchronousCommit({ synchronous_commit: found }: Settings): Check {
  if (found !== 'off') return check('synchronous_commit', 'ok', found)
  return check(
    'synchronous_commit',
    'warn',
    found,
    'Turn it on for the role of the application: a crash of the server loses appends that were acknowledged.',
  )
}

function checkFullPageWrites({ full_page_writes: found }: Settings, isEmbedded: boolean): Check {
  if (found === 'on') return check('full_page_writes', 'ok', found)
  return isEmbedded
    ? check('full_page_writes', 'warn', found, 'As with fsync: a power cut may damage the directory.')
    : check(
        'full_page_writes',
        'fail',
        found,
        'Turn it on, unless the file system writes whole pages: a power cut may tear pages.',
      )
}

function checkEncoding({ encoding }: Settings): Check {
  if (encoding === 'UTF8') return check('encoding', 'ok', encoding)
  return check('encoding', 'fail', encoding, 'Create the database with encoding UTF8: others cannot hold every id and name.')
}

function checkIsolation({ isolation }: Settings): Check {
  if (isolation === 'read committed') return check('isolation', 'ok', isolation)
  return check(
    'isolation',
    'warn',
    isolation,
    'Set default_transaction_isolation to read committed: appends ask for it each time, in three round trips for one.',
  )
}

function checkRole({ role, is_superuser, owner }: Settings, isEmbedded: boolean): Check {
  if (isEmbedded) return check('role', 'ok', role, 'Roles separate nothing inside one process.')
  if (is_superuser)
    return check(
      'role',
      'warn',
      `${role}, a superuser`,
      'Let the application use a role of its own: this one may change history and sees every tenant.',
    )
  if (role === owner)
    return check(
      'role',
      'warn',
      `${role}, the owner of the tables`,
      'Let the application use a role that may insert into envelope but not update it.',
    )
  return check('role', 'ok', role)
}

async function checkPartitions(kysely: Kysely<Database>, exists: boolean): Promise<Check> {
  if (!exists) return check('partitions', 'fail', 'none', 'Run "colloquy migrate".')
  try {
    return check('partitions', 'ok', String(await readPartitions(kysely)))
  } catch (error) {
    if (!isColloquyError(error, 'database_failed')) throw error
    return check(
      'partitions',
      'fail',
      error.details.problem,
      'Restore the partition table from a backup: positions are counted there.',
    )
  }
}
