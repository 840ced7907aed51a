/** The databases of the rows, and what a mutant does to their SQL. */
import { migrate } from '@colloquy/postgres'
import pg from 'pg'
import type { PostgresServer } from '../support/postgres-server.ts'
import { type Mutant, type MutantName, mutants } from './mutants.ts'

/** A new database with the log's schema. */
export async function createLogDatabase(
  server: Pick<PostgresServer, 'createDatabase'>,
  options: { readonly mutant?: MutantName | undefined; readonly partitions?: number } = {},
): Promise<string> {
  const url = await server.createDatabase()
  await migrate({ url, partitions: options.partitions ?? 8 })
  const { sql }: Mutant = options.mutant === undefined ? {} : mutants[options.mutant]
  if (sql === undefined) return url
  await withClient(url, async (client) => {
    for (const { name, find, replace } of sql.functions ?? []) {
      const { rows } = await client.query<{ definition: string }>('select pg_get_functiondef($1::regproc) as definition', [name])
      const parts = rows[0]?.definition.split(find) ?? []
      if (parts.length !== 2) throw new Error(`"${find}" is ${parts.length - 1} times in ${name}, not once.`)
      await client.query(parts.join(replace))
    }
    for (const statement of sql.statements ?? []) {
      await client.query(
        statement.replace('set-for-database', `alter database ${client.escapeIdentifier(client.database ?? '')} set`),
      )
    }
  })
  return url
}

export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
