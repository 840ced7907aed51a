import { nothingToDo, planSummary, survey } from '../plan.ts'
import type { Strategy } from '../strategy.ts'

export interface SummarizingOptions {
  /** Messages that stay, newest first, with what belongs to them; fewer where they do not fit. Default 3. */
  readonly keepLast?: number
}

/** Everything but the last messages is summarised. */
export function summarizing({ keepLast = 3 }: SummarizingOptions = {}): Strategy {
  return {
    name: 'summarizing',
    plan(input) {
      const found = survey(input)
      const { groupOf, groups } = found.structure
      const last = new Set(keepLast > 0 ? groupOf.slice(-keepLast) : [])
      const first = [...last].toReversed().filter((number) => groups[number]?.stays === null)
      return nothingToDo(found, keepLast + 1) ?? planSummary(found, { first, inTurn: [] })
    },
  }
}
