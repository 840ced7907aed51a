import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import { tenantTables } from './roles.ts'

/** What a server says of itself, of this session and of its role. */
export interface Settings {
  readonly version: string
  readonly versionNumber: number
  /** PGlite is Postgres compiled to WebAssembly, and says so. */
  readonly isEmbedded: boolean
  readonly isStandby: boolean
  /** A standby, or a server or a role whose transactions may only read. */
  readonly isReadOnly: boolean
  /** Of Citus. */
  readonly isCluster: boolean
  readonly fsync: string
  readonly synchronousCommit: string
  readonly synchronousStandbys: string
  readonly fullPageWrites: string
  readonly encoding: string
  readonly isolation: string
  readonly statementTimeout: string
  readonly role: string
  readonly isSuperuser: boolean
  readonly bypassesRowSecurity: boolean
  /** Of the table `envelope`; null when it is not there. */
  readonly owner: string | null
  /** Of each table row-level security does not hold for the role, or a policy of its own lets it see every tenant. */
  readonly seesAllTenants: boolean
}

/** In one statement, since every opening of a log asks. */
export async function readSettings(kysely: Kysely<Database>): Promise<Settings> {
  const { rows } = await sql<Settings>`
    select
      version() as version,
      current_setting('server_version_num')::int as "versionNumber",
      version() like '%emscripten%' as "isEmbedded",
      pg_is_in_recovery() as "isStandby",
      pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as "isReadOnly",
      to_regproc('citus_version') is not null as "isCluster",
      current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as "synchronousCommit",
      current_setting('synchronous_standby_names') as "synchronousStandbys",
      current_setting('full_page_writes') as "fullPageWrites",
      current_setting('server_encoding') as encoding,
      current_setting('default_transaction_isolation') as isolation,
      current_setting('statement_timeout') as "statementTimeout",
      current_user::text as role,
      r.rolsuper as "isSuperuser",
      r.rolsuper or r.rolbypassrls as "bypassesRowSecurity",
      (select pg_get_userbyid(relowner)::text from pg_class where oid = to_regclass('envelope')) as owner,
      not exists (
        select from pg_class t
        where t.oid in (select to_regclass(name) from unnest(array[${sql.join(tenantTables)}]::text[]) name)
          and row_security_active(t.oid) and not exists (
            select from pg_policy
            where polrelid = t.oid and polpermissive and polcmd in ('*', 'r') and pg_get_expr(polqual, polrelid) = 'true'
              and (select bool_or(grantee = 0 or pg_has_role(current_user, grantee, 'usage')) from unnest(polroles) as grantee)
          )
      ) as "seesAllTenants"
    from pg_roles r
    where r.rolname = current_user
  `.execute(kysely)
  return rows[0] as Settings
}
