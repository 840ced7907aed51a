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
export type { ModelRequest, RequestEncoder, ToolSchema } from './manifest/model-request.ts'
export type { TokenCounter } from './tokens/token-counter.ts'
