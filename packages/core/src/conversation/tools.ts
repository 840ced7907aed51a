import { z } from 'zod'
import { defineAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defaultLimits } from '../json.ts'
import { type Draft, defineSlice } from '../slice.ts'
import { conversationCleared } from './lifecycle.ts'
import { id } from './message.ts'

/** A call is known by its message and its id there: real transcripts use one call id for several calls. */
const call = { messageId: id, callId: id }

/** The model asked for a tool. Name and arguments are in the message's `tool_call` part. */
export const toolRequested = defineAction('toolRequested', z.strictObject({ ...call, name: z.string() }))

/** The tool runs. From here on an unsafe tool must not be started again. */
export const toolStarted = defineAction(
  'toolStarted',
  z.strictObject({
    ...call,
    attempt: z.int().positive().optional(),
    /** The call was reserved, and the settlement counts it in the budget: it is not counted there again. */
    reservationId: id.optional(),
  }),
)

export const toolProgressed = defineAction(
  'toolProgressed',
  z.strictObject({ ...call, ratio: z.number().min(0).max(1).optional(), note: z.string().optional() }),
)

const ended = { ...call, durationMs: z.number().nonnegative().optional(), resultMessageId: id.optional() }

/** The tool answered. The answer is the `tool_result` part of `resultMessageId`. */
export const toolSucceeded = defineAction('toolSucceeded', z.strictObject(ended))

export const toolFailed = defineAction(
  'toolFailed',
  z.strictObject({ ...ended, kind: z.enum(['error', 'timed_out', 'denied', 'outcome_unknown']), problem: z.string().optional() }),
)

export const toolCancelled = defineAction('toolCancelled', z.strictObject({ ...ended, reason: z.string().optional() }))

export interface OpenToolCall {
  readonly messageId: string
  readonly callId: string
  readonly name: string
  readonly status: 'requested' | 'started'
  readonly requestedAtPosition: number
  readonly progressRatio: number | null
}

export interface ToolsState {
  /** Calls without an end, in the order of the requests. */
  readonly open: readonly OpenToolCall[]
  readonly requested: number
  readonly succeeded: number
  readonly failed: number
  readonly cancelled: number
}

type Call = { readonly messageId: string; readonly callId: string }
const isSame = (a: Call) => (b: Call) => a.callId === b.callId && a.messageId === b.messageId

/** Which calls are open, and how the others ended. */
export const tools = defineSlice({
  name: 'tools',
  version: 1,
  replay: 'bare',
  initial: (): ToolsState => ({ open: [], requested: 0, succeeded: 0, failed: 0, cancelled: 0 }),
  actions: [toolRequested, toolStarted, toolProgressed, toolSucceeded, toolFailed, toolCancelled, conversationCleared],
  guard(state, action) {
    if (action.type === 'conversationCleared') return
    const { open } = state.tools
    const { messageId, callId } = action.payload
    const found = open.find(isSame(action.payload))
    if (action.type === 'toolRequested') {
      if (found)
        throw new ColloquyError('tool_already_open', { messageId, callId, requestedAtPosition: found.requestedAtPosition })
      // Calls that nobody ends must not let the state grow without bound.
      if (open.length >= defaultLimits.keys)
        throw new ColloquyError('json_too_wide', { path: 'tools.open', keys: open.length + 1, limitKeys: defaultLimits.keys })
    } else if (!found) throw new ColloquyError('tool_not_open', { messageId, callId, openCalls: open.length })
  },
  reduce(draft, action) {
    if (action.type === 'conversationCleared') {
      draft.open = []
      return
    }
    const index = draft.open.findIndex(isSame(action.payload))
    const found = draft.open[index]
    switch (action.type) {
      case 'toolRequested': {
        if (found) return
        const { messageId, callId, name } = action.payload
        const requestedAtPosition = action.position
        draft.open.push({ messageId, callId, name, status: 'requested', requestedAtPosition, progressRatio: null })
        draft.requested += 1
        return
      }
      case 'toolStarted':
        if (found) found.status = 'started'
        return
      case 'toolProgressed':
        if (found) found.progressRatio = action.payload.ratio ?? found.progressRatio
        return
      case 'toolSucceeded':
        close(draft, index, 'succeeded')
        return
      case 'toolFailed':
        close(draft, index, 'failed')
        return
      case 'toolCancelled':
        close(draft, index, 'cancelled')
        return
      default:
        action satisfies never
    }
  },
})

/** A late end of a call that is closed already counts for nothing: the first end is what the model was told. */
function close(draft: Draft<ToolsState>, index: number, outcome: 'succeeded' | 'failed' | 'cancelled'): void {
  if (index < 0) return
  draft.open.splice(index, 1)
  draft[outcome] += 1
}
