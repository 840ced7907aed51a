import { z } from 'zod'
import { defineAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { type Draft, defineSlice } from '../slice.ts'
import { id } from './message.ts'

/** A user input came in; the turn lasts through all tool calls to the final answer. */
export const turnStarted = defineAction('turnStarted', z.strictObject({ turnId: id }))
export const turnEnded = defineAction('turnEnded', z.strictObject({ turnId: id, reason: z.string().optional() }))
export const turnInterrupted = defineAction('turnInterrupted', z.strictObject({ turnId: id, reason: z.string().optional() }))

export interface TurnState {
  readonly current: { readonly turnId: string; readonly startedAtPosition: number; readonly startedAt: number } | null
  readonly last: { readonly turnId: string; readonly outcome: 'ended' | 'interrupted' } | null
  readonly started: number
}

/** Which turn runs. */
export const turn = defineSlice({
  name: 'turn',
  version: 1,
  replay: 'bare',
  initial: (): TurnState => ({ current: null, last: null, started: 0 }),
  actions: [turnStarted, turnEnded, turnInterrupted],
  guard(state, action) {
    const openTurnId = state.turn.current?.turnId ?? null
    const { turnId } = action.payload
    if (action.type === 'turnStarted') {
      if (openTurnId !== null) throw new ColloquyError('turn_already_open', { turnId, openTurnId })
    } else if (openTurnId !== turnId) throw new ColloquyError('turn_not_open', { turnId, openTurnId })
  },
  reduce(draft, action) {
    switch (action.type) {
      case 'turnStarted':
        draft.current = { turnId: action.payload.turnId, startedAtPosition: action.position, startedAt: action.occurredAt }
        draft.started += 1
        return
      case 'turnEnded':
        finish(draft, action.payload.turnId, 'ended')
        return
      case 'turnInterrupted':
        finish(draft, action.payload.turnId, 'interrupted')
        return
      default:
        action satisfies never
    }
  },
})

function finish(draft: Draft<TurnState>, turnId: string, outcome: 'ended' | 'interrupted'): void {
  if (draft.current?.turnId !== turnId) return
  draft.current = null
  draft.last = { turnId, outcome }
}
