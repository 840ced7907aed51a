/** What was said in an interaction, by one message. */
export interface InteractionMessage {
  readonly messageId: string
  readonly role: 'user' | 'assistant'
  readonly text: string
}

/** A user message and what was answered, as an index keeps it. */
export interface IndexedInteraction {
  /** Of a conversation of the same id, where there is one. */
  readonly sessionId: string
  /** 1, 2, 3 ... in its session. */
  readonly sequence: number
  /** Of its first message, in microseconds since 1970. */
  readonly occurredAt: number
  /** Up to where the log of the conversation was taken in. */
  readonly lastPosition: number
  /** It was said in the conversation; false: it was told from elsewhere, whole. */
  readonly isLogged: boolean
  /** 0 to 1. */
  readonly significance: number
  /** Whoever answered was given something of before. */
  readonly hasContext: boolean
  /** In order. Empty when all of it was redacted. */
  readonly messages: readonly InteractionMessage[]
}

/** What is looked for. */
export interface MemoryQuery {
  /** In words; `"a phrase"` and `-unwanted` as in a web search. An interaction is found by any of the words. */
  readonly text: string
  /** In one session; otherwise in all of the tenant. */
  readonly sessionId?: string
  readonly limit: number
  /** Microseconds since 1970: what recency is measured from. */
  readonly now: number
}

/** What was found, and how well it fits. */
export interface FoundInteraction extends IndexedInteraction {
  /** 0 to 3, see `memoryRanking`. */
  readonly score: number
}

/**
 * How what was found is ordered: the sum of relevance, recency and significance, each 0 to 1 and weighing the same, as in Park et al.,
 * "Generative Agents" (UIST 2023, section 4.1), whose decay of 0.995 an hour this is too. Relevance is the index's own text rank over
 * the highest among those found; recency is `decayPerHour` to the power of the hours since.
 */
export const memoryRanking = { decayPerHour: 0.995, hoursLimit: 100_000 } as const

/** Finds what was said before. Derived from the log, and can be thrown away and made again. Implementations pass one contract suite. */
export interface MemoryIndex {
  /**
   * Keeps interactions. One of the same session and sequence is replaced, unless that is of a later position: what an interaction is
   * follows from the log up to a position, so who is behind takes nothing back. Idempotent.
   */
  put(tenant: string, interactions: readonly IndexedInteraction[]): Promise<void>
  /** The last ones of a session, the youngest first. */
  latest(tenant: string, sessionId: string, limit: number): Promise<readonly IndexedInteraction[]>
  /** By falling score; of the same score the younger first. Nothing, when the query holds no word. */
  search(tenant: string, query: MemoryQuery): Promise<readonly FoundInteraction[]>
  /** Lets go of a session: of what it has up to a sequence number, or of all. Idempotent. */
  forget(tenant: string, sessionId: string, upToSequence?: number): Promise<void>
}
