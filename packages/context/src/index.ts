// Tokens

// Budgets
export { type BudgetOptions, budget } from './budget/budget.ts'
export type { LimitOptions } from './budget/limits.ts'
export {
  amountsOfEstimate,
  amountsOfUsage,
  type CallEstimate,
  costOf,
  definePrices,
  modelPrice,
  type PricedModel,
  type PriceTable,
  priceTable,
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
export type { CompactionInput, CompactionPlan, NoCompaction, Strategy } from './compaction/strategy.ts'
// Manifests
export { type CallToDescribe, type DescribedRequest, describeRequest, prefixShare } from './manifest/describe-request.ts'
export { type InputProblem, type ModelCallSummary, type ModelInput, modelCalls, modelInput } from './manifest/model-input.ts'
export type { MediaLookup, ModelRequest, RequestEncoder, ToolSchema } from './manifest/model-request.ts'
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
export type { TokenCounter } from './tokens/token-counter.ts'
