import { lastRequest, nothingToDo, planSummary, survey } from '../plan.ts'
import type { Strategy } from '../strategy.ts'

/** Calls with their results stay as they were for as long as they fit, newest first; the talk between them leaves before them. */
export function preserveToolContext(): Strategy {
  return {
    name: 'preserve-tool-context',
    plan(input) {
      const found = survey(input)
      const { removable, structure } = found
      const withCalls = removable.filter((number) => structure.groups[number]?.hasCalls)
      const first = [removable[0], lastRequest(found)].filter((number) => number !== undefined)
      return nothingToDo(found) ?? planSummary(found, { first, inTurn: [withCalls] })
    },
  }
}
