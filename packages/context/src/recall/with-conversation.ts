import {
  type Action,
  type ConversationState,
  isColloquyError,
  type Message,
  messageAdded,
  textMessage,
  toolCancelled,
  toolFailed,
  turnEnded,
  turnInterrupted,
  turnStarted,
} from '@colloquy/core'
import { type Conversation, type DispatchResult, type Engine, uuidv7 } from '@colloquy/engine'
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
  /**
   * While another turn of the conversation is open: refuse (`turn_already_open`), or interrupt it. A process that died in its turn
   * leaves it open, and nobody can tell that from one that still runs: interrupt where a conversation has one caller at a time. Calls of
   * tools that it left open are closed with it: those that had begun as `outcome_unknown`. Default reject.
   */
  readonly whenBusy?: 'reject' | 'interrupt'
}

/**
 * A chat function whose turns are stored and whose context is supplied. `chat` gets the messages of the working set, the new one last,
 * and returns the answer; what is returned here takes the id of a conversation and the new message instead.
 *
 * The user's message is stored before `chat` is called, the answer before it is returned. When `chat` throws, or the answer is refused, the
 * turn is stored as interrupted, the message stays, and the error passes. Messages without text (calls of tools, files) are not for plain functions.
 * @throws `turn_already_open` while another turn of the conversation runs, `turn_not_open` when another one interrupted this one, whose
 * answer is not stored then; what `dispatch` throws, and what `chat` throws
 */
export function withConversation<State extends ConversationState, Rest extends readonly unknown[]>(
  chat: (messages: readonly ChatMessage[], ...rest: Rest) => Promise<string>,
  options: WithConversationOptions<State>,
): (conversationId: string, input: string, ...rest: Rest) => Promise<string> {
  const { engine, memory, contextWindow, system } = options
  const { counter = estimateCounter, whenBusy = 'reject' } = options
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
    const { state } = await begin(conversation, [turnStarted({ turnId }), said('user', input, hasContext)])
    const messages: ChatMessage[] = [
      ...[system, recalled].flatMap((content) => (content ? [{ role: 'system' as const, content }] : [])),
      ...state.messages.slice().flatMap(chatMessageOf),
    ]
    try {
      const answer = await chat(messages, ...rest)
      await conversation.dispatch([said('assistant', answer), turnEnded({ turnId })])
      return answer
    } catch (error) {
      // The error is the caller's business; that the turn is over must be known to whoever comes next, where the log can be reached.
      await conversation.dispatch(turnInterrupted({ turnId, reason: reasonOf(error) })).catch(() => {})
      throw error
    }
  }

  async function begin(conversation: Conversation<State>, actions: readonly Action[]): Promise<DispatchResult<State>> {
    for (;;) {
      try {
        return await conversation.dispatch(actions)
      } catch (error) {
        if (whenBusy === 'reject' || !isColloquyError(error, 'turn_already_open')) throw error
        await interrupt(conversation, error.details.openTurnId).catch(unlessMoved)
      }
    }
  }

  /** With its calls: whoever ran them ends them no more, and an open call is never compacted. */
  async function interrupt(conversation: Conversation<State>, turnId: string): Promise<void> {
    const { tools, turn } = await conversation.refresh()
    const reason = 'another turn began'
    const since = turn.current?.startedAtPosition ?? Number.POSITIVE_INFINITY
    const left = tools.open.filter(({ requestedAtPosition }) => requestedAtPosition > since)
    const ends = left.map(({ messageId, callId, name, status }) =>
      status === 'started'
        ? toolFailed({ messageId, callId, kind: 'outcome_unknown', problem: `${reason} while ${name} ran` })
        : toolCancelled({ messageId, callId, reason }),
    )
    await conversation.dispatch([...ends, turnInterrupted({ turnId, reason })])
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

/** The turn, or a call of it, ended meanwhile: it is looked at again. */
function unlessMoved(error: unknown): void {
  if (!isColloquyError(error, 'turn_not_open') && !isColloquyError(error, 'tool_not_open')) throw error
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
