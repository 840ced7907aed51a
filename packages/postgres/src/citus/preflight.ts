import { type Kysely, sql } from 'kysely'
import type { Check } from '../doctor/check.ts'
import type { Database } from '../schema/database.ts'

interface ClusterSettings {
  readonly version: string | null
  readonly walLevel: string
  readonly preparedTransactions: number
  readonly connections: number
  readonly propagate: string | null
  readonly recoverSeconds: number | null
  readonly plugins: string | null
  readonly hasNodes: boolean
}

/** Long enough that a cluster is not busy with it; partitions of a transaction that broke wait so long, a minute by default. */
const recoverSecondsAtMost = 10

/** What a Citus cluster must be to carry the log. `fail`: distribute nothing yet. Reads only. */
export async function preflight(kysely: Kysely<Database>): Promise<readonly Check[]> {
  const { rows } = await sql<ClusterSettings>`
    select
      (select prosrc from pg_proc where oid = to_regproc('citus_version')) as version,
      current_setting('wal_level') as "walLevel",
      current_setting('max_prepared_transactions')::int as "preparedTransactions",
      current_setting('max_connections')::int as connections,
      current_setting('citus.propagate_set_commands', true) as propagate,
      extract(epoch from current_setting('citus.recover_2pc_interval', true)::interval)::float8 as "recoverSeconds",
      current_setting('output_plugin_libraries', true) as plugins,
      to_regclass('pg_dist_node') is not null as "hasNodes"
  `.execute(kysely)
  const settings = rows[0] as ClusterSettings
  if (settings.version === null)
    return [
      fail(
        'citus',
        'not installed',
        'add citus to shared_preload_libraries on every node, then "create extension citus" in this database',
      ),
    ]
  const { walLevel, preparedTransactions, connections, propagate, recoverSeconds, plugins } = settings
  return [
    ok('citus', 'installed'),
    walLevel === 'logical'
      ? ok('wal_level', walLevel)
      : fail('wal_level', walLevel, 'set it to logical on every node: shards cannot be moved while they are written otherwise'),
    preparedTransactions >= connections
      ? ok('max_prepared_transactions', String(preparedTransactions))
      : fail(
          'max_prepared_transactions',
          String(preparedTransactions),
          `set it to ${connections}, which is max_connections, on every node: each transaction over two nodes takes one`,
        ),
    propagate === 'local'
      ? ok('citus.propagate_set_commands', propagate)
      : fail(
          'citus.propagate_set_commands',
          propagate ?? 'none',
          'set it to local for the database: the tenant of a transaction does not reach the nodes otherwise, and reads find nothing',
        ),
    recoverSeconds !== null && recoverSeconds > 0 && recoverSeconds <= recoverSecondsAtMost
      ? ok('citus.recover_2pc_interval', `${recoverSeconds}s`)
      : warn(
          'citus.recover_2pc_interval',
          recoverSeconds === null ? 'none' : `${recoverSeconds}s`,
          'set it to 2s: after the death of a node some partitions stand still for so long',
        ),
    // Only newer minor versions of Postgres have the setting.
    plugins === null || plugins.includes('citus')
      ? ok('output_plugin_libraries', plugins ?? 'not restricted')
      : warn('output_plugin_libraries', plugins, 'add citus to the list, unquoted: moving shards under load needs it'),
    ...(settings.hasNodes ? await checkNodes(kysely) : [fail('nodes', 'none', 'add the workers with citus_add_node')]),
  ]
}

async function checkNodes(kysely: Kysely<Database>): Promise<Check[]> {
  const { rows } = await sql<{ holders: number; secondaries: number }>`
    select
      count(*) filter (where noderole = 'primary' and shouldhaveshards)::int as holders,
      count(*) filter (where noderole = 'secondary')::int as secondaries
    from pg_dist_node
  `.execute(kysely)
  const { holders = 0, secondaries = 0 } = rows[0] ?? {}
  return [
    holders > 0
      ? ok('nodes', `${holders} that hold shards`)
      : fail('nodes', 'none that holds shards', 'add the workers with citus_add_node'),
    ok(
      'secondary nodes',
      String(secondaries),
      secondaries === 0
        ? 'Register standbys with citus_add_secondary_node where audits should not be read from the primaries.'
        : null,
    ),
  ]
}

const ok = (name: string, found: string, advice: string | null = null): Check => ({ name, status: 'ok', found, advice })
const warn = (name: string, found: string, advice: string): Check => ({ name, status: 'warn', found, advice: sentence(advice) })
const fail = (name: string, found: string, advice: string): Check => ({ name, status: 'fail', found, advice: sentence(advice) })

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
