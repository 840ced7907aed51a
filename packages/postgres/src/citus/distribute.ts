import { ColloquyError } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import type { Database } from '../schema/database.ts'
import { preflight } from './preflight.ts'

/** In the order in which appends lock them; the first is what the others lie beside. */
const tables = [
  'partition',
  'conversation',
  'envelope',
  'media',
  'snapshot',
  'subscription',
  'subscriber',
  'dead_letter',
  'interaction',
] as const satisfies readonly (keyof Database)[]

/**
 * Spreads the log over a Citus cluster: its tables by `partition`, rows of one partition together, and the append functions to where their
 * partition is. A log that has envelopes is taken along; appends wait meanwhile. Idempotent.
 * @throws `citus_unfit`, and what the driver throws
 */
export async function distribute(kysely: Kysely<Database>): Promise<void> {
  const problems = (await preflight(kysely)).filter(({ status }) => status === 'fail')
  if (problems.length > 0)
    throw new ColloquyError('citus_unfit', {
      problems: problems.map(({ name, found, advice }) => `${name} is ${found} (${advice?.replace(/\.$/, '') ?? ''})`).join('; '),
    })
  await kysely.transaction().execute(async (trx) => {
    // Nodes refuse parallel work on tables that refer to what the same transaction has changed.
    await sql`set local citus.multi_shard_modify_mode = 'sequential'`.execute(trx)
    await sql`lock table ${sql.join(tables.map((table) => sql.table(table)))} in access exclusive mode`.execute(trx)
    const [first, ...others] = tables
    if (!(await isDistributed(trx, first))) await sql`select create_distributed_table(${first}, 'partition')`.execute(trx)
    for (const table of others) {
      if (await isDistributed(trx, table)) continue
      await sql`select create_distributed_table(${table}, 'partition', colocate_with => ${first})`.execute(trx)
    }
  })
  // In transactions of their own: a function cannot be sent to nodes that do not have the tables yet.
  for (const signature of await appendFunctions(kysely)) {
    // A plan without the values of a call knows no shard: Citus refuses "insert .. select" and joins in one, which the functions ask for
    // elsewhere (DissuadePlannerFromUsingPlan in its distributed_planner.c makes such a plan dear, and so not chosen unless forced).
    await sql`alter function ${sql.raw(signature)} set plan_cache_mode = auto`.execute(kysely)
    await sql`
      select create_distributed_function(${signature}, 'p_partition', colocate_with => ${tables[0]})
    `.execute(kysely)
  }
}

async function isDistributed(kysely: Kysely<Database>, table: string): Promise<boolean> {
  const { rows } = await sql`select from pg_dist_partition where logicalrelid = to_regclass(${table})`.execute(kysely)
  return rows.length > 0
}

async function appendFunctions(kysely: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ signature: string }>`
    select oid::regprocedure::text as signature from pg_proc
    where pronamespace = current_schema()::regnamespace and starts_with(proname, 'log_append') and 'p_partition' = any (proargnames)
    order by 1
  `.execute(kysely)
  return rows.map(({ signature }) => signature)
}
