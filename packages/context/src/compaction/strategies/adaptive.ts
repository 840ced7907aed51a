import { choiceOf, type StrategyChoice } from '../analyze.ts'
import type { Strategy } from '../strategy.ts'
import { hasPart } from '../structure.ts'
import { topicsOf } from '../topics.ts'
import { chronological } from './chronological.ts'
import { preserveToolContext } from './preserve-tool-context.ts'
import { topicBased } from './topic-based.ts'

const strategies: Record<StrategyChoice, () => Strategy> = {
  'preserve-tool-context': preserveToolContext,
  'topic-based': topicBased,
  chronological,
}

/** The strategy that the analysis recommends for these messages, at each plan anew. The default. */
export function adaptive(): Strategy {
  return {
    name: 'adaptive',
    plan(input) {
      const { messages } = input
      const toolRequests = messages.reduce((sum, m) => sum + (hasPart(m, 'tool_call') ? callsIn(m.parts) : 0), 0)
      const { strategy } = choiceOf(toolRequests, () => topicsOf(messages).length - 1)
      return strategies[strategy]().plan(input)
    },
  }
}

const callsIn = (parts: readonly { type: string }[]): number => parts.filter(({ type }) => type === 'tool_call').length
