import { type ConversationKey, type Head, partitionOf } from '@colloquy/core'
import type { Kysely, Selectable } from 'kysely'
import type { LogConnection } from '../connections/connection.ts'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'
import { sha256 } from '../sha256.ts'
import { plainBytes } from './stored-envelope.ts'

/** The row of a conversation: what every read of it starts from. */
export function conversationOf(kysely: Kysely<Database>, log: Pick<LogConnection, 'partitions'>, key: ConversationKey) {
  return kysely
    .selectFrom('conversation')
    .where('partition', '=', partitionOf(key, log.partitions, sha256))
    .where('tenant', '=', key.tenant)
    .where('conversation_id', '=', key.conversationId)
}

export const headColumns = ['head_position', 'head_hash', 'head_occurred_at', 'archived'] as const

export function toHead(row: Pick<Selectable<Database['conversation']>, (typeof headColumns)[number]>): Head {
  return {
    position: safeInteger(row.head_position),
    hash: plainBytes(row.head_hash),
    occurredAt: safeInteger(row.head_occurred_at),
    archived: row.archived,
  }
}
