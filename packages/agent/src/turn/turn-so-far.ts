import {
  messageAdded,
  modelCalled,
  openEnvelope,
  toolCancelled,
  toolFailed,
  toolProgressed,
  toolRequested,
  toolStarted,
  toolSucceeded,
  turnResumed,
} from '@colloquy/core'
import type { AnyConversation, TurnLimits } from './turn-options.ts'

/** What runs of a turn do while their processes live. Decisions about approvals and the like come from elsewhere, at any time. */
const signsOfLife: ReadonlySet<string> = new Set(
  [modelCalled, messageAdded, toolRequested, toolStarted, toolProgressed, toolSucceeded, toolFailed, toolCancelled].map(
    ({ type }) => type,
  ),
)

/**
 * What the open turn took of its limits before this process resumed it, as the log tells it: calls that left for a model, tries that failed
 * among them (answers, where no manifests are stored); calls of tools that have ended; and the time of each run up to the last thing
 * that it stored. While no process ran it, no time passed for the turn.
 */
export async function turnSoFar(conversation: AnyConversation): Promise<TurnLimits> {
  const { turn, tools } = conversation.getState()
  const { log, tenant, id: conversationId } = conversation
  let calls = 0
  let answers = 0
  let requested = 0
  let spentMicros = 0
  let runFrom = turn.current?.startedAt ?? 0
  let seenAt = runFrom
  for await (const page of log.read({ tenant, conversationId }, { from: turn.current?.startedAtPosition ?? 1 })) {
    for (const { action, occurredAt } of page.map(openEnvelope)) {
      if (modelCalled.match(action)) calls += 1
      else if (messageAdded.match(action) && action.payload.message.role === 'assistant') answers += 1
      else if (toolRequested.match(action)) requested += 1
      else if (turnResumed.match(action)) {
        spentMicros += seenAt - runFrom
        runFrom = occurredAt
        seenAt = occurredAt
      }
      if (signsOfLife.has(action.type)) seenAt = occurredAt
    }
  }
  // Calls that are open are counted when they are taken up.
  const toolCalls = Math.max(0, requested - tools.open.length)
  return { modelCalls: Math.max(calls, answers), toolCalls, durationMs: Math.round(spentMicros / 1_000) }
}
