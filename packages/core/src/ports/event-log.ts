import type { Envelope, StoredEnvelope } from '../envelope.ts'
import type { ConversationKey } from '../ids.ts'

/** Where a conversation ends. */
export interface Head {
  readonly position: number
  readonly hash: Uint8Array
  readonly occurredAt: number
  readonly archived: boolean
}

/** Envelopes for one conversation; they stand or fall together. None: only the head is checked. */
export interface AppendRequest {
  readonly key: ConversationKey
  /** The head that the first envelope follows: position 0 and the genesis hash for a new conversation. */
  readonly expected: Pick<Head, 'position' | 'hash'>
  readonly envelopes: readonly Envelope[]
  /** Close the conversation after these. */
  readonly archive?: boolean
}

export type AppendOutcome =
  | { readonly status: 'appended'; readonly envelopes: readonly StoredEnvelope[] }
  /** Some command ids are stored already, with these first results; nothing was stored now. */
  | { readonly status: 'duplicate'; readonly commands: ReadonlyMap<string, readonly StoredEnvelope[]> }
  /**
   * The conversation is not where it was expected; nothing was stored. `missed` follows the expected position, in order, at most a
   * page of it; it is empty when the log ends before that position or holds another hash there.
   */
  | { readonly status: 'conflict'; readonly head: Head; readonly missed: readonly StoredEnvelope[] }
  | { readonly status: 'archived'; readonly head: Head }

export interface ConversationSummary extends ConversationKey {
  readonly position: number
  readonly hash: Uint8Array
  /** Of the last envelope, in microseconds since 1970. */
  readonly occurredAt: number
  readonly archived: boolean
}

/** A saved fold at a position. Disposable: a snapshot is never needed, and one under another `stateKey` is not used. */
export interface Snapshot {
  readonly position: number
  readonly stateKey: string
  readonly stateHash: Uint8Array
  /** The state as `encodeState` writes it; null when only the hash is kept, as a witness for verification. */
  readonly body: Uint8Array | null
}

export interface Media {
  /** SHA-256 of `bytes`, in hex. */
  readonly hash: string
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** Envelopes in one page of `read` and of a conflict's `missed`. */
export const pageSize = 500

/**
 * The log: the truth. Implementations pass one contract suite.
 *
 * Order: positions of a conversation are 1, 2, 3 without gaps; feed positions of a partition too, in the order of the commits.
 * Every method rejects with `database_unreachable`, `database_failed` or, from `append`, `append_outcome_unknown` when its store fails.
 */
export interface EventLog extends AsyncDisposable {
  /** How many partitions there are; 1 gives a total order. */
  readonly partitions: number

  /** Appends to many conversations at once, each one all or nothing and independent of the others. @returns outcomes in order */
  append(requests: readonly AppendRequest[]): Promise<readonly AppendOutcome[]>

  /** Undefined when there is no such conversation. */
  head(key: ConversationKey): Promise<Head | undefined>

  /** Pages of envelopes with positions `from` (default 1) to `to` (default the head), both included, ascending. */
  read(key: ConversationKey, range?: { readonly from?: number; readonly to?: number }): AsyncIterable<readonly StoredEnvelope[]>

  /** The envelopes of a command, in order; empty when it is not stored. */
  command(key: ConversationKey, commandId: string): Promise<readonly StoredEnvelope[]>

  /** Conversations of a tenant by id (by code point), after `after`. Our own streams (`colloquy:`) are left out. */
  conversations(query: {
    readonly tenant: string
    readonly after?: string
    readonly limit: number
  }): Promise<readonly ConversationSummary[]>

  /** Envelopes of a partition with feed positions after `after`, ascending, at most `limit`. */
  feed(query: { readonly partition: number; readonly after: number; readonly limit: number }): Promise<readonly StoredEnvelope[]>

  /** The youngest snapshot with a body at or before `atOrBefore` (default the head). */
  snapshot(
    key: ConversationKey,
    query: { readonly stateKey: string; readonly atOrBefore?: number },
  ): Promise<Snapshot | undefined>

  /** Position and state hash of all snapshots under `stateKey`, ascending, without bodies. */
  stateHashes(key: ConversationKey, stateKey: string): Promise<readonly Pick<Snapshot, 'position' | 'stateHash'>[]>

  /**
   * Keeps a snapshot. One with a body makes older ones of the conversation under the same key keep only their hash; one without
   * leaves them as they are. Idempotent.
   */
  saveSnapshot(key: ConversationKey, snapshot: Snapshot): Promise<void>

  /** Keeps media under their hash, before the append that refers to them. Idempotent. */
  putMedia(key: ConversationKey, media: readonly Media[]): Promise<void>

  media(key: ConversationKey, hash: string): Promise<Media | undefined>

  close(): Promise<void>
}
