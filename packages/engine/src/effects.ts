import type { Action, OpenedEnvelope } from '@colloquy/core'
import type { Observable } from 'rxjs'
import type { DispatchResult } from './writer.ts'

/** What an effect may see and do. */
export interface EffectApi<State = unknown> {
  readonly conversationId: string
  /** The stored state. */
  getState(): State
  /**
   * Dispatches to the conversation and says what became of it. What must happen once, in whichever process, gets a command id that
   * is derived from the state: `effect:<name>:<position>`.
   * @throws as `Conversation.dispatch`: `history_rewound` too, when the envelopes that the effect has heard of were lost in a fail-over
   */
  dispatch(actions: Action | readonly Action[], options?: { readonly commandId?: string }): Promise<DispatchResult<State>>
  /** Hands a problem to the engine's `onError`. */
  reportError(error: unknown): void
}

/**
 * After the commit: hears what this process appended to a conversation, and may answer with actions, which are dispatched to it.
 * redux-observable's shape. It is called when a conversation comes into memory, runs at most once for an envelope and is lost with the
 * process; what must happen is derived from the state, at that call and after each envelope. Unsubscribed when the conversation leaves
 * memory. The function's name is its name in `cause` and in error reports.
 */
export type Effect<State = unknown> = (envelope$: Observable<OpenedEnvelope>, api: EffectApi<State>) => Observable<Action>
