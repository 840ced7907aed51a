import { z } from 'zod'
import { defineAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defineSlice } from '../slice.ts'
import { anyJsonObject, id, tokenCount } from './message.ts'

/** The conversation began. Optional, and the only action that may say where it comes from. */
export const conversationStarted = defineAction(
  'conversationStarted',
  z.strictObject({
    title: z.string().optional(),
    /** The context window of the model, in tokens. */
    contextLimitTokens: tokenCount.optional(),
    /** The conversation that this one came out of. */
    parent: z
      .strictObject({
        conversationId: id,
        relation: z.enum(['sidechain', 'fork', 'continuation']),
        position: z.int().positive().optional(),
        /** The tool call that started it. */
        messageId: id.optional(),
        callId: id.optional(),
      })
      .optional(),
    /** The file it was imported from. */
    source: z.strictObject({ format: z.string(), id: z.string().optional(), details: anyJsonObject.optional() }).optional(),
  }),
)

/** The conversation continues another one after a position; the first envelope of a fork's own. */
export const conversationForked = defineAction(
  'conversationForked',
  z.strictObject({
    parentId: id,
    position: z.int().positive(),
    /** The message that it comes after, where somebody knows it by that. */
    messageId: id.optional(),
    reason: z.string().optional(),
  }),
)

/** The conversation is called otherwise. */
export const conversationTitled = defineAction('conversationTitled', z.strictObject({ title: z.string() }))

/** Nothing may follow: the log refuses every later append. */
export const conversationArchived = defineAction('conversationArchived', z.strictObject({ reason: z.string().optional() }))

/** The working set is empty again. The log keeps everything. */
export const conversationCleared = defineAction('conversationCleared', z.strictObject({ reason: z.string().optional() }))

/** Times in microseconds since 1970. */
export interface LifecycleState {
  readonly title: string | null
  /** Position and time of `conversationStarted`. */
  readonly started: { readonly position: number; readonly occurredAt: number } | null
  readonly archived: { readonly position: number; readonly occurredAt: number } | null
}

/** Whether the conversation has begun, ended, and what it is called. */
export const lifecycle = defineSlice({
  name: 'lifecycle',
  version: 1,
  replay: 'bare',
  initial: (): LifecycleState => ({ title: null, started: null, archived: null }),
  actions: [conversationStarted, conversationForked, conversationTitled, conversationArchived],
  guard(state, action) {
    const { started } = state.lifecycle
    if (action.type === 'conversationStarted' && started) {
      throw new ColloquyError('conversation_already_started', { startedAtPosition: started.position })
    }
  },
  reduce(draft, action) {
    const { position, occurredAt } = action
    switch (action.type) {
      case 'conversationStarted':
        draft.started ??= { position, occurredAt }
        draft.title = action.payload.title ?? draft.title
        return
      case 'conversationForked':
        // Its parent's end is not its own.
        draft.archived = null
        return
      case 'conversationTitled':
        draft.title = action.payload.title
        return
      case 'conversationArchived':
        draft.archived ??= { position, occurredAt }
        return
      default:
        action satisfies never
    }
  },
})
