import type { StoredEnvelope } from '@colloquy/core'
import type { Selectable } from 'kysely'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'

/** The columns that an envelope is made of; what is not there, the conversation's id, is known or selected beside them. */
export const envelopeColumns = [
  'tenant',
  'position',
  'type',
  'schema_version',
  'occurred_at',
  'command_id',
  'command_index',
  'actor',
  'cause',
  'key_id',
  'body',
  'salt',
  'commitment',
  'hash',
  'input_hash',
  'feed_position',
  'recorded_at',
] as const satisfies readonly (keyof Database['envelope'])[]

export type EnvelopeRow = Pick<Selectable<Database['envelope']>, (typeof envelopeColumns)[number]>

export function toStoredEnvelope(row: EnvelopeRow, conversationId: string): StoredEnvelope {
  return {
    tenant: row.tenant,
    conversationId,
    position: safeInteger(row.position),
    type: row.type,
    schemaVersion: row.schema_version,
    occurredAt: safeInteger(row.occurred_at),
    commandId: row.command_id,
    commandIndex: row.command_index,
    actor: row.actor,
    cause: row.cause,
    keyId: row.key_id,
    body: plainBytes(row.body),
    salt: row.salt && plainBytes(row.salt),
    commit: plainBytes(row.commitment),
    hash: plainBytes(row.hash),
    inputHash: row.input_hash && plainBytes(row.input_hash),
    feedPosition: safeInteger(row.feed_position),
    recordedAt: safeInteger(row.recorded_at),
  }
}

/** The same bytes as a bare Uint8Array: pg gives Buffers, which print, compare and serialize differently. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
