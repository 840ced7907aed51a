import { z } from 'zod'
import { defineAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defaultLimits } from '../json.ts'
import { defineSlice } from '../slice.ts'
import { anyJsonObject, id } from './message.ts'

/** Joining again under the same id updates name and kind. `details` are for readers of the log; the state leaves them out. */
export const participantJoined = defineAction(
  'participantJoined',
  z.strictObject({
    participantId: id,
    kind: z.enum(['person', 'model', 'program']),
    name: z.string().optional(),
    details: anyJsonObject.optional(),
  }),
)

/** Somebody takes no part any more. Refused of who is not there. */
export const participantLeft = defineAction(
  'participantLeft',
  z.strictObject({ participantId: id, reason: z.string().optional() }),
)

/** Who takes part. `joinedAt` in microseconds since 1970. */
export interface Participant {
  readonly id: string
  readonly kind: 'person' | 'model' | 'program'
  readonly name: string | null
  readonly joinedAt: number
}

/** Who is in the conversation now, in the order of joining. */
export const participants = defineSlice({
  name: 'participants',
  version: 1,
  replay: 'bare',
  initial: (): readonly Participant[] => [],
  actions: [participantJoined, participantLeft],
  guard(state, action) {
    const here = state.participants
    const { participantId } = action.payload
    const isHere = here.some((p) => p.id === participantId)
    if (action.type === 'participantLeft' && !isHere) {
      throw new ColloquyError('participant_not_found', { participantId, participants: here.length })
    }
    if (action.type === 'participantJoined' && !isHere && here.length >= defaultLimits.keys) {
      throw new ColloquyError('json_too_wide', { path: 'participants', keys: here.length + 1, limitKeys: defaultLimits.keys })
    }
  },
  reduce(draft, action) {
    const index = draft.findIndex((p) => p.id === action.payload.participantId)
    switch (action.type) {
      case 'participantJoined': {
        const { participantId, kind, name } = action.payload
        const joined = { id: participantId, kind, name: name ?? null, joinedAt: draft[index]?.joinedAt ?? action.occurredAt }
        draft.splice(index < 0 ? draft.length : index, 1, joined)
        return
      }
      case 'participantLeft':
        if (index >= 0) draft.splice(index, 1)
        return
      default:
        action satisfies never
    }
  },
})
