/** Connections of node-postgres, made fit for Kysely and for us. */
import { ColloquyError } from '@colloquy/core'
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import type { CustomTypesConfig, Pool, PoolClient } from 'pg'
import { preparedNames } from './append.ts'
import type { Connection } from './connection.ts'
import type { Database } from './database.ts'
import { toColloquyError } from './failures.ts'
import { safeInteger } from './int8.ts'
import { preparedReads } from './read-actions.ts'

const connectTimeoutMs = 10_000

/** A pool of our own. Does not connect yet. @throws `database_unreachable` for a url that cannot be read */
export async function connectUrl(url: string): Promise<Connection> {
  const target = targetOfUrl(url)
  const { Pool } = await import('pg').then((module) => module.default)
  const pool = new Pool({
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    fallback_application_name: 'colloquy',
  })
  const { kysely } = await connectPool(pool)
  // The listener of connectPool stays: connections may still report their end after the pool's.
  return { kysely, target, close: () => pool.end() }
}

/** A pool of the application's, which stays open when we let go of it. */
export async function connectPool(pool: Pool): Promise<Connection> {
  const { types } = await import('pg').then((module) => module.default)
  const target = targetOfPool(pool)
  // Given with each query: the application's own parsers stay as they are, in this pool and everywhere.
  const ourTypes: CustomTypesConfig = {
    getTypeParser: (oid, format) =>
      oid === types.builtins.INT8 && format !== 'binary' ? safeInteger : types.getTypeParser(oid, format),
  }
  const clients = new WeakMap<PoolClient, PostgresPoolClient>()
  const ourPool: PostgresPool = {
    options: pool.options,
    connect: async () => {
      const client = await pool.connect().catch((error: unknown) => {
        // Told apart here, where nothing was sent yet, from a connection that broke under a statement.
        throw toUnreachable(error, target)
      })
      const known = clients.get(client) ?? adopt(client, ourTypes)
      clients.set(client, known)
      return known
    },
    end: () => Promise.resolve(),
  }
  // Without a listener, the end of an idle connection ends the process. The pool drops the client; the next query tells.
  pool.on('error', ignore)
  return {
    kysely: new Kysely<Database>({ dialect: new PostgresDialect({ pool: ourPool }) }),
    target,
    close: async () => {
      pool.off('error', ignore)
    },
  }
}

function adopt(client: PoolClient, types: CustomTypesConfig): PostgresPoolClient {
  // The pool listens to idle clients only. One that is checked out may lose its connection between two statements.
  client.on('error', ignore)
  return {
    query: ((text: string, values: unknown[]) => {
      const name = preparedNames.get(text) ?? preparedReads.get(text)
      return client.query({ text, values, types, ...(name !== undefined && { name }) })
    }) as unknown as PostgresPoolClient['query'],
    release: (destroy) => client.release(destroy),
  }
}

function ignore(): void {}

function toUnreachable(error: unknown, target: string): ColloquyError {
  const known = toColloquyError(error, 'accept a connection', target)
  if (known.code === 'database_unreachable') return known
  const problem = error instanceof Error ? error.message : String(error)
  return new ColloquyError('database_unreachable', { target, problem }, { cause: error })
}

/** Host, port and database: what a person needs, and nothing secret. */
function targetOfUrl(url: string): string {
  const parsed = URL.parse(url)
  // An error of the parser would quote the url, password included, so there is no `cause`.
  if (!parsed) {
    throw new ColloquyError('database_unreachable', {
      target: 'the given url',
      problem: 'it cannot be read as postgres://user:password@host:port/database',
    })
  }
  // A password with a slash that was not escaped ends up in the path, up to its "@".
  const database = parsed.pathname.includes('@') ? '' : parsed.pathname
  return `${parsed.host}${database}`
}

function targetOfPool({ options }: Pool): string {
  if (options.connectionString !== undefined)
    return URL.parse(options.connectionString) ? targetOfUrl(options.connectionString) : 'the given pool'
  return `${options.host ?? 'localhost'}:${options.port ?? 5432}/${options.database ?? ''}`
}
