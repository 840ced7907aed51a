/** What `--strategy` takes. Beside the strategies themselves, which only the command that uses them loads. */
export const strategyNames = [
  'adaptive',
  'chronological',
  'preserve-tool-context',
  'topic-based',
  'summarizing',
  'sliding-window',
  'token-budget',
] as const
export type StrategyName = (typeof strategyNames)[number]
