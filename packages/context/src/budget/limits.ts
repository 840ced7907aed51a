import type { BudgetKind, BudgetLimit, BudgetLimits, BudgetState } from '@colloquy/core'

/** Limits by kind, as an option: a number is a hard limit. */
export type LimitOptions = { readonly [K in BudgetKind]?: number | { readonly soft?: number; readonly hard?: number } }

export function limitsOf(options: LimitOptions = {}): BudgetLimits {
  const limits: { [K in BudgetKind]?: BudgetLimit } = {}
  for (const [kind, given] of Object.entries(options)) {
    const { soft = null, hard = null } = typeof given === 'number' ? { hard: given } : given
    limits[kind as BudgetKind] = { soft, hard }
  }
  return limits
}

type ByScope = BudgetState['limits']

/** Of two limits for the same thing the lower one holds. */
export function lowerLimits(a: ByScope, b: ByScope): ByScope {
  return { conversation: lower(a.conversation, b.conversation), turn: lower(a.turn, b.turn) }
}

function lower(a: BudgetLimits, b: BudgetLimits): BudgetLimits {
  const result: { [K in BudgetKind]?: BudgetLimit } = { ...a }
  for (const [kind, limit] of Object.entries(b)) {
    const other = a[kind as BudgetKind]
    result[kind as BudgetKind] = other ? { soft: lowerOf(other.soft, limit.soft), hard: lowerOf(other.hard, limit.hard) } : limit
  }
  return result
}

function lowerOf(a: number | null, b: number | null): number | null {
  if (a === null) return b
  return b === null ? a : Math.min(a, b)
}
