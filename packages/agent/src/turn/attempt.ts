/** What one try of a model's call brings: its answers as they arrive, under names of ours, and the tools that they let run. */
import { addUsage, type Usage } from '@colloquy/core'
import type { StreamEvent } from '@colloquy/formats'
import type { CallRequest, ToolCallPart } from '../tools/run-call.ts'
import { type CallIds, createCallIds } from './call-ids.ts'
import { type PartialAnswer, partialAnswer } from './partial-answer.ts'
import { createBatch, startCall, type ToolBatch } from './tool-batch.ts'
import type { CallSettlement } from './turn-options.ts'
import { keyOfCall, recordUsage, type TurnRun } from './turn-run.ts'

export interface Attempt {
  readonly batch: ToolBatch
  take(event: StreamEvent): void
  /** The stream is over: answers that it did not end are kept as far as they came. */
  end(): void
  /** Whole: at least one answer, and each one whole. None: not even a part of one, and no word of what it took. */
  answer(): CallSettlement['answer']
  usage(): Usage | null
  /** It is made again, and its answers are void. */
  withdraw(): void
}

export function createAttempt(run: TurnRun, reservationId: string | undefined): Attempt {
  const batch = createBatch(run.ids(), reservationId)
  /** Decoders name answers by what the provider said, which may come twice; ours are new. */
  const names = new Map<string, string>()
  /** By our names. */
  const callIds = new Map<string, CallIds>()
  const open = new Map<string, PartialAnswer>()
  /** Calls whose arguments are no JSON: of a stream that is cut, they were never meant. */
  const doubtful = new Map<string, CallRequest[]>()

  const request = (messageId: string, part: ToolCallPart): CallRequest => ({
    messageId,
    part,
    idempotencyKey: keyOfCall(run, messageId, part.callId),
  })

  const take = (given: StreamEvent): void => {
    if (given.type === 'noticed') {
      run.logger.debug('noticed in the stream', { kind: given.notice.kind, problem: given.notice.problem })
      return
    }
    if (given.type === 'answerStarted') names.set(given.messageId, run.ids())
    const name = given.messageId === undefined ? undefined : names.get(given.messageId)
    if (given.type === 'errorReported') {
      run.lane.push({ type: given.type, error: given.error, ...(name !== undefined && { messageId: name }) })
      return
    }
    if (name === undefined) return
    const event = callIds.get(name)?.inEvent(given) ?? given
    switch (event.type) {
      case 'answerStarted':
        callIds.set(name, createCallIds())
        open.set(name, partialAnswer({ ...event, messageId: name }))
        break
      case 'partStarted':
        run.metrics.firstPartMs ??= run.now() - run.metrics.startedMs
        break
      case 'answerEnded': {
        const isInterrupted = event.interrupted === true
        const parts = event.message.parts.map((part) => callIds.get(name)?.inAnswer(part) ?? part)
        const message = { ...event.message, id: name, parts }
        batch.answers.push({ message, media: event.media, isInterrupted })
        open.delete(name)
        recordUsage(run, message.model?.usage)
        if (!isInterrupted && !run.signal.aborted) {
          for (const call of doubtful.get(name) ?? []) startCall(batch, call, run.batchPorts)
        }
        run.lane.push({ type: event.type, messageId: name, ...(isInterrupted && { interrupted: true }) })
        return
      }
      default:
    }
    open.get(name)?.take(event)
    run.lane.push({ ...event, messageId: name })
    if (event.type !== 'partDone' || event.value.type !== 'tool_call' || run.signal.aborted) return
    const part = event.value
    if (part.executor.kind !== 'client') return
    if (part.args.valid) startCall(batch, request(name, part), run.batchPorts)
    else doubtful.set(name, [...(doubtful.get(name) ?? []), request(name, part)])
  }

  const usage = (): Usage | null => {
    const usages = batch.answers.flatMap(({ message }) => message.model?.usage ?? [])
    return usages.length === 0 ? null : usages.reduce(addUsage)
  }

  return {
    batch,
    take,
    end: () => {
      for (const [messageId, partial] of open) {
        batch.answers.push({ message: partial.message(), media: [], isInterrupted: true })
        run.lane.push({ type: 'answerEnded', messageId, interrupted: true })
      }
      open.clear()
    },
    answer: () => {
      if (batch.answers.length > 0 && batch.answers.every(({ isInterrupted }) => !isInterrupted)) return 'whole'
      return usage() === null && batch.answers.every(({ message }) => message.parts.length === 0) ? 'none' : 'broken'
    },
    usage,
    withdraw: () => {
      for (const messageId of names.values()) run.lane.push({ type: 'answerWithdrawn', messageId })
    },
  }
}
