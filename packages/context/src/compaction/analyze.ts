import type { Message } from '@colloquy/core'
import { errors, frequentReferences, openQuestions } from './critical-context.ts'
import { structureOf } from './structure.ts'
import { type Topic, topicsOf } from './topics.ts'

export interface Analysis {
  readonly messages: number
  readonly byRole: Readonly<Record<Message['role'], number>>
  readonly toolRequests: number
  /** Requests whose result is there. */
  readonly matchedResults: number
  /** Requests without a result. */
  readonly unansweredCalls: readonly { readonly messageId: string; readonly callId: string; readonly name: string }[]
  /** Messages with a result whose request is not there. */
  readonly orphanResults: readonly string[]
  /** Stretches about one thing, in order. */
  readonly threads: readonly Thread[]
  /** One less than there are threads. */
  readonly topicChanges: number
  /** In the last words of either side. */
  readonly openQuestions: readonly string[]
  readonly critical: {
    /** Identifiers, paths and numbers that more than one message names, most named first. */
    readonly references: readonly string[]
    readonly errors: readonly string[]
    /** Approvals that were given or denied. */
    readonly decisions: readonly string[]
  }
  readonly strategy: StrategyChoice
  /** The figures that made the choice. */
  readonly because: string
}

export interface Thread {
  readonly firstMessageId: string
  readonly lastMessageId: string
  readonly messages: number
  readonly words: readonly string[]
}

export type StrategyChoice = 'preserve-tool-context' | 'topic-based' | 'chronological'

/** More tool requests than that make what tools said the thread of the conversation. */
const manyToolRequests = 10
/** More changes of topic than that make whole topics the better pieces. */
const manyTopicChanges = 5

/** What a conversation is made of, and which strategy suits it. Linear; says the same of the same messages everywhere. */
export function analyze(messages: readonly Message[]): Analysis {
  const { calls, orphans } = structureOf({ messages, pinned: new Set(), openCalls: [] })
  const topics = topicsOf(messages)
  const byRole = { system: 0, developer: 0, user: 0, assistant: 0, tool: 0 }
  for (const { role } of messages) byRole[role] += 1
  const unanswered = calls.filter(({ resultIndex }) => resultIndex === null)
  const topicChanges = Math.max(0, topics.length - 1)
  return {
    messages: messages.length,
    byRole,
    toolRequests: calls.length,
    matchedResults: calls.length - unanswered.length,
    unansweredCalls: unanswered.map(({ callIndex, callId, name }) => ({
      messageId: messages[callIndex]?.id ?? '',
      callId,
      name,
    })),
    orphanResults: orphans.map((index) => messages[index]?.id ?? ''),
    threads: topics.map((topic) => threadOf(messages, topic)),
    topicChanges,
    openQuestions: openQuestions(messages),
    critical: { references: frequentReferences(messages), errors: errors(messages), decisions: decisions(messages) },
    ...choiceOf(calls.length, () => topicChanges),
  }
}

/**
 * More than 10 tool requests: tool context; else more than 5 changes of topic: topics; else time. Topics are looked for only when
 * they decide.
 */
export function choiceOf(toolRequests: number, topicChanges: () => number): Pick<Analysis, 'strategy' | 'because'> {
  if (toolRequests > manyToolRequests) {
    return { strategy: 'preserve-tool-context', because: `${toolRequests} tool requests, more than ${manyToolRequests}` }
  }
  const changes = topicChanges()
  return changes > manyTopicChanges
    ? { strategy: 'topic-based', because: `${changes} changes of topic, more than ${manyTopicChanges}` }
    : { strategy: 'chronological', because: `${toolRequests} tool requests and ${changes} changes of topic` }
}

const threadOf = (messages: readonly Message[], { from, to, words }: Topic): Thread => ({
  firstMessageId: messages[from]?.id ?? '',
  lastMessageId: messages[to - 1]?.id ?? '',
  messages: to - from,
  words,
})

function decisions(messages: readonly Message[]): readonly string[] {
  return messages.flatMap(({ parts }) =>
    parts.flatMap((part) => {
      if (part.type !== 'approval' || part.decision === undefined) return []
      return [`${part.decision}: ${part.callId}${part.reason === undefined ? '' : ` (${part.reason})`}`]
    }),
  )
}
