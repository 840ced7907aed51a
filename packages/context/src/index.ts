// Tokens

// Budgets
export { type BudgetOptions, budget } from './budget/budget.ts'
// Compaction
export { type AutoCompactionOptions, autoCompaction } from './compaction/auto-compaction.ts'
export { type Compactable, type CompactOptions, type CompactResult, compact } from './compaction/compact.ts'
export { type CompactionNeed, compactionDue } from './compaction/compaction-due.ts'
export { type CompactionSettings, compactionSettings, defaultCompactionSettings } from './compaction/compaction-settings.ts'
export { type AskModel, type ModelSummariserOptions, modelSummariser } from './compaction/model-summariser.ts'
export type { WorkingSetSize } from './compaction/plan-compaction.ts'
export type { CompactionInput, CompactionPlan, NoCompaction, Strategy } from './compaction/strategy.ts'
export { type SummariserInput, summariserInput } from './compaction/summariser-input.ts'
export {
  type CompactionEngine,
  recompact,
  redoCompaction,
  type UndoneCompaction,
  undoCompaction,
} from './compaction/undo-compaction.ts'
// Manifests
export type { ModelRequest, RequestEncoder, ToolSchema } from './manifest/model-request.ts'
export type { TokenCounter } from './tokens/token-counter.ts'
export { type ContextWindow, type ContextWindowOptions, contextWindow } from './window/context-window.ts'
