export type { PostgresTarget } from './connections/connect.ts'
export type { Check } from './doctor/check.ts'
export { doctor } from './doctor/doctor.ts'
export { type EmbeddedOptions, openEmbeddedLog } from './embedded/open-embedded.ts'
export { openPostgresLog, type PostgresOptions } from './open-postgres.ts'
export type { PostgresLog } from './postgres-log.ts'
export { postgresMemoryIndex } from './recall/memory-index.ts'
export type { Database } from './schema/database.ts'
export { migrate } from './schema/migrate.ts'
export type { Roles } from './schema/roles.ts'
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
