import type { WorkingMessage } from '@colloquy/core'
import type { NoCompaction, Strategy } from '../strategy.ts'

/**
 * The first strategy that finds a plan. The name says all of them. None is asked while the working set is within the target, whatever
 * limits of their own they have.
 */
export function firstOf(first: Strategy, ...others: readonly Strategy[]): Strategy {
  const all = [first, ...others]
  return {
    name: all.map(({ name }) => name).join('|'),
    plan(input) {
      const tokens = input.messages.reduce((sum, { tokenCount }) => sum + tokenCount, 0)
      if (tokens <= input.targetTokens) return { reason: 'within_target' }
      let refusal: NoCompaction | undefined
      for (const strategy of all) {
        const plan = strategy.plan(input)
        if ('covered' in plan) return plan
        refusal ??= plan
      }
      return refusal ?? { reason: 'nothing_removable' }
    },
  }
}

/** A strategy from which messages are held back, with what belongs to them, as if they were pinned. */
export function keeping(strategy: Strategy, isKept: (message: WorkingMessage) => boolean): Strategy {
  return {
    name: strategy.name,
    plan(input) {
      const kept = input.messages.filter(isKept).map(({ id }) => id)
      return strategy.plan({ ...input, pinned: new Set([...input.pinned, ...kept]) })
    },
  }
}
