export type { Check } from './check.ts'
export type { PostgresTarget } from './connect.ts'
export type { Database } from './database.ts'
export { doctor } from './doctor.ts'
export { migrate } from './migrate.ts'
export { type EmbeddedOptions, openEmbeddedLog } from './open-embedded.ts'
export { openPostgresLog, type PostgresOptions } from './open-postgres.ts'
export type { PostgresLog } from './postgres-log.ts'
export { postgresMemoryIndex } from './recall/memory-index.ts'
export type { Roles } from './roles.ts'
export type { Signals } from './signals/growth.ts'
export { type PostgresSignalsOptions, postgresSignals } from './signals/postgres-signals.ts'
export type { SignalTransport, SignalWarning } from './signals/signal-transport.ts'
export type { DeadLetter } from './subscriptions/dead-letters.ts'
export type { Handling, HandlingContext, TransactionalContext } from './subscriptions/handling.ts'
export {
  type DurableSubscription,
  forgetSubscription,
  type SubscribeOptions,
  type SubscriptionStatus,
  subscribe,
} from './subscriptions/subscribe.ts'
