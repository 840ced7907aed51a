/**
 * The memory index in the database of the log. Words are those of `searchWords`, under the text search configuration `simple`: it
 * knows no language, so what is found does not depend on one, and on the server's locale neither.
 */
import {
  type FoundInteraction,
  type IndexedInteraction,
  type InteractionMessage,
  type MemoryIndex,
  memoryRanking,
  partitionOf,
  searchTerms,
  searchWords,
} from '@colloquy/core'
import { CompiledQuery, type Kysely, type Selectable, sql } from 'kysely'
import { toColloquyError } from '../connections/failures.ts'
import { safeInteger } from '../connections/int8.ts'
import { setTenant } from '../connections/tenant-session.ts'
import type { PostgresLog } from '../postgres-log.ts'
import type { Database } from '../schema/database.ts'
import { sha256 } from '../sha256.ts'

type Row = Selectable<Database['interaction']>

const columns = [
  'session_id',
  'sequence',
  'occurred_at',
  'last_position',
  'is_logged',
  'significance',
  'has_context',
  'messages',
] as const

/**
 * A memory index beside a log. With a transaction of a subscription (`{ kysely: transaction, partitions: log.partitions }`) what is
 * written is committed with its checkpoint.
 *
 * Methods reject with `database_unreachable` and `database_failed`.
 */
export function postgresMemoryIndex(log: Pick<PostgresLog, 'kysely' | 'partitions'>): MemoryIndex {
  const partitionFor = (tenant: string, sessionId: string): number =>
    partitionOf({ tenant, conversationId: sessionId }, log.partitions, sha256)

  /** In a transaction in which row-level security sees the tenant. A transaction that was given is the caller's to set up. */
  async function asTenant<T>(tenant: string, operation: string, work: (kysely: Kysely<Database>) => Promise<T>): Promise<T> {
    try {
      if (log.kysely.isTransaction) return await work(log.kysely)
      return await log.kysely
        .transaction()
        .setIsolationLevel('read committed')
        .execute(async (trx) => {
          await trx.executeQuery(CompiledQuery.raw(setTenant(tenant)))
          return work(trx)
        })
    } catch (error) {
      throw toColloquyError(error, operation, 'the given log')
    }
  }

  return {
    async put(tenant, interactions) {
      if (interactions.length === 0) return
      await asTenant(tenant, 'keep interactions', (kysely) =>
        kysely
          .insertInto('interaction')
          .values(
            interactions.map(
              ({ sessionId, sequence, occurredAt, lastPosition, isLogged, significance, hasContext, messages }) => ({
                partition: partitionFor(tenant, sessionId),
                tenant,
                session_id: sessionId,
                sequence,
                occurred_at: occurredAt,
                last_position: lastPosition,
                is_logged: isLogged,
                significance,
                has_context: hasContext,
                messages: JSON.stringify(messages),
                words: sql<string>`to_tsvector('simple', ${messages.flatMap(({ text }) => searchWords(text)).join(' ')})`,
              }),
            ),
          )
          .onConflict((conflict) =>
            conflict
              .columns(['partition', 'tenant', 'session_id', 'sequence'])
              .doUpdateSet((row) => ({
                occurred_at: row.ref('excluded.occurred_at'),
                last_position: row.ref('excluded.last_position'),
                is_logged: row.ref('excluded.is_logged'),
                significance: row.ref('excluded.significance'),
                has_context: row.ref('excluded.has_context'),
                messages: row.ref('excluded.messages'),
                words: row.ref('excluded.words'),
              }))
              .whereRef('interaction.last_position', '<=', 'excluded.last_position'),
          )
          .execute(),
      )
    },

    async latest(tenant, sessionId, limit) {
      const rows = await asTenant(tenant, `give the last interactions of ${sessionId}`, (kysely) =>
        kysely
          .selectFrom('interaction')
          .select(columns)
          .where('partition', '=', partitionFor(tenant, sessionId))
          .where('tenant', '=', tenant)
          .where('session_id', '=', sessionId)
          .orderBy('sequence', 'desc')
          .limit(limit)
          .execute(),
      )
      return rows.map(toInteraction)
    },

    async search(tenant, { text, sessionId, limit, now }) {
      const { wanted, unwanted } = searchTerms(text)
      if (wanted.length === 0) return []
      // The syntax of a web search joins by "or" and takes phrases in quotes; what stands in it are words of letters and digits.
      const anyOf = wanted.map((words) => `"${words.join(' ')}"`).join(' or ')
      const noneOf = unwanted.map((word) => `"${word}"`).join(' or ')
      const inSession =
        sessionId === undefined ? sql`` : sql`and partition = ${partitionFor(tenant, sessionId)} and session_id = ${sessionId}`
      const unless = noneOf === '' ? sql`` : sql`and not words @@ websearch_to_tsquery('simple', ${noneOf})`
      // In a transaction that was given nobody but its owner knows which tenants it names, if any.
      const searched = log.kysely.isTransaction ? 'interaction' : 'own_interaction'
      // 1: a rank is divided by the logarithm of the text's length.
      const found = sql<Row & { score: number }>`
        with found as (
          select session_id, sequence, occurred_at, last_position, is_logged, significance, has_context, messages,
            ts_rank(words, websearch_to_tsquery('simple', ${anyOf}), 1) as rank
          from ${sql.table(searched)}
          where tenant = ${tenant} and words @@ websearch_to_tsquery('simple', ${anyOf}) ${unless} ${inSession}
        )
        select session_id, sequence, occurred_at, last_position, is_logged, significance, has_context, messages,
          coalesce(rank / nullif(max(rank) over (), 0), 1)
            + power(
                ${memoryRanking.decayPerHour}::double precision,
                least(greatest(0, (${now}::bigint - occurred_at) / 3600000000.0), ${memoryRanking.hoursLimit})::double precision
              )
            + significance as score
        from found
        order by score desc, occurred_at desc, session_id, sequence desc
        limit ${limit}
      `
      const { rows } = await asTenant(tenant, 'search interactions', (kysely) => found.execute(kysely))
      return rows.map((row): FoundInteraction => ({ ...toInteraction(row), score: row.score }))
    },

    async forget(tenant, sessionId, upToSequence) {
      await asTenant(tenant, `forget interactions of ${sessionId}`, (kysely) =>
        kysely
          .deleteFrom('interaction')
          .where('partition', '=', partitionFor(tenant, sessionId))
          .where('tenant', '=', tenant)
          .where('session_id', '=', sessionId)
          .$if(upToSequence !== undefined, (query) => query.where('sequence', '<=', upToSequence as number))
          .execute(),
      )
    },
  }
}

function toInteraction(row: Pick<Row, (typeof columns)[number]>): IndexedInteraction {
  return {
    sessionId: row.session_id,
    sequence: safeInteger(row.sequence),
    occurredAt: safeInteger(row.occurred_at),
    lastPosition: safeInteger(row.last_position),
    isLogged: row.is_logged,
    significance: row.significance,
    hasContext: row.has_context,
    messages: JSON.parse(row.messages) as InteractionMessage[],
  }
}
