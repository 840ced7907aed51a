import { ColloquyError } from '@colloquy/core'
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import type { Database } from './database.ts'

/** Tenants whose Kysely is kept. One that went is made again. */
const sessionsKept = 1_000

const setTenant = `select set_config('app.tenants', array[$1::text]::text, true)`

/**
 * A Kysely for a tenant, over connections of `pool`. Each statement of it is a transaction in which row-level security sees that tenant:
 * BEGIN, the tenant, the statement and COMMIT are handed to the client in one go, which with pg's `pipeline` is one round trip.
 */
export function tenantSessions(pool: PostgresPool): (tenant: string) => Kysely<Database> {
  const sessions = new Map<string, Kysely<Database>>()
  return (tenant) => {
    const known = sessions.get(tenant)
    if (known) return known
    if (sessions.size >= sessionsKept) sessions.delete(sessions.keys().next().value as string)
    const session = new Kysely<Database>({ dialect: new PostgresDialect({ pool: tenantPool(pool, tenant) }) })
    sessions.set(tenant, session)
    return session
  }
}

function tenantPool(pool: PostgresPool, tenant: string): PostgresPool {
  return {
    options: pool.options,
    connect: async () => tenantClient(await pool.connect(), tenant),
    end: () => Promise.resolve(),
  }
}

function tenantClient(client: PostgresPoolClient, tenant: string): PostgresPoolClient {
  const query = async (text: string, values: readonly unknown[]) => {
    const [begun, set, answered, ended] = await Promise.allSettled([
      client.query('begin isolation level read committed', []),
      client.query(setTenant, [tenant]),
      client.query<unknown>(text, values),
      client.query('commit', []),
    ])
    // The first that failed is the reason why those after it did.
    for (const step of [begun, set, answered, ended]) if (step.status === 'rejected') throw step.reason
    const { command } = (ended as PromiseFulfilledResult<{ command: string }>).value
    if (command !== 'COMMIT')
      throw new ColloquyError('database_failed', { operation: 'commit', sqlState: null, problem: `it answered ${command}` })
    return (answered as PromiseFulfilledResult<unknown>).value
  }
  return { query: query as unknown as PostgresPoolClient['query'], release: (destroy) => client.release(destroy) }
}
