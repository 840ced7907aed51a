import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import type { Database } from '../schema/database.ts'

/** Tenants whose Kysely is kept. One that went is made again. */
const sessionsKept = 1_000

/**
 * Sets the tenant for the rest of a transaction. SET LOCAL and not `set_config`, which Citus does not pass on to its nodes; it takes no
 * parameters, so the name is quoted here, as an element of an array and then as a string whose backslashes always escape.
 */
export function setTenant(tenant: string): string {
  const element = tenant.replaceAll(/["\\]/g, '\\$&')
  return `set local app.tenants = E'${`{"${element}"}`.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

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
  const query = (text: string, values: readonly unknown[]) => inTenant(client, tenant, () => client.query<unknown>(text, values))
  return { query: query as unknown as PostgresPoolClient['query'], release: (destroy) => client.release(destroy) }
}

/** Does one statement on the client where row-level security sees this tenant, and nobody after it. */
export async function inTenant<T>(client: PostgresPoolClient, tenant: string, statement: () => Promise<T>): Promise<T> {
  const steps = await Promise.allSettled([
    client.query('begin isolation level read committed', []),
    client.query(setTenant(tenant), []),
    statement(),
    client.query('commit', []),
  ])
  // The first that failed is the reason why those after it did.
  for (const step of steps) if (step.status === 'rejected') throw step.reason
  return (steps[2] as PromiseFulfilledResult<Awaited<T>>).value
}
