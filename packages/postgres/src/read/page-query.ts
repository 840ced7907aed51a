import { pageBytes } from '@colloquy/core'
import { type Kysely, type SelectQueryBuilder, sql } from 'kysely'
import type { Database } from '../schema/database.ts'

/** What reads a page. */
export interface PageQuery<Row> {
  readonly execute: () => Promise<Row[]>
  readonly explain: () => Promise<Record<string, unknown>[]>
}

/**
 * Of the envelopes that a query finds, the page that begins with the first: see `pageBytes`. The length of a body that lies apart from
 * its row is known without fetching it, so what is cut off is hardly read.
 */
export function pageQuery<Row extends { readonly body: Uint8Array }>(
  kysely: Kysely<Database>,
  found: SelectQueryBuilder<Database, 'envelope', Row>,
  order: 'position' | 'feed_position',
): PageQuery<Row> {
  const counted = sql<Row>`(
    select found.*, ${sql.raw(bytesUpTo(order))} as bytes from ${found} as found
  )`
  return kysely
    .selectFrom(counted.as('page'))
    .selectAll()
    .$castTo<Row>()
    .where(sql<boolean>`bytes - octet_length(body) < ${pageBytes}`)
    .orderBy(sql.ref(order))
}

/** SQL: the bytes of the bodies up to a row, its own included. */
const bytesUpTo = (order: 'position' | 'feed_position'): string =>
  `sum(octet_length(body)) over (order by ${order} rows unbounded preceding)`
