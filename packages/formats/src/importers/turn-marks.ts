import { type ConversationAction, type JsonObject, turnEnded, turnInterrupted, turnStarted } from '@colloquy/core'

type Extra = { readonly meta?: JsonObject }

/** Which turn runs, for formats that say themselves where turns begin and end. What does not fit the turn that runs gives nothing. */
export interface TurnMarks {
  /** A turn that still runs is interrupted by the next. */
  readonly start: (turnId: string, extra?: Extra) => ConversationAction[]
  readonly end: (reason?: string, extra?: Extra) => ConversationAction[]
  readonly interrupt: (reason: string, extra?: Extra) => ConversationAction[]
}

export function turnMarks(): TurnMarks {
  let running: string | undefined

  const take = (make: (turnId: string) => ConversationAction): ConversationAction[] => {
    if (running === undefined) return []
    const action = make(running)
    running = undefined
    return [action]
  }
  const interrupt: TurnMarks['interrupt'] = (reason, extra) => take((turnId) => turnInterrupted({ turnId, reason }, extra))

  return {
    start(turnId, extra) {
      const interrupted = interrupt('the next prompt came before a final answer')
      running = turnId
      return [...interrupted, turnStarted({ turnId }, extra)]
    },
    end: (reason, extra) => take((turnId) => turnEnded({ turnId, ...(reason !== undefined && { reason }) }, extra)),
    interrupt,
  }
}
