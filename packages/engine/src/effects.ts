import type { Action, OpenedEnvelope } from '@colloquy/core'
import type { Observable } from 'rxjs'

export interface EffectApi<State = unknown> {
  readonly conversationId: string
  /** The stored state. */
  getState(): State
}

/**
 * After the commit: hears what this process appended to a conversation, and may answer with actions, which are dispatched to it.
 * redux-observable's shape. It runs at most once and is lost with the process; what must happen is derived from the state.
 * The function's name is its name in `cause` and in error reports.
 */
export type Effect<State = unknown> = (envelope$: Observable<OpenedEnvelope>, api: EffectApi<State>) => Observable<Action>
