/** How a turn ended, as its last envelope says it, and as who asks for the turn again is told. */
import { type Action, type Message, messageAdded, openEnvelope, turnEnded, turnInterrupted } from '@colloquy/core'
import type { AnyConversation, TurnLimits, TurnOutcome } from './turn-options.ts'

/** The `reason` of `turnEnded` and `turnInterrupted`. */
export function endReason(outcome: TurnOutcome): string {
  switch (outcome.outcome) {
    case 'answered':
      return outcome.outcome
    case 'limit_reached':
      return `${outcome.outcome}: ${outcome.limit}`
    case 'interrupted':
      return outcome.reason
    default:
      return outcome satisfies never
  }
}

function recordedOutcome(action: Action, turnId: string): TurnOutcome | undefined {
  const isEnded = turnEnded.match(action)
  if (!(isEnded || turnInterrupted.match(action)) || action.payload.turnId !== turnId) return undefined
  const { reason = 'interrupted' } = action.payload
  const limit = /^limit_reached: (modelCalls|toolCalls|durationMs)$/.exec(reason)?.[1]
  if (limit !== undefined) return { outcome: 'limit_reached', limit: limit as keyof TurnLimits }
  return isEnded ? { outcome: 'answered' } : { outcome: 'interrupted', reason }
}

/**
 * How the turn that began at `startedAtPosition` ended, and its last answer as the working set has it now: null where it was compacted
 * or cleared away.
 */
export async function recordedEnd(
  conversation: AnyConversation,
  turnId: string,
  startedAtPosition: number,
): Promise<{ readonly over: TurnOutcome; readonly message: Message | null }> {
  const { log, tenant, id: conversationId } = conversation
  let answerId: string | undefined
  for await (const page of log.read({ tenant, conversationId }, { from: startedAtPosition })) {
    for (const { action } of page.map(openEnvelope)) {
      if (messageAdded.match(action) && action.payload.message.role === 'assistant') answerId = action.payload.message.id
      const over = recordedOutcome(action, turnId)
      if (over === undefined) continue
      return { over, message: conversation.getState().messages.find(({ id }) => id === answerId) ?? null }
    }
  }
  return { over: { outcome: 'interrupted', reason: 'its end is not in the log' }, message: null }
}
