export { type ConversationFileManager, conversationDirectory } from './manager/conversation-file-manager.ts'
export {
  type ConversationContext,
  ConversationManager,
  type ConversationManagerOptions,
  type ConversationManagerStats,
  IDLE_TIME,
  type NewMessage,
} from './manager/conversation-manager.ts'
export type { Model } from './model.ts'
export {
  type Circuit,
  type CircuitOptions,
  type CircuitState,
  type CircuitStore,
  type Circuits,
  circuits,
} from './recovery/circuit.ts'
export { type ClassifyOptions, classify, type Failure, type FailureKind } from './recovery/classify.ts'
export { type RetryPolicies, type RetryPolicy, retryPolicies } from './recovery/policies.ts'
export { type RecoverOptions, type Retry, recover } from './recovery/recover.ts'
export { type Sleep, sleep } from './recovery/sleep.ts'
