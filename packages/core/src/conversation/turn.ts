import { z } from 'zod'
import { defineAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { type Draft, defineSlice } from '../slice.ts'
import { id } from './message.ts'

/** A user input came in; the turn lasts through all tool calls to the final answer. */
export const turnStarted = defineAction('turnStarted', z.strictObject({ turnId: id }))

/**
 * Another process goes on with the turn: run 2, 3, ... From here on what an earlier run wants to start or end is refused, should its
 * process be alive after all.
 */
export const turnResumed = defineAction('turnResumed', z.strictObject({ turnId: id, run: z.int().min(2) }))

const ended = {
  turnId: id,
  reason: z.string().optional(),
  /** Which run says so; refused unless it is the present one. */
  run: z.int().positive().optional(),
}
/** The turn came to its answer. */
export const turnEnded = defineAction('turnEnded', z.strictObject(ended))
/** The turn ended without an answer, by an abort, a limit or a failure. */
export const turnInterrupted = defineAction('turnInterrupted', z.strictObject(ended))

/** The turn that runs, and the last one that ended. */
export interface TurnState {
  readonly current: {
    readonly turnId: string
    readonly startedAtPosition: number
    readonly startedAt: number
    /** 1, and one more each time the turn was resumed. */
    readonly run: number
  } | null
  readonly last: { readonly turnId: string; readonly outcome: 'ended' | 'interrupted' } | null
  readonly started: number
}

/** Which turn runs. */
export const turn = defineSlice({
  name: 'turn',
  version: 2,
  replay: 'bare',
  initial: (): TurnState => ({ current: null, last: null, started: 0 }),
  actions: [turnStarted, turnResumed, turnEnded, turnInterrupted],
  guard(state, action) {
    const { current } = state.turn
    const openTurnId = current?.turnId ?? null
    const { turnId } = action.payload
    if (action.type === 'turnStarted') {
      if (openTurnId !== null) throw new ColloquyError('turn_already_open', { turnId, openTurnId })
    } else if (openTurnId !== turnId) throw new ColloquyError('turn_not_open', { turnId, openTurnId })
    else if (action.type === 'turnResumed') {
      // Two processes that resume one turn: one of them does.
      if (action.payload.run !== (current?.run ?? 0) + 1) throw new ColloquyError('turn_already_open', { turnId, openTurnId })
    } else assertRun(current, turnId, action.payload.run)
  },
  reduce(draft, action) {
    switch (action.type) {
      case 'turnStarted':
        draft.current = {
          turnId: action.payload.turnId,
          startedAtPosition: action.position,
          startedAt: action.occurredAt,
          run: 1,
        }
        draft.started += 1
        return
      case 'turnResumed':
        if (draft.current?.turnId === action.payload.turnId) draft.current.run = action.payload.run
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

/** Refuses what another run of the turn has to say. @throws `turn_not_open` */
export function assertRun(current: TurnState['current'], turnId: string, run: number | undefined): void {
  if (run === undefined || current === null || run === current.run) return
  throw new ColloquyError('turn_not_open', { turnId: `${turnId} (run ${run})`, openTurnId: `${turnId} (run ${current.run})` })
}
