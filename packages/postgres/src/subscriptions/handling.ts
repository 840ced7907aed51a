import type { FeedFilter, OpenedEnvelope } from '@colloquy/core'
import type { Kysely } from 'kysely'

/** What a subscription does with envelopes. Those of a partition come in order, and never two calls for one partition at once. */
export type Handling =
  /** At least once: after a crash or a take-over the envelopes behind the last checkpoint come again. */
  | {
      readonly transactional?: false
      readonly handle: (envelopes: readonly OpenedEnvelope[], context: HandlingContext) => Promise<void> | void
    }
  /**
   * Exactly once, for what is written through `context.transaction`: it is committed together with the checkpoint, or not at all.
   * Elsewhere at least once. A transaction in which the database hears nothing for `leaseMs` is taken for one that hangs, and rolled
   * back, which uses up a try: do what takes long before, or outside of it. On PGlite, which has one connection, everything else of the log waits for that transaction: a handler
   * that asks for it waits for ever.
   */
  | {
      readonly transactional: true
      readonly handle: (envelopes: readonly OpenedEnvelope[], context: TransactionalContext) => Promise<void> | void
    }

export interface HandlingContext {
  readonly partition: number
}

export interface TransactionalContext extends HandlingContext {
  // The tables are the application's own.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly transaction: Kysely<any>
}

export interface HandlingPolicy {
  readonly filter: FeedFilter
  /** Envelopes in one call, at most. */
  readonly limit: number
  /** How often an envelope is tried before the policy decides. */
  readonly tries: number
  /** The pause before the second try; each one after it is twice as long, up to 30 s. */
  readonly retryMs: number
  readonly onPoison: 'stop' | 'park'
  readonly leaseMs: number
}
