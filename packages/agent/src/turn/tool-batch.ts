/** The calls of one model call: started while it streams, ended in any order, put back in the order of the calls. */
import {
  type Action,
  type Message,
  messageAdded,
  type ToolResultPart,
  toolCancelled,
  toolEndedLate,
  toolFailed,
  toolSucceeded,
  usageRecorded,
} from '@colloquy/core'
import { type CallEnd, type CallRequest, cancelled, type ToolCallPart } from '../tools/run-call.ts'
import type { EndedAnswer } from './partial-answer.ts'

export interface ToolBatch {
  /** Answers that have ended, in order, under our ids. */
  readonly answers: EndedAnswer[]
  readonly calls: BatchCall[]
  /** Of the message that will hold the results. */
  readonly resultMessageId: string
  /** Under which the model call was held; its settlement counts what was used. */
  readonly reservationId: string | undefined
  /** The answers are in the log. */
  isStored: boolean
}

interface BatchCall {
  readonly request: CallRequest
  end: CallEnd | undefined
  /** Its end is in the log, with its answer. */
  isJournaled: boolean
  /** Ended, and journaled where that could not wait. */
  settled: Promise<void>
}

export interface BatchPorts {
  readonly run: (request: CallRequest, closed: Promise<void>) => Promise<CallEnd>
  readonly store: (actions: readonly Action[]) => Promise<unknown>
  readonly count: (message: Message) => { readonly tokenCount: number; readonly tokenCounter: string }
}

export const createBatch = (resultMessageId: string, reservationId?: string): ToolBatch => ({
  answers: [],
  calls: [],
  resultMessageId,
  reservationId,
  isStored: false,
})

const isSameCall = (a: CallRequest, messageId: string, callId: string): boolean =>
  a.messageId === messageId && a.part.callId === callId

/**
 * Starts a call. When it ends while others run or the model talks, its end is stored at once, with its answer; the last end goes into
 * one command with the message that holds all answers.
 */
export function startCall(batch: ToolBatch, request: CallRequest, { run, store }: BatchPorts): void {
  if (batch.calls.some((call) => isSameCall(call.request, request.messageId, request.part.callId))) return
  let close = (): void => {}
  const closed = new Promise<void>((resolve) => {
    close = resolve
  })
  const call: BatchCall = { request, end: undefined, isJournaled: false, settled: Promise.resolve() }
  call.settled = (async () => {
    call.end = await run(request, closed)
    const isLast = batch.calls.every(({ end }) => end !== undefined)
    if (batch.isStored && isLast) return
    await store([endAction(call.request, call.end, { result: call.end.result })])
    call.isJournaled = true
  })().finally(() => close())
  // Who finishes the batch hears of it; until then it must not count as unhandled.
  call.settled.catch(() => {})
  batch.calls.push(call)
}

/** A call whose end is in the log already, from before a crash. */
export function addEnded(batch: ToolBatch, request: CallRequest, result: ToolResultPart): void {
  batch.calls.push({ request, end: { kind: 'succeeded', result }, isJournaled: true, settled: Promise.resolve() })
}

/** What is left to store of a batch whose calls have all ended: answers, ends, results in the order of the calls. */
export function closingActions(batch: ToolBatch, count: BatchPorts['count'], signal: Pick<AbortSignal, 'reason'>): Action[] {
  const results = resultMessages(batch, signal)
  const holderOf = ({ messageId, part: { callId } }: CallRequest): string =>
    results.find(({ parts }) => parts.some((part) => part.callMessageId === messageId && part.callId === callId))?.id ??
    batch.resultMessageId
  const ends = batch.calls.flatMap((call) =>
    call.end === undefined || call.isJournaled
      ? []
      : [endAction(call.request, call.end, { resultMessageId: holderOf(call.request) })],
  )
  const answers = batch.isStored ? [] : answerActions(batch, count)
  return [...answers, ...ends, ...results.map((message) => messageAdded({ message, ...count(message) }))]
}

/** The ends that the log has not, each with its answer: for calls whose messages cannot be stored. */
export const endActions = ({ calls }: ToolBatch): Action[] =>
  calls.flatMap(({ request, end, isJournaled }) =>
    end === undefined || isJournaled ? [] : [endAction(request, end, { result: end.result })],
  )

type ResultMessage = Omit<Message, 'parts'> & { readonly parts: ToolResultPart[] }

/** Of an envelope, which takes 1 MiB: half, since a result may be large and is never parted. */
const resultMessageBytes = 524_288

/** One message, or several where the results do not fit into one. */
function resultMessages(batch: ToolBatch, signal: Pick<AbortSignal, 'reason'>): ResultMessage[] {
  const messages: ResultMessage[] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const { message } of batch.answers) {
    for (const call of clientCalls(message)) {
      const part = resultFor(batch, message.id, call, signal)
      const size = Buffer.byteLength(JSON.stringify(part))
      if (bytes + size > resultMessageBytes) {
        const id = messages.length === 0 ? batch.resultMessageId : `${batch.resultMessageId}:${messages.length + 1}`
        messages.push({ v: 1, id, role: 'tool', parts: [] })
        bytes = 0
      }
      messages.at(-1)?.parts.push(part)
      bytes += size
    }
  }
  return messages
}

/** What ended here although another process has taken the turn over, and closed its calls: each action for itself. */
export function lateActions({ calls }: ToolBatch): ReturnType<typeof toolEndedLate>[] {
  return calls.flatMap(({ request: { messageId, part }, end, isJournaled }) => {
    if (isJournaled || (end?.kind !== 'succeeded' && end?.kind !== 'error')) return []
    const { durationMs, result } = end
    const ended = { messageId, callId: part.callId, result, ...(durationMs !== undefined && { durationMs }) }
    return [
      end.kind === 'succeeded'
        ? toolEndedLate({ ...ended, outcome: 'succeeded' })
        : toolEndedLate({ ...ended, outcome: 'failed', problem: end.problem }),
    ]
  })
}

/** The answers of a call, and what each took. */
export function answerActions({ answers, reservationId }: ToolBatch, count: BatchPorts['count']): Action[] {
  return answers.flatMap(({ message, isInterrupted }) => {
    const { model } = message
    const usage = model?.usage
    // What a provider counts of an answer that is not whole may be what it knew when it began.
    const weight =
      usage && usage.output > 0 && !isInterrupted ? { tokenCount: usage.output, tokenCounter: 'provider' } : count(message)
    const added = messageAdded({ message, ...weight })
    if (usage === undefined || model === undefined) return [added]
    const taken = {
      usage,
      messageId: message.id,
      model: { provider: model.provider, id: model.id },
      ...(reservationId !== undefined && { reservationId }),
    }
    return [added, usageRecorded(taken)]
  })
}

export const clientCalls = ({ parts }: Pick<Message, 'parts'>): ToolCallPart[] =>
  parts.filter((part): part is ToolCallPart => part.type === 'tool_call' && part.executor.kind === 'client')

function resultFor(batch: ToolBatch, messageId: string, part: ToolCallPart, signal: Pick<AbortSignal, 'reason'>): ToolResultPart {
  const call = batch.calls.find(({ request }) => isSameCall(request, messageId, part.callId))
  return call?.end?.result ?? cancelled({ messageId, part }, signal).result
}

function endAction(
  { messageId, part: { callId } }: CallRequest,
  end: CallEnd,
  answer: { readonly result: ToolResultPart } | { readonly resultMessageId: string },
): Action {
  const { durationMs } = end
  const ended = { messageId, callId, ...(durationMs !== undefined && { durationMs }), ...answer }
  switch (end.kind) {
    case 'succeeded':
      return toolSucceeded(ended)
    case 'cancelled':
      return toolCancelled({ ...ended, reason: end.reason })
    default: {
      const { kind, code, problem } = end
      return toolFailed({ ...ended, kind, problem, ...(code !== undefined && { code }) })
    }
  }
}
