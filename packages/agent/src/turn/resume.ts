/** What a turn left in the log when its process ended: its calls, taken up or closed. */
import {
  type Action,
  type AnsweredToolCall,
  isColloquyError,
  type Message,
  messageAdded,
  type OpenToolCall,
  type ToolArguments,
  turnInterrupted,
  type WorkingMessage,
} from '@colloquy/core'
import { type CallRequest, cancelled, outcomeUnknown, type ToolCallPart } from '../tools/run-call.ts'
import { problemOf } from '../tools/tool-result.ts'
import { storeWithRoom } from './make-room.ts'
import { addEnded, clientCalls, closingActions, createBatch, endActions, startCall, type ToolBatch } from './tool-batch.ts'
import { holds, keyOfCall, pendingOf, type TurnRun } from './turn-run.ts'

/**
 * The calls of the open turn, running again where they may; undefined when the model is to be called next. Calls whose answer was
 * never stored get the message that they would have stood in, from what their requests kept.
 */
export async function storedCalls(run: TurnRun): Promise<ToolBatch | undefined> {
  const { answers, calls, added } = restore(run)
  await run.store(added)
  if (answers.length === 0) return undefined
  const batch = createBatch(run.ids())
  for (const message of answers) batch.answers.push({ message, media: [], isInterrupted: false })
  for (const { request, open, answered } of calls) {
    if (answered !== undefined) addEnded(batch, request, answered.result)
    else if (open !== undefined) await takeUp(run, batch, request, open)
  }
  // Only now: a call that ends while others are still to be taken up is not the last one.
  batch.isStored = true
  return batch
}

async function takeUp(run: TurnRun, batch: ToolBatch, request: CallRequest, open: OpenToolCall): Promise<void> {
  const stored = { attempts: open.attempts, approval: open.approval }
  const again = { ...request, stored }
  const isFresh = open.status === 'requested'
  const tool = run.registry.list().find(({ name }) => name === open.name)
  // Declared so when it was asked for, and still.
  const isIdempotent = open.idempotencyKey !== null && tool?.idempotent === true
  const decided =
    isFresh || isIdempotent ? 'run_again' : ((await run.options.onUnknownOutcome?.(pendingOf(request))) ?? 'unknown')
  if (decided === 'run_again') startCall(batch, again, run.batchPorts)
  else startCall(batch, again, { ...run.batchPorts, run: async () => outcomeUnknown(request) })
}

/**
 * Ends a turn that nobody runs: calls that had begun are `outcome_unknown`, others cancelled, and all are answered. With a `run`: only
 * while the turn is that run's.
 *
 * No budget or other middleware keeps a turn open: results are cut where there is no room for them, and where no message is taken at all
 * the calls have their ends and answers in the journal only. Encoders say of such a call that no result was recorded.
 */
export async function closeStaleTurn(
  run: TurnRun,
  turnId: string,
  { reason = 'the turn was given up', run: number }: { readonly reason?: string; readonly run?: number } = {},
): Promise<void> {
  const { conversation } = run
  const { turn } = await conversation.refresh()
  if (turn.current?.turnId !== turnId || (number !== undefined && turn.current.run !== number)) return
  const guard = holds(turnId, turn.current.run)
  const store: TurnRun['store'] = (actions) => run.storeUnder(guard, actions)
  const { answers, calls, added } = restore(run)
  const batch = createBatch(run.ids())
  batch.isStored = true
  for (const message of answers) batch.answers.push({ message, media: [], isInterrupted: true })
  for (const { request, open, answered } of calls) {
    if (answered !== undefined) addEnded(batch, request, answered.result)
    else if (open !== undefined) {
      const end = open.status === 'started' ? outcomeUnknown(request) : cancelled(request, { reason })
      batch.calls.push({ request, end, isJournaled: false, settled: Promise.resolve() })
    }
  }
  const end = turnInterrupted({ turnId, reason, ...(number !== undefined && { run: number }) })
  try {
    await storeWithRoom(batch, store, () => [...added, ...closingActions(batch, run.count, { reason }), end])
  } catch (error) {
    if (hasMoved(error)) throw error
    run.logger.warn('a turn is closed without the messages that answer its calls', { turnId, problem: problemOf(error) })
    await store([...endActions(batch), end])
  }
}

/** The turn, or a call of it, went on or ended while it was looked at. */
export const hasMoved = (error: unknown): boolean =>
  isColloquyError(error, 'turn_not_open') || isColloquyError(error, 'tool_not_open')

interface Restored {
  /** Messages of the turn whose calls have no results, in order. */
  readonly answers: readonly Message[]
  /** Adds those of them that the log has not: their calls began, and the process ended before they did. */
  readonly added: readonly Action[]
  readonly calls: readonly {
    readonly request: CallRequest
    readonly open: OpenToolCall | undefined
    readonly answered: AnsweredToolCall | undefined
  }[]
}

function restore(run: TurnRun): Restored {
  const { tools, messages, turn } = run.conversation.getState()
  const since = turn.current?.startedAtPosition ?? Number.POSITIVE_INFINITY
  const ofTurn = messages.slice().filter(({ position }) => position > since)
  const journaled = [...tools.open, ...tools.answered].sort((a, b) => a.requestedAtPosition - b.requestedAtPosition)

  const known = new Set(messages.slice().map(({ id }) => id))
  const lost = new Map<string, ToolCallPart[]>()
  for (const { messageId, callId, name, args } of journaled) {
    if (known.has(messageId) || args === null) continue
    lost.set(messageId, [...(lost.get(messageId) ?? []), callPart(callId, name, args)])
  }
  const { model } = run.options
  const made = [...lost].map(
    ([id, parts]): Message => ({
      v: 1,
      id,
      role: 'assistant',
      parts,
      model: { provider: model.provider, id: model.id, stop: { unified: 'interrupted', raw: null } },
    }),
  )
  const added = made.map((message) => messageAdded({ message, ...run.count(message) }))

  const answers = [...ofTurn.filter((message) => hasOpenCalls(message, ofTurn)), ...made]
  const calls = answers.flatMap((message) =>
    clientCalls(message).map((part) => {
      const isIt = (call: { readonly messageId: string; readonly callId: string }): boolean =>
        call.messageId === message.id && call.callId === part.callId
      const request = { messageId: message.id, part, idempotencyKey: keyOfCall(run, message.id, part.callId) }
      return { request, open: tools.open.find(isIt), answered: tools.answered.find(isIt) }
    }),
  )
  return { answers, added, calls }
}

const callPart = (callId: string, name: string, args: ToolArguments): ToolCallPart => ({
  type: 'tool_call',
  callId,
  name,
  args,
  executor: { kind: 'client' },
})

function hasOpenCalls(message: WorkingMessage, all: readonly WorkingMessage[]): boolean {
  const isAnswered = ({ callId }: ToolCallPart): boolean =>
    all.some(({ parts }) =>
      parts.some((part) => part.type === 'tool_result' && part.callId === callId && part.callMessageId === message.id),
    )
  return message.role === 'assistant' && clientCalls(message).some((part) => !isAnswered(part))
}
