/**
 * Who may do what. The owner migrates; the application writes what an append writes, of the tenants it names; a worker reads every
 * tenant and keeps its place in the feed; an auditor reads. None of them can change or take away an envelope.
 */
import { ColloquyError } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
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

/** Gives the roles these rights and no others on our tables. Idempotent. @throws `id_invalid`, and what the driver throws */
export async function grantRoles(kysely: Kysely<Database>, roles: Roles): Promise<void> {
  const kinds = (['app', 'worker', 'auditor'] as const).filter((kind) => roles[kind] !== undefined)
  await kysely.transaction().execute(async (trx) => {
    // A policy wants the table for itself. Who waits for that behind a long transaction makes everybody else wait too.
    await sql`set local lock_timeout = '5s'`.execute(trx)
    for (const kind of kinds) await grantTo(trx, kind, roles[kind] as string)
  })
}

async function grantTo(trx: Kysely<Database>, kind: Kind, name: string): Promise<void> {
  const role = sql.id(name)
  await ensureRole(trx, kind, name)
  const schema = await sql<{ name: string }>`select current_schema()::text as name`.execute(trx)
  await sql`grant usage on schema ${sql.id(schema.rows[0]?.name ?? 'public')} to ${role}`.execute(trx)
  for (const [table, byKind] of Object.entries(rights)) {
    await sql`revoke all on ${sql.table(table)} from ${role}`.execute(trx)
    // From the list above, and nothing that a caller gives.
    await sql`grant ${sql.raw(byKind[kind])} on ${sql.table(table)} to ${role}`.execute(trx)
  }
  if (kind === 'app') await grantFunctions(trx, name)
  else for (const table of tenantTables) await showEveryTenant(trx, table, name)
}

async function ensureRole(trx: Kysely<Database>, kind: Kind, name: string): Promise<void> {
  const found = await sql<{ owns: boolean }>`
    select exists (select from pg_class where oid = to_regclass('envelope') and relowner = r.oid) as owns
    from pg_roles r where rolname = ${name}
  `.execute(trx)
  if (found.rows[0]?.owns === true)
    throw new ColloquyError('id_invalid', {
      kind: `role ${name} (${kind})`,
      problem: 'it owns the tables, and an owner has every right on them',
    })
  if (found.rows.length === 0) await sql`create role ${sql.id(name)} nologin`.execute(trx)
}

async function grantFunctions(trx: Kysely<Database>, name: string): Promise<void> {
  const { rows } = await sql<{ signature: string }>`
    select oid::regprocedure::text as signature
    from pg_proc where pronamespace = current_schema()::regnamespace and starts_with(proname, 'log_')
  `.execute(trx)
  for (const { signature } of rows) await sql`grant execute on function ${sql.raw(signature)} to ${sql.id(name)}`.execute(trx)
}

/** One policy a table for all who see every tenant. */
async function showEveryTenant(trx: Kysely<Database>, table: string, name: string): Promise<void> {
  const policy = sql.id('every_tenant')
  const { rows } = await sql<{ roles: string[] }>`
    select array(select pg_get_userbyid(r)::text from unnest(polroles) r) as roles
    from pg_policy where polrelid = to_regclass(${table}) and polname = 'every_tenant'
  `.execute(trx)
  const [present] = rows
  if (!present) await sql`create policy ${policy} on ${sql.table(table)} to ${sql.id(name)} using (true)`.execute(trx)
  else if (!present.roles.includes(name))
    await sql`alter policy ${policy} on ${sql.table(table)} to ${sql.join([...present.roles, name].map((r) => sql.id(r)))}`.execute(
      trx,
    )
}
