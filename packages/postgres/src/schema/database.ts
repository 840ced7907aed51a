/** The tables of `migrations/`, as Kysely sees them. */
import type { ColumnType, Generated } from 'kysely'

/** A bigint as some driver gives it; `safeInteger` makes it a number. */
type Int8 = ColumnType<string | number | bigint, number, number>
/** One that the database fills in when it is left out. */
type GeneratedInt8 = ColumnType<string | number | bigint, number | undefined, number>
/** A Buffer or a Uint8Array. */
type Bytes = ColumnType<Uint8Array>

interface PartitionTable {
  partition: number
  partitions: number
  partition_hash: string
  log_id: string
  last_feed_position: ColumnType<string | number | bigint, number | undefined, number>
  last_conversation_no: ColumnType<string | number | bigint, number | undefined, number>
}

interface ConversationTable {
  partition: number
  conversation_no: Int8
  tenant: string
  conversation_id: string
  head_position: Int8
  head_hash: Bytes
  head_occurred_at: Int8
  archived: Generated<boolean>
  parent_conversation_no: Int8 | null
  parent_position: Int8 | null
}

interface EnvelopeTable {
  partition: number
  schema_version: number
  conversation_no: Int8
  position: Int8
  feed_position: Int8
  occurred_at: Int8
  recorded_at: Int8
  command_index: number | null
  tenant: string
  type: string
  command_id: string | null
  actor: string | null
  cause: string | null
  key_id: string | null
  body: Bytes
  salt: Bytes | null
  commitment: Bytes
  hash: Bytes
  input_hash: Bytes | null
}

interface MediaTable {
  partition: number
  tenant: string
  hash: string
  media_type: string
  bytes: Bytes
  recorded_at: Generated<Int8>
}

interface SnapshotTable {
  partition: number
  conversation_no: Int8
  state_key: string
  position: Int8
  tenant: string
  state_hash: Bytes
  body: Bytes | null
  recorded_at: Generated<Int8>
}

interface SubscriptionTable {
  partition: number
  name: string
  feed_position: Int8
  filter: string
  begun_at: GeneratedInt8
  epoch: GeneratedInt8
  leased_by: string | null
  leased_until: Int8 | null
  problem: string | null
}

interface SubscriberTable {
  partition: number
  name: string
  member: string
  alive_until: Int8
}

interface DeadLetterTable {
  partition: number
  name: string
  feed_position: Int8
  tenant: string
  conversation_id: string
  position: Int8
  tries: number
  problem: string
  parked_at: GeneratedInt8
}

interface InteractionTable {
  partition: number
  tenant: string
  session_id: string
  sequence: Int8
  occurred_at: Int8
  last_position: Int8
  is_logged: boolean
  significance: number
  has_context: boolean
  messages: string
  /** A tsvector. */
  words: string
}

export interface Database {
  partition: PartitionTable
  conversation: ConversationTable
  envelope: EnvelopeTable
  media: MediaTable
  snapshot: SnapshotTable
  subscription: SubscriptionTable
  subscriber: SubscriberTable
  dead_letter: DeadLetterTable
  interaction: InteractionTable
  /** A view: those of the tenants that the transaction names. */
  own_interaction: InteractionTable
  /** Kysely's record of the migrations that were applied. */
  colloquy_migration: { name: string; timestamp: string }
}
