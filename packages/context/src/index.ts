// Budgets
export { type BudgetOptions, budget } from './budget/budget.ts'
export type { LimitOptions } from './budget/limits.ts'
export {
  amountsOfEstimate,
  amountsOfUsage,
  type CallEstimate,
  costOf,
  definePrices,
  type PricedModel,
  type PriceTable,
} from './budget/prices.ts'
export { type Reservation, type ReserveOptions, reservation, reserve } from './budget/reserve.ts'
export {
  ledgerIdOf,
  openTenantBudget,
  type TenantBudget,
  type TenantBudgetOptions,
  type TenantGrant,
} from './budget/tenant-budget.ts'
// Compaction
export { type Analysis, analyze, type StrategyChoice, type Thread } from './compaction/analyze.ts'
export { type AutoCompactionOptions, autoCompaction } from './compaction/auto-compaction.ts'
export { type Compactable, type CompactOptions, type CompactResult, compact } from './compaction/compact.ts'
export { type CompactionNeed, compactionDue } from './compaction/compaction-due.ts'
export { type CompactionSettings, compactionSettings, defaultCompactionSettings } from './compaction/compaction-settings.ts'
export { type ExtractiveOptions, extractiveSummariser } from './compaction/extractive-summariser.ts'
export { type AskModel, type ModelSummariserOptions, modelSummariser } from './compaction/model-summariser.ts'
export type { WorkingSetSize } from './compaction/plan-compaction.ts'
export {
  type CompactionPolicy,
  defaultPolicy,
  isNearLimit,
  planIfNeeded,
  startTokens,
  targetTokens,
} from './compaction/policy.ts'
export { type Reduced, type ReduceOptions, reduceContext } from './compaction/reduce-context.ts'
export { adaptive } from './compaction/strategies/adaptive.ts'
export { chronological } from './compaction/strategies/chronological.ts'
export { firstOf, keeping } from './compaction/strategies/compose.ts'
export { type NamedStrategyOptions, namedStrategy } from './compaction/strategies/named-strategy.ts'
export { nullStrategy } from './compaction/strategies/null-strategy.ts'
export { preserveToolContext } from './compaction/strategies/preserve-tool-context.ts'
export { type SlidingWindowOptions, slidingWindow } from './compaction/strategies/sliding-window.ts'
export { type SummarizingOptions, summarizing } from './compaction/strategies/summarizing.ts'
export { type Fitted, fitToBudget, type TokenBudgetOptions, tokenBudget } from './compaction/strategies/token-budget.ts'
export { topicBased } from './compaction/strategies/topic-based.ts'
export {
  type CompactionInput,
  type CompactionPlan,
  type NoCompaction,
  noCompactionTexts,
  type Strategy,
} from './compaction/strategy.ts'
export { type Group, type StayReason, type Structure, structureOf } from './compaction/structure.ts'
export { type SummariserInput, summariserInput } from './compaction/summariser-input.ts'
export {
  type CompactionEngine,
  recompact,
  redoCompaction,
  type UndoneCompaction,
  undoCompaction,
} from './compaction/undo-compaction.ts'
// Manifests
export { type CallToDescribe, type DescribedRequest, describeRequest, prefixShare } from './manifest/describe-request.ts'
export { type InputProblem, type ModelCallSummary, type ModelInput, modelCalls, modelInput } from './manifest/model-input.ts'
export type { MediaLookup, ModelRequest, RequestBody, RequestEncoder, ToolSchema } from './manifest/model-request.ts'
export { type CallToRecord, loadMedia, type RecordedCall, recordModelCall } from './manifest/record-model-call.ts'
// Recall
export {
  type ConversationMemory,
  conversationMemory,
  type MemoryOptions,
  type RecallOptions,
  type RelevantContext,
  type SaidInteraction,
  type Session,
} from './recall/conversation-memory.ts'
export type { Interaction, RecalledInteraction } from './recall/interaction.ts'
export {
  interactionTypes,
  type ProjectedEnvelope,
  type ProjectionOptions,
  projectInteractions,
} from './recall/interaction-projection.ts'
export { memoryIndex } from './recall/memory-index.ts'
export { type ChatMessage, type WithConversationOptions, withConversation } from './recall/with-conversation.ts'
// Settings
export {
  defaultSettings,
  type Settings,
  type SettingsLayer,
  type StrategyName,
  settings,
  settingsLayer,
  strategyNames,
} from './settings.ts'
// Tokens
export { type Calibration, calibrate, calibratedFactor, type TokenReport } from './tokens/calibration.ts'
export { charactersCounter } from './tokens/characters-counter.ts'
export { countedMessage, countMessage, countRequest, countTools } from './tokens/count-message.ts'
export { calibratedCounter, estimateCounter } from './tokens/estimate-counter.ts'
export type { ProviderCounter } from './tokens/provider-counter.ts'
export type { TokenCounter } from './tokens/token-counter.ts'
export { type ContextWindow, type ContextWindowOptions, contextWindow, windowOf } from './window/context-window.ts'
