import { z } from 'zod'
import { defineAction, type StampedActionOf } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defaultLimits } from '../json.ts'
import { type Draft, defineSlice } from '../slice.ts'
import { conversationCleared } from './lifecycle.ts'
import { id, toolArguments, toolResultPart } from './message.ts'
import { messageAdded } from './messages.ts'
import { assertRun, type TurnState, turnEnded, turnInterrupted, turnStarted } from './turn.ts'

/** A call is known by its message and its id there: real transcripts use one call id for several calls. */
const call = { messageId: id, callId: id }

/** The model asked for a tool. Name and arguments are in the message's `tool_call` part. */
export const toolRequested = defineAction(
  'toolRequested',
  z.strictObject({
    ...call,
    name: z.string(),
    /** The arguments, where the call begins before its message is whole: a crash must not lose what was asked for. */
    args: toolArguments.optional(),
    /** The tool is declared idempotent: after a crash it is run again, under this key. Without it, it is never run twice. */
    idempotencyKey: z.string().min(1).optional(),
  }),
)

const approval = { ...call, approvalId: id }

/** The tool runs only when somebody allows it. */
export const approvalRequested = defineAction('approvalRequested', z.strictObject({ ...approval, reason: z.string().optional() }))

/** Somebody allows a call, or does not. */
export const approvalDecided = defineAction(
  'approvalDecided',
  z.strictObject({ ...approval, decision: z.enum(['approved', 'denied']), reason: z.string().optional() }),
)

/** The tool runs. From here on an unsafe tool must not be started again; `attempt` 2 and on says that it was, knowingly. */
export const toolStarted = defineAction(
  'toolStarted',
  z.strictObject({
    ...call,
    attempt: z.int().positive().optional(),
    /** The call was reserved, and the settlement counts it in the budget: it is not counted there again. */
    reservationId: id.optional(),
    /** Of the turn, which starts it; refused when another run has taken the turn over. */
    run: z.int().positive().optional(),
  }),
)

/** How far a tool has come. `ratio` is of the whole. */
export const toolProgressed = defineAction(
  'toolProgressed',
  z.strictObject({ ...call, ratio: z.number().min(0).max(1).optional(), note: z.string().optional() }),
)

const ended = {
  ...call,
  durationMs: z.number().nonnegative().optional(),
  resultMessageId: id.optional(),
  /** The answer, where it comes before the message that will hold it: results are put in the order of their calls. */
  result: toolResultPart.optional(),
}

/** The tool answered. The answer is the `tool_result` part of `resultMessageId`. */
export const toolSucceeded = defineAction('toolSucceeded', z.strictObject(ended))

/** The tool did not do it, or nobody knows whether it did: the model is told by the `tool_result` part of `resultMessageId`. */
export const toolFailed = defineAction(
  'toolFailed',
  z.strictObject({
    ...ended,
    kind: z.enum(['error', 'timed_out', 'denied', 'outcome_unknown']),
    /** A `ColloquyError` code, where it was one. */
    code: z.string().optional(),
    problem: z.string().optional(),
  }),
)

/** The call was given up, before its tool ran or while it did. */
export const toolCancelled = defineAction('toolCancelled', z.strictObject({ ...ended, reason: z.string().optional() }))

/** A tool answered after its call was closed: the model was told something else, and that stays. */
export const toolEndedLate = defineAction(
  'toolEndedLate',
  z.strictObject({
    ...call,
    outcome: z.enum(['succeeded', 'failed']),
    durationMs: z.number().nonnegative().optional(),
    problem: z.string().optional(),
    result: toolResultPart.optional(),
  }),
)

/** As the model wrote them (`raw`), and what they are as JSON. */
export type ToolArguments = z.infer<typeof toolArguments>
/** The part of a message that answers a call. */
export type ToolResultPart = z.infer<typeof toolResultPart>

/** A call without an end. */
export interface OpenToolCall {
  readonly messageId: string
  readonly callId: string
  readonly name: string
  readonly status: 'requested' | 'started'
  /** How often it was started. */
  readonly attempts: number
  readonly requestedAtPosition: number
  readonly progressRatio: number | null
  readonly args: ToolArguments | null
  readonly idempotencyKey: string | null
  readonly approval: { readonly approvalId: string; readonly decision: 'approved' | 'denied' | null } | null
}

/** A call that has ended, and whose answer is in no message yet. */
export interface AnsweredToolCall {
  readonly messageId: string
  readonly callId: string
  readonly name: string
  readonly requestedAtPosition: number
  readonly args: ToolArguments | null
  readonly result: ToolResultPart
}

/** The calls that run or wait, and how many there were. */
export interface ToolsState {
  /** Calls without an end, in the order of the requests. */
  readonly open: readonly OpenToolCall[]
  /** In the order of their ends; they leave when the message that holds the answer is added, and with their turn. */
  readonly answered: readonly AnsweredToolCall[]
  readonly requested: number
  readonly succeeded: number
  readonly failed: number
  readonly cancelled: number
  readonly late: number
}

type Call = { readonly messageId: string; readonly callId: string }
const isSame = (a: Call) => (b: Call) => a.callId === b.callId && a.messageId === b.messageId

/** Which calls are open, and how the others ended. */
export const tools = defineSlice({
  name: 'tools',
  version: 2,
  replay: 'bare',
  initial: (): ToolsState => ({ open: [], answered: [], requested: 0, succeeded: 0, failed: 0, cancelled: 0, late: 0 }),
  actions: [
    toolRequested,
    approvalRequested,
    approvalDecided,
    toolStarted,
    toolProgressed,
    toolSucceeded,
    toolFailed,
    toolCancelled,
    toolEndedLate,
    messageAdded,
    turnStarted,
    turnEnded,
    turnInterrupted,
    conversationCleared,
  ],
  guard(state, action) {
    if (!isAboutCall(action)) return
    const { open } = state.tools
    const { messageId, callId } = action.payload
    const found = open.find(isSame(action.payload))
    const alreadyOpen = (requestedAtPosition: number) =>
      new ColloquyError('tool_already_open', { messageId, callId, requestedAtPosition })
    if (action.type === 'toolEndedLate') {
      if (found) throw alreadyOpen(found.requestedAtPosition)
    } else if (action.type === 'toolRequested') {
      if (found) throw alreadyOpen(found.requestedAtPosition)
      // Calls that nobody ends must not let the state grow without bound.
      if (open.length >= defaultLimits.keys)
        throw new ColloquyError('json_too_wide', { path: 'tools.open', keys: open.length + 1, limitKeys: defaultLimits.keys })
    } else if (!found) throw new ColloquyError('tool_not_open', { messageId, callId, openCalls: open.length })
    else if (action.type === 'approvalDecided' && found.approval?.approvalId !== action.payload.approvalId)
      throw new ColloquyError('tool_not_open', { messageId, callId, openCalls: open.length })
    else if (action.type === 'toolStarted') {
      const current = (state.turn as TurnState | undefined)?.current ?? null
      assertRun(current, current?.turnId ?? '', action.payload.run)
      if ((action.payload.attempt ?? Number.POSITIVE_INFINITY) <= found.attempts) throw alreadyOpen(found.requestedAtPosition)
    }
  },
  reduce(draft, action) {
    if (!isAboutCall(action)) {
      apply(draft, action)
      return
    }
    const index = draft.open.findIndex(isSame(action.payload))
    const found = draft.open[index]
    switch (action.type) {
      case 'toolRequested': {
        if (found) return
        const { messageId, callId, name, args = null, idempotencyKey = null } = action.payload
        draft.open.push({
          messageId,
          callId,
          name,
          status: 'requested',
          attempts: 0,
          requestedAtPosition: action.position,
          progressRatio: null,
          args: args as Draft<ToolArguments> | null,
          idempotencyKey,
          approval: null,
        })
        draft.requested += 1
        return
      }
      case 'approvalRequested':
        if (found) found.approval = { approvalId: action.payload.approvalId, decision: null }
        return
      case 'approvalDecided':
        if (found) found.approval = { approvalId: action.payload.approvalId, decision: action.payload.decision }
        return
      case 'toolStarted':
        if (!found) return
        found.status = 'started'
        found.attempts = Math.max(found.attempts + 1, action.payload.attempt ?? 0)
        return
      case 'toolProgressed':
        if (found) found.progressRatio = action.payload.ratio ?? found.progressRatio
        return
      case 'toolSucceeded':
        close(draft, index, 'succeeded', action.payload.result)
        return
      case 'toolFailed':
        close(draft, index, 'failed', action.payload.result)
        return
      case 'toolCancelled':
        close(draft, index, 'cancelled', action.payload.result)
        return
      case 'toolEndedLate':
        draft.late += 1
        return
      default:
        action satisfies never
    }
  },
})

type ToolAction = StampedActionOf<
  | typeof toolRequested
  | typeof approvalRequested
  | typeof approvalDecided
  | typeof toolStarted
  | typeof toolProgressed
  | typeof toolSucceeded
  | typeof toolFailed
  | typeof toolCancelled
  | typeof toolEndedLate
>
type OtherAction = StampedActionOf<
  typeof messageAdded | typeof turnStarted | typeof turnEnded | typeof turnInterrupted | typeof conversationCleared
>

const isAboutCall = (action: ToolAction | OtherAction): action is ToolAction => 'callId' in action.payload

function apply(draft: Draft<ToolsState>, action: OtherAction): void {
  if (action.type === 'conversationCleared') {
    draft.open = []
    draft.answered = []
  } else if (draft.answered.length === 0) return
  else if (action.type === 'messageAdded') {
    const { parts } = action.payload.message
    const isIn = (one: Call) =>
      parts.some((part) => part.type === 'tool_result' && part.callId === one.callId && part.callMessageId === one.messageId)
    if (draft.answered.some(isIn)) draft.answered = draft.answered.filter((one) => !isIn(one))
  } else draft.answered = []
}

/** A late end of a call that is closed already counts for nothing: the first end is what the model was told. */
function close(
  draft: Draft<ToolsState>,
  index: number,
  outcome: 'succeeded' | 'failed' | 'cancelled',
  result: Draft<ToolResultPart> | ToolResultPart | undefined,
): void {
  const [found] = index < 0 ? [] : draft.open.splice(index, 1)
  if (!found) return
  draft[outcome] += 1
  if (result === undefined) return
  const { messageId, callId, name, requestedAtPosition, args } = found
  draft.answered.push({ messageId, callId, name, requestedAtPosition, args, result: result as Draft<ToolResultPart> })
}
