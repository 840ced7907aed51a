/** What a budget counts, by kind. */
import { z } from 'zod'
import { tokenCount } from './message.ts'

/**
 * Amounts by kind. A kind that is left out is not known, which is not the same as 0: what is not known cannot be judged.
 *
 * The five kinds of tokens of model calls exclude each other, and `tokens` in a limit is their sum. `messageTokens` are those of the
 * messages that joined the conversation, however often they were sent.
 */
export const budgetAmounts = z.strictObject({
  messages: tokenCount.optional(),
  messageTokens: tokenCount.optional(),
  modelCalls: tokenCount.optional(),
  toolCalls: tokenCount.optional(),
  /** Sent to the model and neither read from nor written to its cache. */
  inputTokens: tokenCount.optional(),
  outputTokens: tokenCount.optional(),
  cacheReadTokens: tokenCount.optional(),
  cacheWriteTokens: tokenCount.optional(),
  /** Of what was sent, the schemas of tools; where they are counted apart they are not in `inputTokens`. */
  toolTokens: tokenCount.optional(),
  /** Millionths of a US dollar. */
  costMicros: tokenCount.optional(),
  /** Milliseconds: of turns, and of calls outside of any. */
  wallMs: tokenCount.optional(),
})
/** What something takes, by kind, as far as it is known. */
export type BudgetAmounts = z.infer<typeof budgetAmounts>
/** What is counted. */
export type AmountKind = keyof BudgetAmounts

/** What a limit can be set for. */
export type BudgetKind = AmountKind | 'tokens'

/** In the order in which they are shown. */
export const amountKinds = Object.keys(budgetAmounts.shape) as readonly AmountKind[]
/** All kinds that a limit can be of; `tokens` is the sum of those of calls. */
export const budgetKinds: readonly BudgetKind[] = ['tokens', ...amountKinds]

/** An amount of every kind. */
export type BudgetTotals = { readonly [K in AmountKind]: number }

const callTokenKinds = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'toolTokens'] as const

export function noAmounts(): BudgetTotals {
  return {
    messages: 0,
    messageTokens: 0,
    modelCalls: 0,
    toolCalls: 0,
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    toolTokens: 0,
    costMicros: 0,
    wallMs: 0,
  }
}

/** Adds into `totals`, which the caller owns. A total stops at 2^53 - 1: beyond it sums would depend on their order. */
export function addAmounts(totals: { -readonly [K in AmountKind]?: number | undefined }, amounts: BudgetAmounts): void {
  for (const kind of amountKinds) {
    const amount = amounts[kind]
    if (amount !== undefined && amount > 0) totals[kind] = Math.min((totals[kind] ?? 0) + amount, Number.MAX_SAFE_INTEGER)
  }
}

/** What counts against a limit of this kind; undefined when none of it is known. */
export function amountOf(amounts: BudgetAmounts, kind: BudgetKind): number | undefined {
  if (kind !== 'tokens') return amounts[kind]
  let sum: number | undefined
  for (const each of callTokenKinds) {
    const amount = amounts[each]
    if (amount !== undefined) sum = Math.min((sum ?? 0) + amount, Number.MAX_SAFE_INTEGER)
  }
  return sum
}

/** Whether a model call is asked for without saying how much of `kind` it may take. */
export function isUnknown(amounts: BudgetAmounts, kind: BudgetKind): boolean {
  if (!amounts.modelCalls) return false
  switch (kind) {
    case 'tokens':
      return amounts.inputTokens === undefined || amounts.outputTokens === undefined
    case 'inputTokens':
    case 'outputTokens':
    case 'costMicros':
      return amounts[kind] === undefined
    default:
      return false
  }
}
