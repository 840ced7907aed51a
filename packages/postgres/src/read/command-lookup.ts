import { type ConversationKey, isFullPage, pageBytes, partitionOf, type StoredEnvelope } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import { int4Array, textArray } from '../connections/binary-array.ts'
import type { LogConnection } from '../connections/connection.ts'
import type { Database } from '../schema/database.ts'
import { sha256 } from '../sha256.ts'
import { envelopeColumns, toStoredEnvelope } from './stored-envelope.ts'

type Row = Parameters<typeof toStoredEnvelope>[0] & { readonly n: string | number | bigint }

interface Lookup {
  readonly key: ConversationKey
  readonly commandId: string
  readonly resolve: (envelopes: readonly StoredEnvelope[]) => void
  readonly reject: (error: unknown) => void
}

/** Lookups in one statement, at most. */
const batchLimit = 1_000

/**
 * See `EventLog.command`. Each dispatch under a command id looks whether it is stored already, nearly always in vain: while one query is
 * in flight the next lookups gather, and a thousand dispatches cost a handful of queries instead of a thousand.
 */
export function commandLookup(
  log: LogConnection,
): (key: ConversationKey, commandId: string) => Promise<readonly StoredEnvelope[]> {
  const waiting = new Map<string, Lookup[]>()
  let draining: Promise<void> | undefined

  async function drain(): Promise<void> {
    // One turn of the microtask queue: what is asked in one go goes in one query.
    await Promise.resolve()
    for (let next = waiting.entries().next().value; next !== undefined; next = waiting.entries().next().value) {
      const [tenant, lookups] = next
      const batch = lookups.splice(0, batchLimit)
      if (lookups.length === 0) waiting.delete(tenant)
      await answer(log, tenant, batch)
    }
    draining = undefined
  }

  return (key, commandId) =>
    new Promise((resolve, reject) => {
      const lookups = waiting.get(key.tenant) ?? []
      lookups.push({ key, commandId, resolve, reject })
      waiting.set(key.tenant, lookups)
      draining ??= drain()
    })
}

async function answer(log: LogConnection, tenant: string, batch: readonly Lookup[]): Promise<void> {
  try {
    const found = batch.map((): StoredEnvelope[] => [])
    for (let after: Place | undefined = beginning; after; ) {
      const from: Place = after
      const rows: readonly Row[] = await log.run(`look up ${batch.length} commands`, () =>
        log.asTenant(tenant, (kysely) => lookUp(kysely, log.partitions, tenant, batch, from)),
      )
      const page = rows.map((row) => {
        const n = Number(row.n)
        const envelope = toStoredEnvelope(row, (batch[n - 1] as Lookup).key.conversationId)
        found[n - 1]?.push(envelope)
        return { n, position: envelope.position, body: envelope.body }
      })
      after = isFullPage(page, Number.POSITIVE_INFINITY) ? page.at(-1) : undefined
    }
    for (const [i, { resolve }] of batch.entries()) resolve(found[i] as StoredEnvelope[])
  } catch (error) {
    for (const { reject } of batch) reject(error)
  }
}

/** A row of the answer: which lookup of the batch, counted from 1, and the position of the envelope. */
interface Place {
  readonly n: number
  readonly position: number
}

const beginning: Place = { n: 0, position: 0 }

/** What is found behind a place, up to where `pageBytes` ends the page: a thousand commands may have stored gigabytes. */
async function lookUp(
  kysely: Kysely<Database>,
  partitions: number,
  tenant: string,
  batch: readonly Lookup[],
  after: Place,
): Promise<readonly Row[]> {
  const columns = sql.join(envelopeColumns.map((column) => sql.ref(`e.${column}`)))
  const { rows } = await sql<Row>`
    select * from (
      select u.n, ${columns},
        sum(octet_length(e.body)) over (order by u.n, e.position rows unbounded preceding) as bytes
      from unnest(
          ${int4Array(batch.map(({ key }) => partitionOf(key, partitions, sha256)))}::int[],
          ${textArray(batch.map(({ key }) => key.conversationId))}::text[],
          ${textArray(batch.map(({ commandId }) => commandId))}::text[]
        ) with ordinality as u(partition, conversation_id, command_id, n)
      join conversation c on c.partition = u.partition and c.tenant = ${tenant} and c.conversation_id = u.conversation_id
      join envelope e on e.partition = u.partition and e.conversation_no = c.conversation_no and e.command_id = u.command_id
      where (u.n, e.position) > (${after.n}::bigint, ${after.position}::bigint)
    ) page
    where bytes - octet_length(body) < ${pageBytes}
    order by n, position
  `.execute(kysely)
  return rows
}
