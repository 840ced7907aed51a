/** What `compact --strategy` takes: the strategies of context but for `null` (a test compares). Here, because the help is shown without loading them. */
export const strategyNames = [
  'adaptive',
  'preserve-tool-context',
  'topic-based',
  'chronological',
  'summarizing',
  'sliding-window',
  'token-budget',
] as const
