/**
 * Who may do what. The owner migrates; the application writes what an append writes, of the tenants it names; a worker reads every
 * tenant and keeps its place in the feed; an auditor reads. None of them can change or take away an envelope.
 */
import { ColloquyError } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import { codeOf } from '../connections/failures.ts'
import type { Database } from './database.ts'

/** Names of roles. One that is missing is created without a login, to be granted to those that log in. */
export interface Roles {
  readonly app?: string
  readonly worker?: string
  readonly auditor?: string
}

type Kind = keyof Roles

const reads = 'select'

/** The rights of each role on each table. A table that is not here is closed to all of them. */
const rights: Readonly<Record<keyof Database, Readonly<Record<Kind, string>>>> = {
  partition: { app: 'select, update (last_feed_position, last_conversation_no)', worker: reads, auditor: reads },
  conversation: {
    app: 'select, insert, update (head_position, head_hash, head_occurred_at, archived)',
    worker: reads,
    auditor: reads,
  },
  envelope: { app: 'select, insert', worker: reads, auditor: reads },
  media: { app: 'select, insert', worker: reads, auditor: reads },
  snapshot: { app: 'select, insert, update (body)', worker: reads, auditor: reads },
  subscription: { app: 'select, insert, update, delete', worker: 'select, insert, update, delete', auditor: reads },
  subscriber: { app: 'select, insert, update, delete', worker: 'select, insert, update, delete', auditor: reads },
  dead_letter: { app: 'select, insert, update, delete', worker: 'select, insert, update, delete', auditor: reads },
  interaction: { app: 'select, insert, update, delete', worker: 'select, insert, update, delete', auditor: reads },
  own_interaction: { app: reads, worker: reads, auditor: reads },
  colloquy_migration: { app: reads, worker: reads, auditor: reads },
}

/** Tables with rows of tenants: row-level security holds on them. */
export const tenantTables = [
  'conversation',
  'envelope',
  'media',
  'snapshot',
  'dead_letter',
  'interaction',
] as const satisfies readonly (keyof Database)[]

/** What an append writes, and what is stored beside it. */
const logTables = ['partition', 'conversation', 'envelope', 'media', 'snapshot'] as const satisfies readonly (keyof Database)[]

/** Whether the current role may write anything of the log, and what it lacks of what an application may. */
export async function readWriteRights(
  kysely: Kysely<Database>,
): Promise<{ readonly mayWrite: boolean; readonly missing: readonly string[] }> {
  const needed = logTables.flatMap((table) =>
    [...rights[table].app.matchAll(/(insert|update)(?: \((.+?)\))?/g)].map(([, right, columns = null]) => ({
      table,
      right,
      columns,
    })),
  )
  const { rows } = await sql<{ mayWrite: boolean; missing: string[] }>`
    with needed as (
      select "table", "right", coalesce(case when columns is null then has_table_privilege(to_regclass("table"), "right") else (
        select bool_and(has_column_privilege(attrelid, attnum, "right")) from pg_attribute
        where attrelid = to_regclass("table") and attname = any (string_to_array(columns, ', '))
      ) end, false) as held
      from (values ${sql.join(needed.map(({ table, right, columns }) => sql`(${table}::text, ${right}::text, ${columns}::text)`))})
        as n ("table", "right", columns)
    ), functions as (
      select oid::regprocedure::text as signature from pg_proc
      where pronamespace = current_schema()::regnamespace and starts_with(proname, 'log_') and not has_function_privilege(oid, 'execute')
    )
    select bool_or(held) as "mayWrite", array(
      select "right" || ' on ' || "table" from needed where not held
      union all select 'execute on ' || signature from functions
    ) as missing
    from needed
  `.execute(kysely)
  return rows[0] as { mayWrite: boolean; missing: string[] }
}

/**
 * Gives the roles these rights and no others on our tables. Idempotent, and any number of processes may do it at once.
 * @returns the names of those that were missing and are made now @throws `id_invalid`, and what the driver throws
 */
export async function grantRoles(kysely: Kysely<Database>, roles: Roles): Promise<string[]> {
  const named = (['app', 'worker', 'auditor'] as const).flatMap((kind) => {
    const name = roles[kind]
    return name === undefined ? [] : [{ kind, name }]
  })
  for (const [i, { kind, name }] of named.entries()) {
    const former = named.slice(0, i).find((other) => other.name === name)
    if (former) throw unusable(kind, name, `it is the ${former.kind} already, and what one may do the other must not`)
    await assertNoOwner(kysely, kind, name)
  }
  const created: string[] = []
  for (const { name } of named) if (await createMissing(kysely, name)) created.push(name)
  await kysely.transaction().execute(async (trx) => {
    // One after the other: the catalog refuses two who grant on one table at once. Nobody but a migrator waits for this table.
    await sql`lock table colloquy_migration_lock in exclusive mode`.execute(trx)
    // A policy wants the table for itself. Who waits for that behind a long transaction makes everybody else wait too.
    await sql`set local lock_timeout = '5s'`.execute(trx)
    for (const { kind, name } of named) await grantTo(trx, kind, name)
  })
  return created
}

async function grantTo(trx: Kysely<Database>, kind: Kind, name: string): Promise<void> {
  const role = sql.id(name)
  const schema = await sql<{ name: string }>`select current_schema()::text as name`.execute(trx)
  await sql`grant usage on schema ${sql.id(schema.rows[0]?.name ?? 'public')} to ${role}`.execute(trx)
  for (const [table, byKind] of Object.entries(rights)) {
    await sql`revoke all on ${sql.table(table)} from ${role}`.execute(trx)
    // From the list above, and nothing that a caller gives.
    await sql`grant ${sql.raw(byKind[kind])} on ${sql.table(table)} to ${role}`.execute(trx)
  }
  if (kind === 'app') await grantFunctions(trx, name)
  for (const table of tenantTables) await showEveryTenant(trx, table, name, kind !== 'app')
}

async function assertNoOwner(kysely: Kysely<Database>, kind: Kind, name: string): Promise<void> {
  const { rows } = await sql`
    select from pg_class join pg_roles r on r.oid = relowner where pg_class.oid = to_regclass('envelope') and rolname = ${name}
  `.execute(kysely)
  if (rows.length > 0) throw unusable(kind, name, 'it owns the tables, and an owner has every right on them')
}

const unusable = (kind: Kind, name: string, problem: string): ColloquyError =>
  new ColloquyError('id_invalid', { kind: `role ${name} (${kind})`, problem })

/** @returns whether it was missing */
async function createMissing(kysely: Kysely<Database>, name: string): Promise<boolean> {
  const { rows } = await sql`select from pg_roles where rolname = ${name}`.execute(kysely)
  if (rows.length > 0) return false
  try {
    await sql`create role ${sql.id(name)} nologin`.execute(kysely)
    return true
  } catch (error) {
    // Roles are the server's: somebody else, in another database as well, may have made it meanwhile.
    if (codeOf(error) === '42710' || codeOf(error) === '23505') return false
    throw error
  }
}

async function grantFunctions(trx: Kysely<Database>, name: string): Promise<void> {
  const { rows } = await sql<{ signature: string }>`
    select oid::regprocedure::text as signature
    from pg_proc where pronamespace = current_schema()::regnamespace and starts_with(proname, 'log_')
  `.execute(trx)
  for (const { signature } of rows) await sql`grant execute on function ${sql.raw(signature)} to ${sql.id(name)}`.execute(trx)
}

/** One policy a table for all who see every tenant; without anybody there is none. */
async function showEveryTenant(trx: Kysely<Database>, table: string, name: string, isShown: boolean): Promise<void> {
  const { rows } = await sql<{ found: number; roles: string[] }>`
    select cardinality(polroles) as found, array(select rolname::text from pg_roles where oid = any (polroles) order by 1) as roles
    from pg_policy where polrelid = to_regclass(${table}) and polname = 'every_tenant'
  `.execute(trx)
  const [present] = rows
  const others = (present?.roles ?? []).filter((role) => role !== name)
  const wanted = isShown ? [...others, name] : others
  // Everybody, to whom somebody may have given the policy, is counted and is no role.
  if (present?.found === wanted.length && present.roles.includes(name) === isShown) return
  const policy = sql`policy every_tenant on ${sql.table(table)}`
  const to = sql.join(wanted.map((role) => sql.id(role)))
  if (present && wanted.length === 0) await sql`drop ${policy}`.execute(trx)
  else if (present) await sql`alter ${policy} to ${to}`.execute(trx)
  else if (wanted.length > 0) await sql`create ${policy} to ${to} using (true)`.execute(trx)
}
