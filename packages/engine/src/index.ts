export { Conversation } from './conversation.ts'
export type { Effect, EffectApi } from './effects.ts'
export {
  createEngine,
  createLedgerEngine,
  type Engine,
  type EngineOptions,
  type EngineState,
  type LedgerEngineOptions,
} from './engine.ts'
export type { FeedBatch, FeedEnvelope, FeedOptions } from './feed.ts'
export { type FeedHole, findFeedHoles } from './find-feed-holes.ts'
export type { ErrorListener } from './guarded-observable.ts'
export type { ImportedResult } from './import-conversation.ts'
export { openMemoryLog } from './memory-log.ts'
export type { Middleware, MiddlewareApi, Next } from './middleware.ts'
export { sha256, systemClock, systemRandom, uuidv7 } from './node-ports.ts'
export { ofType } from './of-type.ts'
export type { Seen } from './seen.ts'
export { type ChainVerdict, type ReplayVerdict, verifyChain, verifyReplay } from './verify.ts'
export type { DispatchOptions, DispatchResult } from './writer.ts'
