import type { TokenCounter } from './token-counter.ts'

/**
 * Four characters are a token: the classic heuristic, for comparing with others. It misses JSON by a quarter and Chinese by two
 * thirds (measured against o200k on 0.87 M characters, 2026-11-20); `estimateCounter` is as fast and nearer.
 */
export const charactersCounter: TokenCounter = {
  id: 'characters/4',
  version: '1',
  count: (text) => Math.ceil(text.length / 4),
}
