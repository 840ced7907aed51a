/** Databases of a run: migrated, and broken where the run has a mutant. */
import { migrate } from '@colloquy/postgres'
import pg from 'pg'
import { type PostgresCluster, startCluster } from '../support/postgres-cluster.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { activeMutant, replaceOnce } from './mutants.ts'
import { type Run, Unavailable } from './row.ts'

/** The url of a new database with a log in it, on a server that nobody kills. */
export async function newDatabase(run: Run<unknown>, partitions = 4): Promise<string> {
  if (activeMutant?.settings) throw new Error('This mutant needs a server of its own.')
  const server = await startPostgres()
  if (!server) throw new Unavailable('it needs a real Postgres')
  run.defer(server.stop)
  const url = await server.createDatabase()
  await prepare(url, partitions)
  return url
}

/** A server of the run's own, with a log in its first database. */
export async function newCluster(
  run: Run<unknown>,
  options: {
    readonly settings?: Readonly<Record<string, string>>
    readonly directory?: string
    readonly partitions?: number
  } = {},
): Promise<PostgresCluster> {
  const { partitions = 4, settings, ...rest } = options
  const cluster = await startCluster({ ...rest, settings: { ...settings, ...activeMutant?.settings } })
  run.defer(cluster.remove)
  await prepare(cluster.url, partitions)
  return cluster
}

async function prepare(url: string, partitions: number): Promise<void> {
  await migrate({ url, partitions })
  const mutant = activeMutant
  if (!mutant) return
  await withClient(url, async (client) => {
    for (const change of mutant.functions ?? []) {
      const found = await client.query<{ text: string }>(
        `select pg_get_functiondef(oid) as text from pg_proc where proname = $1 and pronamespace = 'public'::regnamespace`,
        [change.name],
      )
      if (found.rows.length !== 1)
        throw new Error(`A mutant looks for the function ${change.name} and finds ${found.rows.length}.`)
      await client.query(replaceOnce(found.rows[0]?.text ?? '', change, change.name))
    }
    for (const statement of mutant.statements ?? []) await client.query(statement)
  })
}

/** A connection beside the log, for what no log does. */
export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
