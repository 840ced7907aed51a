/** What a turn left in the log when its process ended: its calls, taken up or closed. */
import {
  type Action,
  type AnsweredToolCall,
  type Message,
  messageAdded,
  type OpenToolCall,
  type ToolArguments,
  turnInterrupted,
  type WorkingMessage,
} from '@colloquy/core'
import { type CallRequest, cancelled, outcomeUnknown, type ToolCallPart } from '../tools/run-call.ts'
import { addEnded, clientCalls, closingActions, createBatch, startCall, type ToolBatch } from './tool-batch.ts'
import { holds, keyOfCall, pendingOf, type TurnRun } from './turn-run.ts'

/**
 * The calls of the open turn, running again where they may; undefined when the model is to be called next. Calls whose answer was
 * never stored get the message that they would have stood in, from what their requests kept.
 */
export async function storedCalls(run: TurnRun): Promise<ToolBatch | undefined> {
  const { answers, calls } = await restore(run, run.store)
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
  const { answers, calls } = await restore(run, store)
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
  await store([
    ...closingActions(batch, run.count, { reason }),
    turnInterrupted({ turnId, reason, ...(number !== undefined && { run: number }) }),
  ])
}

interface Restored {
  /** Messages of the turn whose calls have no results, in order. */
  readonly answers: readonly Message[]
  readonly calls: readonly {
    readonly request: CallRequest
    readonly open: OpenToolCall | undefined
    readonly answered: AnsweredToolCall | undefined
  }[]
}

async function restore(run: TurnRun, store: TurnRun['store']): Promise<Restored> {
  const { tools, messages, turn } = run.conversation.getState()
  const since = turn.current?.startedAtPosition ?? Number.POSITIVE_INFINITY
  const ofTurn = messages.slice().filter(({ position }) => position > since)
  const journaled = [...tools.open, ...tools.answered].sort((a, b) => a.requestedAtPosition - b.requestedAtPosition)

  // Asked for while the model talked, and the process ended before the answer did.
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
  const added: Action[] = made.map((message) => messageAdded({ message, ...run.count(message) }))
  await store(added)

  const answers = [...ofTurn.filter((message) => hasOpenCalls(message, ofTurn)), ...made]
  const calls = answers.flatMap((message) =>
    clientCalls(message).map((part) => {
      const isIt = (call: { readonly messageId: string; readonly callId: string }): boolean =>
        call.messageId === message.id && call.callId === part.callId
      const request = { messageId: message.id, part, idempotencyKey: keyOfCall(run, message.id, part.callId) }
      return { request, open: tools.open.find(isIt), answered: tools.answered.find(isIt) }
    }),
  )
  return { answers, calls }
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
