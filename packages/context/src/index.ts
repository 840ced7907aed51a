// Tokens

// Budgets
export { type BudgetOptions, budget } from './budget/budget.ts'
// Compaction
export type { CompactionInput, CompactionPlan, NoCompaction, Strategy } from './compaction/strategy.ts'
// Manifests
export type { ModelRequest, RequestEncoder, ToolSchema } from './manifest/model-request.ts'
export type { TokenCounter } from './tokens/token-counter.ts'
