import type { Kysely } from 'kysely'
import type { Pool } from 'pg'
import type { Connection } from './connection.ts'
import { connectPool, connectUrls, type Timeouts } from './pool.ts'

/**
 * A database on a server: a url, which we open pools for and close again, or a pool or a Kysely of the application's, which stay open.
 * Of several urls the first is used that can be reached and takes writes; when it no longer does, the next one. What is handed in keeps its settings and type parsers. Through a url or a pool appends are prepared by name, which an old PgBouncer
 * in transaction mode cannot pass on; a Kysely's are not.
 */
export type PostgresTarget =
  | { readonly url: string }
  | { readonly urls: readonly string[] }
  | { readonly pool: Pool }
  // A Kysely is invariant in its tables, so no closed type covers every application's.
  // oxlint-disable-next-line typescript/no-explicit-any
  | { readonly kysely: Kysely<any> }

export async function connect(target: PostgresTarget, timeouts: Timeouts): Promise<Connection> {
  if ('url' in target) return connectUrls([target.url], timeouts)
  if ('urls' in target) return connectUrls(target.urls, timeouts)
  if ('pool' in target) return connectPool(target.pool, timeouts)
  // Plugins may rename columns, which we read by name.
  return { kysely: target.kysely.withoutPlugins(), target: 'the given Kysely', close: () => Promise.resolve() }
}
