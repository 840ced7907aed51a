import { z } from 'zod'
import { defineAction, type StampedActionOf } from '../action.ts'
import { defineSlice } from '../slice.ts'
import { conversationForked, conversationStarted } from './lifecycle.ts'
import { anyJson } from './message.ts'

/** A record of an imported file that has no meaning for us is kept as it was, so that nothing of the file is lost. */
export const foreignRecordKept = defineAction(
  'foreignRecordKept',
  z.strictObject({
    format: z.string(),
    recordType: z.string(),
    /** Line or index in the file, from 1. */
    line: z.int().positive(),
    reason: z.string(),
    record: anyJson,
  }),
)

type Started = StampedActionOf<typeof conversationStarted>['payload']

/** What the conversation continues, and what it was imported from. */
export interface LineageState {
  readonly parent: NonNullable<Started['parent']> | null
  readonly source: NonNullable<Started['source']> | null
  /** How many `foreignRecordKept` there are. */
  readonly foreignRecords: number
}

/** Where the conversation comes from. */
export const lineage = defineSlice({
  name: 'lineage',
  version: 1,
  replay: 'bare',
  initial: (): LineageState => ({ parent: null, source: null, foreignRecords: 0 }),
  actions: [conversationStarted, conversationForked, foreignRecordKept],
  reduce(draft, action) {
    switch (action.type) {
      case 'conversationStarted':
        draft.parent = action.payload.parent ?? draft.parent
        draft.source = action.payload.source ?? draft.source
        return
      case 'conversationForked':
        draft.parent = forkParent(action.payload)
        return
      case 'foreignRecordKept':
        draft.foreignRecords += 1
        return
      default:
        action satisfies never
    }
  },
})

function forkParent({
  parentId,
  position,
  messageId,
}: StampedActionOf<typeof conversationForked>['payload']): Started['parent'] & {} {
  return { conversationId: parentId, relation: 'fork', position, ...(messageId !== undefined && { messageId }) }
}
