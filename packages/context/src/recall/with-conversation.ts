import {
  type Action,
  type ConversationState,
  type Message,
  messageAdded,
  textMessage,
  turnEnded,
  turnInterrupted,
  turnStarted,
} from '@colloquy/core'
import { type Conversation, type Engine, uuidv7 } from '@colloquy/engine'
import { countedMessage } from '../tokens/count-message.ts'
import { estimateCounter } from '../tokens/estimate-counter.ts'
import type { TokenCounter } from '../tokens/token-counter.ts'
import type { ConversationMemory } from './conversation-memory.ts'

/** A message as plain chat functions take it. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface WithConversationOptions<State> {
  readonly engine: Engine<State>
  /** What was said before and is not shown any more is looked up here, and given to the function as a system message. */
  readonly memory?: ConversationMemory
  /** Interactions that are recalled at most. Default: the memory's own. */
  readonly contextWindow?: number
  /** Words before all messages. */
  readonly system?: string
  /** Default: the estimate. */
  readonly counter?: TokenCounter
}

/**
 * A chat function whose turns are stored and whose context is supplied. `chat` gets the messages of the working set, the new one last,
 * and returns the answer; what is returned here takes the id of a conversation and the new message instead.
 *
 * The user's message is stored before `chat` is called, the answer before it is returned. When `chat` throws, the turn is stored as
 * interrupted, the message stays, and the error passes. Messages without text (calls of tools, files) are not for plain functions.
 * @throws `turn_already_open` while another turn of the conversation runs, what `dispatch` throws, and what `chat` throws
 */
export function withConversation<State extends ConversationState, Rest extends readonly unknown[]>(
  chat: (messages: readonly ChatMessage[], ...rest: Rest) => Promise<string>,
  options: WithConversationOptions<State>,
): (conversationId: string, input: string, ...rest: Rest) => Promise<string> {
  const { engine, memory, contextWindow, system } = options
  const { counter = estimateCounter } = options
  const said = (role: 'user' | 'assistant', text: string, hasContext?: boolean): Action =>
    messageAdded(
      countedMessage(counter, textMessage(uuidv7(), role, text)),
      hasContext === undefined ? {} : { meta: { hasContext } },
    )

  return async (conversationId, input, ...rest) => {
    const conversation = await engine.open(conversationId)
    const recalled = await recalledFor(input, conversation)
    const turnId = uuidv7()
    const hasContext = conversation.getState().messages.length > 0 || recalled !== ''
    const { state } = await conversation.dispatch([turnStarted({ turnId }), said('user', input, hasContext)])
    const messages: ChatMessage[] = [
      ...[system, recalled].flatMap((content) => (content ? [{ role: 'system' as const, content }] : [])),
      ...state.messages.slice().flatMap(chatMessageOf),
    ]
    let answer: string
    try {
      answer = await chat(messages, ...rest)
    } catch (error) {
      // The error is the caller's business; that the turn is over must be known to whoever comes next.
      await conversation.dispatch(turnInterrupted({ turnId, reason: reasonOf(error) }))
      throw error
    }
    await conversation.dispatch([said('assistant', answer), turnEnded({ turnId })])
    return answer
  }

  async function recalledFor(input: string, conversation: Conversation<State>): Promise<string> {
    if (memory === undefined) return ''
    const shown = new Set(
      conversation
        .getState()
        .messages.slice()
        .map(({ id }) => id),
    )
    const { text } = await memory.retrieveRelevantContext(input, { shown, ...(contextWindow !== undefined && { contextWindow }) })
    return text === '' ? '' : `What was said before and may matter now:\n\n${text}`
  }
}

/** None of a message without text. */
function chatMessageOf({ role, parts }: Message): ChatMessage[] {
  const content = parts
    .flatMap((part) =>
      part.type === 'text' ? [part.text] : part.type === 'compaction' && part.content !== undefined ? [part.content] : [],
    )
    .join('\n')
  if (content === '' || role === 'tool') return []
  return [{ role: role === 'developer' ? 'system' : role, content }]
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
