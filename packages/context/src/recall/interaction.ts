/** An interaction, whole and in its parts, with what there is to say about it. */
import type { FoundInteraction, IndexedInteraction } from '@colloquy/core'

export interface Interaction {
  readonly sessionId: string
  /** 1, 2, 3 ... in its session. */
  readonly sequence: number
  /** `<session>_<sequence>` */
  readonly turnId: string
  /** Microseconds since 1970. */
  readonly timestamp: number
  readonly interactionType: 'conversation_turn'
  /** Who said something in it; null where roles are not asked for (`roleMetadata: false`). */
  readonly role: 'user' | 'assistant' | 'user_and_assistant' | null
  readonly userMessage: string | null
  readonly assistantResponse: string | null
  /** The whole; with roles, who said what. */
  readonly interaction: string
  /** 0 to 1. */
  readonly significance: number
  /** Whoever answered was given something of before. */
  readonly hasContext: boolean
  /** Ids of the messages it is made of. */
  readonly messageIds: readonly string[]
}

export interface RecalledInteraction extends Interaction {
  /** 0 to 3: `memoryRanking` of core says of what. */
  readonly score: number
}

export function interactionOf(indexed: IndexedInteraction, { roleMetadata }: { readonly roleMetadata: boolean }): Interaction {
  const { sessionId, sequence, occurredAt, significance, hasContext, messages } = indexed
  const said = (role: 'user' | 'assistant'): string | null => {
    const texts = messages.flatMap((message) => (message.role === role ? [message.text] : []))
    return texts.length === 0 ? null : texts.join('\n\n')
  }
  const userMessage = said('user')
  const assistantResponse = said('assistant')
  const role = userMessage === null ? 'assistant' : assistantResponse === null ? 'user' : 'user_and_assistant'
  const whole = messages.map((message) => (roleMetadata ? `${message.role}: ${message.text}` : message.text))
  return {
    sessionId,
    sequence,
    turnId: turnIdOf(sessionId, sequence),
    timestamp: occurredAt,
    interactionType: 'conversation_turn',
    role: roleMetadata ? role : null,
    userMessage,
    assistantResponse,
    interaction: whole.join('\n\n'),
    significance,
    hasContext,
    messageIds: messages.map(({ messageId }) => messageId),
  }
}

export function recalledOf(found: FoundInteraction, options: { readonly roleMetadata: boolean }): RecalledInteraction {
  return { ...interactionOf(found, options), score: found.score }
}

const turnIdOf = (sessionId: string, sequence: number): string => `${sessionId}_${sequence}`
