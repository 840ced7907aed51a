/**
 * When the working set is compacted, and how far. Between two compactions nothing before the newest message changes, so a provider's
 * prompt cache holds; a window that slides by one message each turn would be paid for in full each time.
 */
import type { WorkingMessage } from '@colloquy/core'
import type { CompactionInput, CompactionPlan, NoCompaction, Strategy } from './strategy.ts'
import { isInstruction, isProviderCompaction } from './structure.ts'

export interface CompactionPolicy {
  /** What the model is shown at most. */
  readonly maxContextTokens: number
  /** Compaction starts where more than this share of it is used. */
  readonly summaryThreshold: number
  /** And goes down to this share. */
  readonly targetRatio: number
  /** But never below so many tokens: a conversation that short needs no summary. */
  readonly leastTokens: number
}

export const defaultPolicy: CompactionPolicy = {
  maxContextTokens: 50_000,
  summaryThreshold: 0.85,
  targetRatio: 0.6,
  leastTokens: 10_000,
}

/** Where compaction starts. */
export const startTokens = ({ maxContextTokens, summaryThreshold, leastTokens }: CompactionPolicy): number =>
  Math.min(maxContextTokens, Math.max(leastTokens, Math.floor(maxContextTokens * summaryThreshold)))

/**
 * What it is to leave at most. A window below `leastTokens` is never compacted before it is full. Where instructions and what is pinned
 * take more than half of the target, `fixedTokens`, what they leave of the window is treated like a window of its own: otherwise a long
 * system prompt would leave no room for a summary, and the conversation would grow until the provider refuses it.
 */
export function targetTokens(policy: CompactionPolicy, fixedTokens = 0): number {
  const start = startTokens(policy)
  const target = Math.min(start, Math.max(policy.leastTokens, Math.floor(policy.maxContextTokens * policy.targetRatio)))
  if (fixedTokens * 2 <= target) return target
  return Math.min(start, fixedTokens + Math.floor(((start - fixedTokens) * target) / start))
}

/** Tokens of the messages that no compaction takes out, whatever it is asked for. */
export const fixedTokensOf = (messages: readonly WorkingMessage[], isPinned: (message: WorkingMessage) => boolean): number =>
  messages.reduce(
    (sum, m) => (isInstruction(m) || isPinned(m) || m.parts.some(isProviderCompaction) ? sum + m.tokenCount : sum),
    0,
  )

export const isNearLimit = (usedTokens: number, policy: CompactionPolicy): boolean => usedTokens > startTokens(policy)

/** The plan by which the working set gets below the target, when it is near its limit; null while it is not. Pure. */
export function planIfNeeded(
  input: Omit<CompactionInput, 'targetTokens'>,
  strategy: Strategy,
  policy: CompactionPolicy = defaultPolicy,
): CompactionPlan | NoCompaction | null {
  const used = input.messages.reduce((sum, { tokenCount }) => sum + tokenCount, 0)
  if (!isNearLimit(used, policy)) return null
  const fixed = fixedTokensOf(input.messages, ({ id }) => input.pinned.has(id))
  return strategy.plan({ ...input, targetTokens: targetTokens(policy, fixed) })
}
