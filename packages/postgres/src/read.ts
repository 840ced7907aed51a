/** Reads of one conversation. Each names its partition and a bounded range of positions. */
import {
  ColloquyError,
  type ConversationKey,
  type ConversationSummary,
  type Head,
  pageSize,
  partitionOf,
  type StoredEnvelope,
} from '@colloquy/core'
import { sql } from 'kysely'
import type { LogConnection } from './connection.ts'
import { safeInteger } from './int8.ts'
import { sha256 } from './sha256.ts'
import { envelopeColumns, plainBytes, toStoredEnvelope } from './stored-envelope.ts'

/** The row of a conversation: what every read of it starts from. */
export function conversationOf(log: LogConnection, key: ConversationKey) {
  return log.kysely
    .selectFrom('conversation')
    .where('partition', '=', partitionOf(key, log.partitions, sha256))
    .where('tenant', '=', key.tenant)
    .where('conversation_id', '=', key.conversationId)
}

/** The conversation's envelopes, by its number: the planner looks that up once, in the same round trip. */
function envelopesOf(log: LogConnection, key: ConversationKey) {
  return log.kysely
    .selectFrom('envelope')
    .where('partition', '=', partitionOf(key, log.partitions, sha256))
    .where('conversation_no', '=', conversationOf(log, key).select('conversation_no'))
}

export async function readHead(log: LogConnection, key: ConversationKey): Promise<Head | undefined> {
  const row = await conversationOf(log, key)
    .select(['head_position', 'head_hash', 'head_occurred_at', 'archived'])
    .executeTakeFirst()
  return (
    row && {
      position: safeInteger(row.head_position),
      hash: plainBytes(row.head_hash),
      occurredAt: safeInteger(row.head_occurred_at),
      archived: row.archived,
    }
  )
}

/** Envelopes `from`..`to` (inclusive) in order; fewer when the conversation ends before `to`. */
export async function readRange(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredEnvelope[]> {
  const rows = await envelopesOf(log, key)
    .select(envelopeColumns)
    .where('position', '>=', from)
    .where('position', '<=', to)
    .orderBy('position')
    .execute()
  return rows.map((row) => toStoredEnvelope(row, key.conversationId))
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
  const rows = await envelopesOf(log, key)
    .select(envelopeColumns)
    .select(conversationOf(log, key).select('head_position').as('head_position'))
    .where('position', '>=', from)
    .where('position', '<=', last)
    .orderBy('position')
    .execute()
  const headPosition = rows[0] ? safeInteger(rows[0].head_position ?? 0) : ((await readHead(log, key))?.position ?? 0)
  const envelopes = rows.map((row) => toStoredEnvelope(row, key.conversationId))
  for (let position = from; position <= Math.min(last, headPosition); position++) {
    if (envelopes[position - from]?.position === position) continue
    throw new ColloquyError('log_corrupt', {
      conversationId: key.conversationId,
      position,
      problem: `the envelope is missing, although the conversation goes on to position ${headPosition}`,
    })
  }
  return { envelopes, headPosition }
}

/** The envelopes of those of the commands that are stored. */
export async function readCommands(
  log: LogConnection,
  key: ConversationKey,
  commandIds: readonly string[],
): Promise<Map<string, StoredEnvelope[]>> {
  const rows = await envelopesOf(log, key)
    .select(envelopeColumns)
    .where('command_id', 'in', commandIds)
    .orderBy('position')
    .execute()
  const commands = new Map<string, StoredEnvelope[]>()
  for (const row of rows) {
    const commandId = row.command_id as string
    const envelopes = commands.get(commandId) ?? []
    envelopes.push(toStoredEnvelope(row, key.conversationId))
    commands.set(commandId, envelopes)
  }
  return commands
}

/** See `EventLog.conversations`. Asks each partition for one page by its index and merges them, so the cost does not grow with the log. */
export async function listConversations(
  log: LogConnection,
  { tenant, after, limit }: { readonly tenant: string; readonly after?: string; readonly limit: number },
): Promise<ConversationSummary[]> {
  const rows = await log.kysely
    .selectFrom('partition')
    .innerJoinLateral(
      (eb) =>
        eb
          .selectFrom('conversation')
          .select(['tenant', 'conversation_id', 'head_position', 'head_hash', 'head_occurred_at', 'archived'])
          .whereRef('conversation.partition', '=', 'partition.partition')
          .where('tenant', '=', tenant)
          .where('conversation_id', '>', after ?? '')
          .where(sql<boolean>`not starts_with(conversation_id, 'colloquy:')`)
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
    .execute()
  return rows.map((row) => ({
    tenant: row.tenant,
    conversationId: row.conversation_id,
    position: safeInteger(row.head_position),
    hash: plainBytes(row.head_hash),
    occurredAt: safeInteger(row.head_occurred_at),
    archived: row.archived,
  }))
}
