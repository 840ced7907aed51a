import type { Envelope, StoredAction, StoredEnvelope } from '../envelope.ts'
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

/** A position of a conversation, where a fork leaves it. */
export interface ForkPoint {
  readonly conversationId: string
  readonly position: number
}

/** A conversation that continues another one of its tenant. */
export interface ForkRequest {
  /** Of the fork: its id begins with the root id of its parent, so that both lie in one partition. */
  readonly key: ConversationKey
  readonly parent: ForkPoint
}

/** What became of a fork. Only `forked` is one. */
export type ForkOutcome =
  /** `created: false`: this very fork was there already. */
  | { readonly status: 'forked'; readonly head: Head; readonly created: boolean }
  | { readonly status: 'parent_not_found' }
  | { readonly status: 'position_not_found'; readonly headPosition: number }
  /** The id is that of another conversation. */
  | { readonly status: 'taken' }

/** What became of an append whose answer was lost. `unknown`: nothing is there yet, and it may still come. */
export type AppendFate = 'stored' | 'not_stored' | 'unknown'

/** Which envelopes of a partition a reader of the feed wants; without a filter all of them. */
export interface FeedFilter {
  readonly tenant?: string
  readonly types?: readonly string[]
  /** Its own envelopes: of a fork, those after it left its parent. */
  readonly conversationId?: string
}

/** Part of a partition, in the order of the commits. */
export interface FeedPage {
  /** Ascending by feed position. */
  readonly envelopes: readonly StoredEnvelope[]
  /** The feed position up to which the page looked: where the next one begins. `after` when nothing is new. */
  readonly scannedTo: number
}

/** What became of an append. Only `appended` stored something. */
export type AppendOutcome =
  /** `durability: 'local'`: stored, but the wait for the standby that must have it too was cancelled; the primary's loss would lose it. */
  | { readonly status: 'appended'; readonly envelopes: readonly StoredEnvelope[]; readonly durability?: 'local' }
  /** Some command ids are stored already, with these first results; nothing was stored now. */
  | { readonly status: 'duplicate'; readonly commands: ReadonlyMap<string, readonly StoredEnvelope[]> }
  /**
   * The conversation is not where it was expected; nothing was stored. `missed` follows the expected position, in order, at most a
   * page of it; it is empty when the log ends before that position or holds another hash there.
   */
  | { readonly status: 'conflict'; readonly head: Head; readonly missed: readonly StoredEnvelope[] }
  | { readonly status: 'archived'; readonly head: Head }

/** A conversation in a list: where it ends. */
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

/** Bytes that messages refer to by their hash. */
export interface Media {
  /** SHA-256 of `bytes`, in hex. */
  readonly hash: string
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/**
 * The log: the truth. Implementations pass one contract suite.
 *
 * Pages are bounded by count and by bytes (`page.ts`): one that is shorter than asked for is not the end.
 * Order: positions of a conversation are 1, 2, 3 without gaps; feed positions of a partition too, in the order of the commits.
 * Every method rejects with `database_unreachable`, `database_failed`, those that write with `log_read_only` or, from `append`, `append_outcome_unknown` when its store fails,
 * and with `log_closed` behind `close`.
 */
export interface EventLog extends AsyncDisposable {
  /**
   * Which log this is: 8 characters of 0-9 and a-f, by chance, made with it. Its cursors carry it, and those of others are refused. A copy
   * of a database has the same, until it is given another.
   */
  readonly id: string

  /** How many partitions there are; 1 gives a total order. */
  readonly partitions: number

  /**
   * Appends to many conversations at once, each one all or nothing and independent of the others. @returns outcomes in order
   * @throws RangeError where one of them could never be mended (`assertAppend`); then none is stored
   */
  append(requests: readonly AppendRequest[]): Promise<readonly AppendOutcome[]>

  /** What became of envelope `hash` at `position`, after `append` rejected with `append_outcome_unknown`. */
  outcome(query: { readonly key: ConversationKey; readonly position: number; readonly hash: Uint8Array }): Promise<AppendFate>

  /** Undefined when there is no such conversation. */
  head(key: ConversationKey): Promise<Head | undefined>

  /** Head and youngest snapshot with a body, in one go: what a load begins with. Undefined when there is no such conversation. */
  latest(
    key: ConversationKey,
    stateKey: string,
  ): Promise<{ readonly head: Head; readonly snapshot: Snapshot | undefined } | undefined>

  /** Makes a fork, which shares its parent's envelopes up to a position and has none of its own yet. Idempotent. */
  fork(request: ForkRequest): Promise<ForkOutcome>

  /** Where the conversation and each one before it left its parent, the root's first; empty for one that is no fork. */
  ancestry(key: ConversationKey): Promise<readonly ForkPoint[]>

  /**
   * Pages of envelopes with positions `from` (default 1) to `to` (default the head), both included, ascending. Those that a fork
   * shares are its parent's, with the parent's id.
   */
  read(key: ConversationKey, range?: { readonly from?: number; readonly to?: number }): AsyncIterable<readonly StoredEnvelope[]>

  /**
   * Pages of what replay needs of the envelopes at positions `from` to `to`, which the caller knows to be there: what `read` gives,
   * without what verifies it, and as fast as can be.
   */
  actions(key: ConversationKey, range: { readonly from: number; readonly to: number }): AsyncIterable<readonly StoredAction[]>

  /** The envelopes of a command, in order; empty when it is not stored. A fork has its own commands only. */
  command(key: ConversationKey, commandId: string): Promise<readonly StoredEnvelope[]>

  /** Conversations of a tenant by id (by code point), after `after`. Our own streams (`colloquy:`) are left out. */
  conversations(query: {
    readonly tenant: string
    readonly after?: string
    readonly limit: number
  }): Promise<readonly ConversationSummary[]>

  /** Envelopes of a partition with feed positions after `after`, ascending, at most `limit`; fewer where they are large. */
  feed(query: FeedFilter & { readonly partition: number; readonly after: number; readonly limit: number }): Promise<FeedPage>

  /**
   * As `feed`, of several partitions: `after` by partition, `limit` for each. What they have at once is no more than one page's bytes
   * (`pageBytes`): where it reaches them, the last page of the answer may be short, and partitions behind it are not in it.
   * @returns pages in the order in which they were asked for, at least one
   */
  feedPages(
    query: FeedFilter & { readonly after: ReadonlyMap<number, number>; readonly limit: number },
  ): Promise<ReadonlyMap<number, FeedPage>>

  /** The last feed position of each partition, by its number. */
  feedHeads(): Promise<readonly number[]>

  /**
   * Calls `listener` when partitions may have grown. A hint: it may come late, twice, without reason or never. @returns how to stop
   */
  onGrowth(listener: (partitions: readonly number[]) => void): () => void

  /** The youngest snapshot with a body at or before `atOrBefore` (default the head). */
  snapshot(
    key: ConversationKey,
    query: { readonly stateKey: string; readonly atOrBefore?: number },
  ): Promise<Snapshot | undefined>

  /**
   * All snapshots without their bodies, ascending by position, then by state key (by code point). Of one `stateKey`, or of all: those
   * of other keys cannot be compared with a state, and witness all the same that the conversation was so long.
   */
  stateHashes(key: ConversationKey, stateKey?: string): Promise<readonly Omit<Snapshot, 'body'>[]>

  /**
   * Keeps a snapshot. One with a body makes older ones of the conversation under the same key keep only their hash; one without
   * leaves them as they are. Idempotent.
   */
  saveSnapshot(key: ConversationKey, snapshot: Snapshot): Promise<void>

  /** Lets go of the body of a snapshot that is not to be used; its hash stays. Idempotent. */
  dropSnapshot(key: ConversationKey, snapshot: Pick<Snapshot, 'position' | 'stateKey'>): Promise<void>

  /** Keeps media under their hash, before the append that refers to them. Idempotent. */
  putMedia(key: ConversationKey, media: readonly Media[]): Promise<void>

  media(key: ConversationKey, hash: string): Promise<Media | undefined>

  close(): Promise<void>
}
