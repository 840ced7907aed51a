/** Reads of one conversation. Each names its partition and a bounded range of positions. */
import {
  type AppendFate,
  ColloquyError,
  type ConversationKey,
  type ConversationSummary,
  type Head,
  isForkId,
  isFullPage,
  pageOf,
  pageSize,
  partitionOf,
  type StoredEnvelope,
} from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { LogConnection } from '../connections/connection.ts'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'
import { sha256 } from '../sha256.ts'
import { readSegments } from './ancestry.ts'
import { conversationOf, headColumns, toHead } from './conversation-row.ts'
import { pageQuery } from './page-query.ts'
import { envelopeColumns, plainBytes, toStoredEnvelope } from './stored-envelope.ts'

/** The conversation's own envelopes, by its number: the planner looks that up once, in the same round trip. */
function envelopesOf(kysely: Kysely<Database>, log: LogConnection, key: ConversationKey) {
  return kysely
    .selectFrom('envelope')
    .where('partition', '=', partitionOf(key, log.partitions, sha256))
    .where('conversation_no', '=', conversationOf(kysely, log, key).select('conversation_no'))
}

export async function readHead(log: LogConnection, key: ConversationKey): Promise<Head | undefined> {
  const row = await log.asTenant(key.tenant, (kysely) => conversationOf(kysely, log, key).select(headColumns).executeTakeFirst())
  return row && toHead(row)
}

/** Envelopes `from`..`to` (inclusive) in order; fewer when the conversation ends before `to`, or where `pageBytes` ends the page. */
export async function readRange(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredEnvelope[]> {
  if (isForkId(key.conversationId)) return readForkRange(log, key, from, to)
  const rows = await log.asTenant(key.tenant, (kysely) =>
    pageQuery(
      kysely,
      envelopesOf(kysely, log, key).select(envelopeColumns).where('position', '>=', from).where('position', '<=', to),
      'position',
    ).execute(),
  )
  return rows.map((row) => toStoredEnvelope(row, key.conversationId))
}

async function readForkRange(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredEnvelope[]> {
  const envelopes: StoredEnvelope[] = []
  for (const segment of await readSegments(log, key)) {
    const first = Math.max(from, segment.from)
    const last = Math.min(to, segment.to)
    if (first > last || isFullPage(envelopes, Number.POSITIVE_INFINITY)) continue
    const rows = await log.asTenant(key.tenant, (kysely) =>
      pageQuery(
        kysely,
        kysely
          .selectFrom('envelope')
          .select(envelopeColumns)
          .where('partition', '=', partitionOf(key, log.partitions, sha256))
          .where('conversation_no', '=', segment.conversationNo)
          .where('position', '>=', first)
          .where('position', '<=', last),
        'position',
      ).execute(),
    )
    envelopes.push(...rows.map((row) => toStoredEnvelope(row, segment.conversationId)))
  }
  // Of the segments each was a page.
  return [...pageOf(envelopes)]
}

/**
 * A page from `from` on, at most up to `to`, and where the conversation ends.
 * @throws `log_corrupt` when an envelope before the end is not there: a history must not get shorter in silence
 */
export async function readPage(
  log: LogConnection,
  key: ConversationKey,
  from: number,
  to: number,
): Promise<{ readonly envelopes: StoredEnvelope[]; readonly headPosition: number }> {
  const last = Math.min(to, from + pageSize - 1)
  const { envelopes, headPosition } = isForkId(key.conversationId)
    ? await readForkPage(log, key, from, last)
    : await readOwnPage(log, key, from, last)
  for (let position = from; position <= Math.min(last, headPosition); position++) {
    const found = envelopes[position - from]
    if (found?.position === position) continue
    if (!found && isFullPage(envelopes, pageSize)) break
    throw new ColloquyError('log_corrupt', {
      conversationId: key.conversationId,
      position,
      problem: `the envelope is missing, although the conversation goes on to position ${headPosition}`,
    })
  }
  return { envelopes, headPosition }
}

/** With the head in the same statement, so that both are of one moment. */
async function readOwnPage(log: LogConnection, key: ConversationKey, from: number, last: number) {
  const rows = await log.asTenant(key.tenant, (kysely) =>
    pageQuery(
      kysely,
      envelopesOf(kysely, log, key)
        .select(envelopeColumns)
        .select(conversationOf(kysely, log, key).select('head_position').as('head_position'))
        .where('position', '>=', from)
        .where('position', '<=', last),
      'position',
    ).execute(),
  )
  const envelopes = rows.map((row) => toStoredEnvelope(row, key.conversationId))
  if (rows[0]) return { envelopes, headPosition: safeInteger(rows[0].head_position ?? 0) }
  // Nothing there: the end, or a hole. What was appended since the look above is no hole, so it is looked for behind the head.
  const headPosition = (await readHead(log, key))?.position ?? 0
  return {
    envelopes: headPosition < from ? envelopes : await readRange(log, key, from, Math.min(last, headPosition)),
    headPosition,
  }
}

/** The head first: what is read after it can only be longer. */
async function readForkPage(log: LogConnection, key: ConversationKey, from: number, last: number) {
  const headPosition = (await readHead(log, key))?.position ?? 0
  return { envelopes: await readForkRange(log, key, from, Math.min(last, headPosition)), headPosition }
}

/** The envelopes of those of the commands that are stored, read page by page. */
export async function readCommands(
  log: LogConnection,
  key: ConversationKey,
  commandIds: readonly string[],
): Promise<Map<string, StoredEnvelope[]>> {
  const found: StoredEnvelope[] = []
  for (let from = 1; ; ) {
    const rows = await log.asTenant(key.tenant, (kysely) =>
      pageQuery(
        kysely,
        envelopesOf(kysely, log, key).select(envelopeColumns).where('command_id', 'in', commandIds).where('position', '>=', from),
        'position',
      ).execute(),
    )
    const page = rows.map((row) => toStoredEnvelope(row, key.conversationId))
    found.push(...page)
    const last = page.at(-1)
    if (!last || !isFullPage(page, Number.POSITIVE_INFINITY)) break
    from = last.position + 1
  }
  return Map.groupBy(found, ({ commandId }) => commandId as string)
}

/** See `EventLog.outcome`. What is at a position stays there, so another hash is a definite no. */
export async function readOutcome(
  log: LogConnection,
  { key, position, hash }: { readonly key: ConversationKey; readonly position: number; readonly hash: Uint8Array },
): Promise<AppendFate> {
  const [found] = await readRange(log, key, position, position)
  if (!found) return 'unknown'
  return Buffer.compare(found.hash, hash) === 0 ? 'stored' : 'not_stored'
}

/** Before our own streams and behind them, in the order of bytes: a tenant may have more of those than conversations. */
const stretches = [
  { from: '', below: 'colloquy:' },
  { from: 'colloquy;', below: null },
] as const

/** See `EventLog.conversations`. */
export async function listConversations(
  log: LogConnection,
  { tenant, after = '', limit }: { readonly tenant: string; readonly after?: string; readonly limit: number },
): Promise<ConversationSummary[]> {
  const found: ConversationSummary[] = []
  for (const stretch of stretches) {
    if (found.length === limit || (stretch.below !== null && after >= stretch.below)) continue
    found.push(...(await listStretch(log, { ...stretch, tenant, after, limit: limit - found.length })))
  }
  return found
}

/** Asks each partition for one page by its index and merges them, so the cost does not grow with the log. */
async function listStretch(
  log: LogConnection,
  { tenant, after, from, below, limit }: (typeof stretches)[number] & { tenant: string; after: string; limit: number },
): Promise<ConversationSummary[]> {
  const rows = await log.asTenant(tenant, (kysely) =>
    kysely
      .selectFrom('partition')
      .innerJoinLateral(
        (eb) =>
          eb
            .selectFrom('conversation')
            .select(['tenant', 'conversation_id', 'head_position', 'head_hash', 'head_occurred_at', 'archived'])
            .whereRef('conversation.partition', '=', 'partition.partition')
            .where('tenant', '=', tenant)
            .where('conversation_id', '>', after)
            .where('conversation_id', '>=', from)
            .$if(below !== null, (query) => query.where('conversation_id', '<', below as string))
            .orderBy('conversation_id')
            .limit(limit)
            .as('page'),
        (join) => join.onTrue(),
      )
      .select([
        'page.tenant',
        'page.conversation_id',
        'page.head_position',
        'page.head_hash',
        'page.head_occurred_at',
        'page.archived',
      ])
      .orderBy('page.conversation_id')
      .limit(limit)
      .execute(),
  )
  return rows.map((row) => ({
    tenant: row.tenant,
    conversationId: row.conversation_id,
    position: safeInteger(row.head_position),
    hash: plainBytes(row.head_hash),
    occurredAt: safeInteger(row.head_occurred_at),
    archived: row.archived,
  }))
}
