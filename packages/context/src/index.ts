// Tokens

// Budgets
export { type BudgetOptions, budget } from './budget/budget.ts'
// Compaction
export type { CompactionInput, CompactionPlan, NoCompaction, Strategy } from './compaction/strategy.ts'
// Manifests
export { type CallToDescribe, type DescribedRequest, describeRequest, prefixShare } from './manifest/describe-request.ts'
export { type InputProblem, type ModelCallSummary, type ModelInput, modelCalls, modelInput } from './manifest/model-input.ts'
export type { MediaLookup, ModelRequest, RequestEncoder, ToolSchema } from './manifest/model-request.ts'
export { type CallToRecord, loadMedia, type RecordedCall, recordModelCall } from './manifest/record-model-call.ts'
export type { TokenCounter } from './tokens/token-counter.ts'
