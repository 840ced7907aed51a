import { lastRequest, nothingToDo, planSummary, survey } from '../plan.ts'
import type { Strategy } from '../strategy.ts'

/** The oldest messages leave, the newest stay: one cut through time, and the last request on this side of it. */
export function chronological(): Strategy {
  return {
    name: 'chronological',
    plan(input) {
      const found = survey(input)
      const first = [found.removable[0], lastRequest(found)].filter((number) => number !== undefined)
      return nothingToDo(found) ?? planSummary(found, { first, inTurn: [found.removable] })
    },
  }
}
