/**
 * What the catalog says of our tables, one line a fact, to compare a database with what the migrations make: `migrations/schema.txt`,
 * which a test keeps true. A fact that is missing was dropped or changed; what somebody added is theirs.
 */
import { readFile } from 'node:fs/promises'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import { migrationsDirectory } from './migrate.ts'

/** Sorted, and without the name of the schema. */
export async function readSchemaFacts(kysely: Kysely<Database>): Promise<readonly string[]> {
  const { rows } = await sql<{ fact: string }>`
    with own as (
      select oid, relname, relrowsecurity, relpersistence from pg_class
      where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not starts_with(relname, 'colloquy_migration')
    ), facts as (
      select 'table ' || relname || case when relrowsecurity then ', row security' else '' end
        || case when relpersistence <> 'p' then ', not logged' else '' end as fact
      from own
      union all
      select 'column ' || relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
        || case when attnotnull then ' not null' else '' end
        || coalesce(' collate ' || (select collname from pg_collation c where c.oid = attcollation and collname <> 'default'), '')
        || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
      from own join pg_attribute a on attrelid = own.oid left join pg_attrdef d on adrelid = attrelid and adnum = attnum
      where attnum > 0 and not attisdropped
      union all
      select 'index ' || replace(pg_get_indexdef(indexrelid), quote_ident(current_schema()) || '.', '')
      from own join pg_index i on indrelid = own.oid
      union all
      select 'check ' || relname || ' ' || pg_get_constraintdef(c.oid)
      from own join pg_constraint c on conrelid = own.oid
      where contype = 'c'
      union all
      select 'policy ' || relname || '.' || polname || case when polpermissive then '' else ' restrictive' end
        || case polcmd when '*' then ' for all' else ' for ' || polcmd::text end
        || ' to ' || case when 0 = any (polroles) then 'public' else polroles::regrole[]::text end
        || ' using ' || coalesce(pg_get_expr(polqual, polrelid), '')
        || ' check ' || coalesce(pg_get_expr(polwithcheck, polrelid), '')
      from own join pg_policy on polrelid = own.oid
      union all
      -- Before Postgres 16 each column has the name of its table before it.
      select 'view ' || relname || ' ' || regexp_replace(replace(pg_get_viewdef(oid), 'interaction.', ''), '\\s+', ' ', 'g')
      from pg_class
      where relnamespace = current_schema()::regnamespace and relkind = 'v' and relname = 'own_interaction'
      union all
      select 'function ' || proname || '(' || pronargs || ' arguments) '
        || case provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end
        || case when prosecdef then ' security definer ' else ' ' end || md5(prosrc)
      from pg_proc
      where pronamespace = current_schema()::regnamespace and starts_with(proname, 'log_')
    )
    select fact from facts order by fact collate "C"
  `.execute(kysely)
  return rows.map(({ fact }) => fact)
}

/** The facts that the migrations make and this database lacks. */
export async function missingFacts(kysely: Kysely<Database>): Promise<readonly string[]> {
  const [expected, found] = await Promise.all([readFile(schemaFile, 'utf8'), readSchemaFacts(kysely)])
  const present = new Set(found)
  return expected.split('\n').filter((fact) => fact !== '' && !present.has(fact))
}

const schemaFile = new URL('schema.txt', migrationsDirectory)
