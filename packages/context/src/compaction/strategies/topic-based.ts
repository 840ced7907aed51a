import { lastRequest, nothingToDo, planSummary, survey } from '../plan.ts'
import type { Strategy } from '../strategy.ts'
import { topicsOf } from '../topics.ts'

/** Topics stay or leave whole, the newest first; of the one that is talked about now, as much stays as fits. */
export function topicBased(): Strategy {
  return {
    name: 'topic-based',
    plan(input) {
      const found = survey(input)
      const nothing = nothingToDo(found)
      if (nothing !== null) return nothing
      const { removable, structure, tokensOf } = found
      const topics = topicsOf(input.messages)
      const topicOf: number[] = []
      for (const [number, { from, to }] of topics.entries()) for (let index = from; index < to; index++) topicOf[index] = number
      const inTopic = topics.map(() => [] as number[])
      for (const group of removable) inTopic[topicOf[structure.groups[group]?.indexes[0] ?? 0] ?? 0]?.push(group)
      const current = inTopic.pop() ?? []
      // A topic that does not fit whole is not begun: its groups are left out of the preference.
      let room = input.targetTokens
      const whole = inTopic.toReversed().filter((groups) => {
        const tokens = groups.reduce((sum, group) => sum + (tokensOf[group] ?? 0), 0)
        if (tokens > room) return false
        room -= tokens
        return true
      })
      const first = [removable[0], lastRequest(found)].filter((number) => number !== undefined)
      return planSummary(found, { first, inTurn: [current, ...whole] })
    },
  }
}
