export { cacheWarnings, failureFields, type LogFields, type Logger, silentLogger } from './logger.ts'
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
// Providers; those of SDKs are entry points of their own
export {
  aiSdkEncoder,
  anthropicEncoder,
  langChainEncoder,
  openaiChatEncoder,
  openaiResponsesEncoder,
} from './providers/encoders.ts'
export { type Script, type ScriptedModelOptions, scriptedModel } from './providers/scripted.ts'
// Recovery
export {
  type Circuit,
  type CircuitOptions,
  type CircuitState,
  type CircuitStore,
  type Circuits,
  circuits,
} from './recovery/circuit.ts'
export { circuitsInLog } from './recovery/circuits-in-log.ts'
export { type ClassifyOptions, classify, type Failure, type FailureKind } from './recovery/classify.ts'
export { type Capability, capabilitiesOf, type DegradedMode, degradedBy, recoveredBy } from './recovery/degradation.ts'
export { type FallBackOptions, fallBack } from './recovery/fall-back.ts'
export { type RetryPolicies, type RetryPolicy, retryPolicies } from './recovery/policies.ts'
export { type RecoverOptions, type Retry, recover } from './recovery/recover.ts'
export { type Sleep, sleep } from './recovery/sleep.ts'
// Tools
export { defineTool, type EgressRules, type ExecutionContext, type Tool, toolParts } from './tools/tool.ts'
export { createToolRegistry, type ToolRegistry } from './tools/tool-registry.ts'
// Turns
export { activeTurns } from './turn/active-turns.ts'
export { type CompactOnOverflowOptions, compactOnOverflow } from './turn/compact-on-overflow.ts'
export type { LaneLimits, TurnEvent, TurnPart } from './turn/delta-lane.ts'
export { type ReserveCallsOptions, reserveCalls } from './turn/reserve-calls.ts'
export { resumeTurn, runTurn } from './turn/run-turn.ts'
export type {
  CallSettlement,
  HeldCall,
  ModelCall,
  PendingCall,
  TurnHandle,
  TurnHooks,
  TurnLimits,
  TurnMetrics,
  TurnOptions,
  TurnOutcome,
  TurnResult,
} from './turn/turn-options.ts'
