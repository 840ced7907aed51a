import { isColloquyError } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import { preflight } from '../citus/preflight.ts'
import { connect, type PostgresTarget } from '../connections/connect.ts'
import { toColloquyError } from '../connections/failures.ts'
import type { Database } from '../schema/database.ts'
import { schemaVersion } from '../schema/migrate.ts'
import { readPartitions } from '../schema/partitions.ts'
import { readWriteRights, tenantTables } from '../schema/roles.ts'
import { missingFacts } from '../schema/schema-facts.ts'
import { readSettings, type Settings } from '../schema/settings.ts'
import type { Check } from './check.ts'

/**
 * Looks whether a database can keep the log's promises. Takes an opened log too. Reads only.
 * @throws `database_unreachable`, `database_failed`
 */
export async function doctor(target: PostgresTarget): Promise<readonly Check[]> {
  const connection = await connect(target, { statementMs: 0, appendMs: 0 })
  try {
    return await examine(connection.kysely)
  } catch (error) {
    throw toColloquyError(error, 'answer the doctor', connection.target)
  } finally {
    await connection.close()
  }
}

async function examine(kysely: Kysely<Database>): Promise<Check[]> {
  const settings = await readSettings(kysely)
  const exists = settings.owner !== null
  const schema = await checkSchemaVersion(kysely)
  return [
    checkVersion(settings),
    schema,
    ...(schema.status === 'ok' ? [await checkSchema(kysely)] : []),
    checkFsync(settings),
    checkSynchronousCommit(settings),
    checkStandbys(settings),
    checkFullPageWrites(settings),
    checkEncoding(settings),
    checkIsolation(settings),
    checkStatementTimeout(settings),
    ...(exists ? await checkRights(kysely, settings) : [checkRole(settings)]),
    await checkPartitions(kysely, exists),
    ...(settings.isCluster ? await preflight(kysely) : []),
  ]
}

const check = (name: string, status: Check['status'], found: string, advice: string | null = null): Check => ({
  name,
  status,
  found,
  advice,
})

const oldestVersion = 15

function checkVersion({ version, versionNumber }: Settings): Check {
  const major = Math.floor(versionNumber / 10_000)
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

async function checkSchema(kysely: Kysely<Database>): Promise<Check> {
  const missing = await missingFacts(kysely)
  if (missing.length === 0) return check('schema', 'ok', 'as migrated')
  return check(
    'schema',
    'fail',
    `${missing.length} differences`,
    `Restore what was dropped or changed: ${missing.slice(0, 5).join('; ')}${missing.length > 5 ? '; ...' : ''}`,
  )
}

function checkFsync({ fsync, isEmbedded }: Settings): Check {
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

function checkSynchronousCommit({ synchronousCommit: found }: Settings): Check {
  if (found !== 'off') return check('synchronous_commit', 'ok', found)
  return check(
    'synchronous_commit',
    'warn',
    found,
    'Turn it on for the role of the application: a crash of the server loses appends that were acknowledged.',
  )
}

/** For information: the choice between never losing an acknowledged append in a fail-over, and going on while the standby is away. */
function checkStandbys({ synchronousStandbys, isStandby }: Settings): Check {
  if (isStandby) return check('standbys', 'ok', 'this is one', 'It answers reads, and refuses the rest until it is promoted.')
  if (synchronousStandbys !== '') return check('standbys', 'ok', synchronousStandbys)
  return check(
    'standbys',
    'ok',
    'none that commits wait for',
    'A fail-over to an asynchronous standby may lose acknowledged appends; who holds them is told history_rewound.',
  )
}

function checkFullPageWrites({ fullPageWrites: found, isEmbedded }: Settings): Check {
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

function checkStatementTimeout({ statementTimeout: found }: Settings): Check {
  if (found !== '0') return check('statement_timeout', 'ok', found)
  return check(
    'statement_timeout',
    'ok',
    'none',
    'Set one for the role of the application, so that the server ends what nobody waits for.',
  )
}

async function checkRights(kysely: Kysely<Database>, settings: Settings): Promise<Check[]> {
  const { mayWrite, missing } = await readWriteRights(kysely)
  return [
    checkRole(settings, mayWrite ? missing : 'all'),
    await checkAppendOnly(kysely, settings),
    await checkTriggers(kysely),
    await checkRowSecurity(kysely, settings, mayWrite),
  ]
}

/** `missing`: of the rights to append. */
function checkRole({ role, isSuperuser, owner, isEmbedded }: Settings, missing: readonly string[] | 'all' = []): Check {
  if (isEmbedded) return check('role', 'ok', role, 'Roles separate nothing inside one process.')
  if (isSuperuser)
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
  if (missing === 'all')
    return check(
      'role',
      'ok',
      `${role}, which may only read the log`,
      `Appends are refused. An application gets its rights from "colloquy migrate --roles app=...".`,
    )
  if (missing.length > 0)
    return check(
      'role',
      'fail',
      `${role} lacks ${missing.join(', ')}`,
      `Give it back, by "colloquy migrate --roles app=${role}": appends are refused without it.`,
    )
  return check('role', 'ok', role)
}

/** Of a role that the database holds to its rights; what others may do is said under `role`. */
async function checkAppendOnly(kysely: Kysely<Database>, { role, owner, isSuperuser }: Settings): Promise<Check> {
  if (isSuperuser || role === owner) return check('append only', 'ok', 'not held by rights', 'See role.')
  const { rows } = await sql<{ right: string }>`
    select r || ' on ' || t as "right" from unnest(array['envelope', 'conversation']) t, unnest(array['delete', 'truncate', 'trigger']) r
    where has_table_privilege(to_regclass(t), r)
    union all select 'update on envelope' where has_any_column_privilege('envelope', 'update')
    order by 1
  `.execute(kysely)
  if (rows.length === 0) return check('append only', 'ok', 'envelopes are only added')
  return check(
    'append only',
    'fail',
    `${role} has ${rows.map(({ right }) => right).join(', ')}`,
    'Take that away ("colloquy migrate --roles" narrows a role): history could be changed.',
  )
}

/** What runs inside an append that is not ours may change what is stored, although the append is acknowledged. */
async function checkTriggers(kysely: Kysely<Database>): Promise<Check> {
  const { rows } = await sql<{ name: string; replaces: boolean }>`
    with logged as (select to_regclass(name) as oid from unnest(array['partition', 'conversation', 'envelope']) name)
    select tgname || ' on ' || tgrelid::regclass as name, tgtype & 2 > 0 as replaces from pg_trigger
    where tgrelid in (select oid from logged) and not tgisinternal and tgenabled <> 'D' and tgtype & 28 > 0
    union all
    select rulename || ' on ' || ev_class::regclass, true from pg_rewrite
    where ev_class in (select oid from logged) and ev_enabled <> 'D'
    order by 1
  `.execute(kysely)
  if (rows.length === 0) return check('triggers', 'ok', 'none')
  return check(
    'triggers',
    rows.some(({ replaces }) => replaces) ? 'fail' : 'warn',
    rows.map(({ name }) => name).join(', '),
    'Drop them and use a durable subscription: an append is acknowledged whatever a trigger or a rule makes of its rows.',
  )
}

/** `mayWrite`: whether the role may append. */
async function checkRowSecurity(kysely: Kysely<Database>, settings: Settings, mayWrite: boolean): Promise<Check> {
  const { rows } = await sql<{ name: string }>`
    select relname::text as name from pg_class
    where oid in (select to_regclass(name) from unnest(array[${sql.join(tenantTables)}]::text[]) name) and not relrowsecurity
    order by 1
  `.execute(kysely)
  if (rows.length > 0) {
    const names = rows.map(({ name }) => name).join(', ')
    return check('row security', 'fail', `off on ${names}`, `Turn it on: alter table ... enable row level security.`)
  }
  const widening = await wideningPolicies(kysely)
  if (widening.length > 0)
    return check(
      'row security',
      widening.some(({ isWide }) => isWide) ? 'fail' : 'warn',
      `widened by ${widening.map(({ name }) => name).join(', ')}`,
      'Drop these policies, or make them restrictive: what one permissive policy lets a role see, the others do not hide.',
    )
  const { role, owner, isSuperuser, bypassesRowSecurity, isEmbedded, seesAllTenants } = settings
  if (isEmbedded) return check('row security', 'ok', 'on', 'The one role of an embedded store passes it by.')
  if (isSuperuser || role === owner) return check('row security', 'ok', 'on', 'The role passes it by; see role.')
  if (bypassesRowSecurity)
    return check(
      'row security',
      'warn',
      `${role} bypasses it`,
      'Take the attribute BYPASSRLS away; a worker gets its sight from "colloquy migrate --roles".',
    )
  if (!seesAllTenants) return check('row security', 'ok', 'on')
  if (!mayWrite) return check('row security', 'ok', 'on; this role sees every tenant')
  return check(
    'row security',
    'warn',
    `${role} may append and sees every tenant`,
    `Narrow it, by "colloquy migrate --roles app=${role}", and let it be no member of a worker: an application sees one tenant at a time.`,
  )
}

/** Policies that are not ours and let somebody see more. `isWide`: everybody, or this role. */
async function wideningPolicies(
  kysely: Kysely<Database>,
): Promise<readonly { readonly name: string; readonly isWide: boolean }[]> {
  const { rows } = await sql<{ name: string; isWide: boolean }>`
    select polname || ' on ' || polrelid::regclass as name,
      (select bool_or(grantee = 0 or pg_has_role(current_user, grantee, 'usage')) from unnest(polroles) as grantee) as "isWide"
    from pg_policy
    where polrelid in (select to_regclass(name) from unnest(array[${sql.join(tenantTables)}]::text[]) name)
      and polpermissive and (polname not in ('own_tenants', 'every_tenant') or polname = 'every_tenant' and 0 = any (polroles))
    order by 1
  `.execute(kysely)
  return rows
}

async function checkPartitions(kysely: Kysely<Database>, exists: boolean): Promise<Check> {
  if (!exists) return check('partitions', 'fail', 'none', 'Run "colloquy migrate".')
  try {
    return check('partitions', 'ok', String((await readPartitions(kysely)).partitions))
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
