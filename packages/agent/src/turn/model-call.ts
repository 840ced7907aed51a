/** One call of the model: what it is sent, what it streams, the tools that begin while it talks, and the tries when it fails. */
import { ColloquyError, errorRecorded, type Usage } from '@colloquy/core'
import type { StreamEvent } from '@colloquy/formats'
import type { Model } from '../model.ts'
import { classify } from '../recovery/classify.ts'
import { recover } from '../recovery/recover.ts'
import type { CallRequest, ToolCallPart } from '../tools/run-call.ts'
import { problemOf } from '../tools/tool-result.ts'
import { type PartialAnswer, partialAnswer } from './partial-answer.ts'
import { createBatch, startCall, type ToolBatch } from './tool-batch.ts'
import type { ModelCall } from './turn-options.ts'
import { keyOfCall, recordUsage, type TurnRun } from './turn-run.ts'
import { addUsage } from './usage-sum.ts'

export interface ModelAnswer {
  readonly batch: ToolBatch
  /** Why it is not whole. Undefined also when the turn was aborted. */
  readonly failure: { readonly error: unknown; readonly isFinal: boolean } | undefined
}

/** After an abort the model has so long to end its stream; then what arrived counts. */
const graceMs = 2_000

/**
 * Calls the model, and again as the policies say, then the models that may stand in for it. A call that has let a tool run is never
 * made again: what it brought is kept, and the turn goes on from there. Rejects with what hooks before the call throw; a failing model
 * is an answer.
 */
export async function callModel(run: TurnRun, number: number): Promise<ModelAnswer> {
  const { model, fallbacks = [], recovery = {} } = run.options
  const tries: Tries = { last: undefined, isSent: false }
  for (const [index, one] of [model, ...fallbacks].entries()) {
    try {
      return await callOne(run, one, number, tries)
    } catch (error) {
      if (run.signal.aborted) return { batch: tries.last?.batch ?? createBatch(run.ids()), failure: undefined }
      if (!tries.isSent || tries.last === undefined) throw error
      const { kind, problem } = (recovery.classify ?? classify)(error)
      const next = fallbacks[index]
      if (next === undefined || noFallback.has(kind)) return { batch: tries.last.batch, failure: { error, isFinal: true } }
      await run.store([errorRecorded({ kind, problem, details: { fallback: { provider: next.provider, id: next.id } } })])
    }
  }
  throw emptyAnswer(model)
}

/** Another model would be asked the same, or should not be. */
const noFallback: ReadonlySet<string> = new Set(['aborted', 'rejected', 'refusal', 'tool'])

interface Tries {
  last: Attempt | undefined
  /** The present call has left: what fails now is the model's failure. */
  isSent: boolean
}

async function callOne(run: TurnRun, model: Model, number: number, tries: Tries): Promise<ModelAnswer> {
  const { hooks = {}, recovery = {}, circuits } = run.options
  const circuit = circuits?.of(model.provider, 'stream')

  const operation = async (attemptNumber: number): Promise<ModelAnswer> => {
    tries.isSent = false
    const call = await prepare(run, model, number, attemptNumber)
    if (hooks.beforeCall !== undefined) await run.store(await hooks.beforeCall(call, run.conversation))
    const settle = await hooks.reserve?.(call, run.conversation)
    tries.last?.withdraw()
    const attempt = createAttempt(run)
    tries.last = attempt
    tries.isSent = true
    let error: unknown
    try {
      await read(run, call, attempt)
    } catch (thrown) {
      error = thrown
    }
    attempt.end()
    await settle?.(attempt.usage())
    if (attempt.isWhole()) {
      if (error !== undefined) run.logger.warn('the connection failed behind a whole answer', { problem: problemOf(error) })
      run.metrics.modelCalls += 1
      return { batch: attempt.batch, failure: undefined }
    }
    if (run.signal.aborted) return { batch: attempt.batch, failure: undefined }
    const failure = error ?? emptyAnswer(model)
    if (attempt.batch.calls.length === 0) throw failure
    await run.store([errorRecorded({ kind: 'model', problem: problemOf(failure), attempt: attemptNumber })])
    return { batch: attempt.batch, failure: { error: failure, isFinal: false } }
  }

  return recover(operation, {
    ...recovery,
    ...(circuit && { circuit }),
    // What refuses before the call leaves is no failure of the model, and is not asked again.
    classify: (error) => {
      const failure = (recovery.classify ?? classify)(error)
      return tries.isSent ? failure : { ...failure, kind: 'rejected', retryable: false }
    },
    signal: run.signal,
    onRetry: async ({ failure: { kind, problem }, attempt, delayMs }) => {
      run.metrics.retries += 1
      await run.store([errorRecorded({ kind, problem, retryable: true, retryInMs: delayMs, attempt })])
    },
    onOverflow: async () => {
      if (hooks.onOverflow === undefined) return false
      return hooks.onOverflow(await prepare(run, model, number, 1), run.conversation)
    },
  })
}

async function prepare(run: TurnRun, model: Model, number: number, attempt: number): Promise<ModelCall> {
  const { system = null, config } = run.options
  const tools = await run.registry.schemas(run.conversation)
  const messages = run.conversation.getState().messages.slice()
  const request = { system, tools, messages, config: { model: model.id, cacheKey: run.cacheKey, ...config } }
  return { turnId: run.turnId, number, attempt, model, request, body: model.encoder.encode(request) }
}

interface Attempt {
  readonly batch: ToolBatch
  take(event: StreamEvent): void
  /** The stream is over: answers that it did not end are kept as far as they came. */
  end(): void
  /** At least one answer, and each one whole. */
  isWhole(): boolean
  usage(): Usage | null
  /** It is made again, and its answers are void. */
  withdraw(): void
}

function createAttempt(run: TurnRun): Attempt {
  const batch = createBatch(run.ids())
  /** Decoders name answers by what the provider said, which may come twice; ours are new. */
  const names = new Map<string, string>()
  const open = new Map<string, PartialAnswer>()
  /** Calls whose arguments are no JSON: of a stream that is cut, they were never meant. */
  const doubtful = new Map<string, CallRequest[]>()

  const request = (messageId: string, part: ToolCallPart): CallRequest => ({
    messageId,
    part,
    idempotencyKey: keyOfCall(run, messageId, part.callId),
  })

  const take = (event: StreamEvent): void => {
    if (event.type === 'noticed') {
      run.logger.debug('noticed in the stream', { kind: event.notice.kind, problem: event.notice.problem })
      return
    }
    if (event.type === 'answerStarted') names.set(event.messageId, run.ids())
    const name = event.messageId === undefined ? undefined : names.get(event.messageId)
    if (event.type === 'errorReported') {
      run.lane.push({ type: event.type, error: event.error, ...(name !== undefined && { messageId: name }) })
      return
    }
    if (name === undefined) return
    switch (event.type) {
      case 'answerStarted':
        open.set(name, partialAnswer({ ...event, messageId: name }))
        break
      case 'partStarted':
        run.metrics.firstPartMs ??= run.now() - run.metrics.startedMs
        break
      case 'answerEnded': {
        const isInterrupted = event.interrupted === true
        const message = { ...event.message, id: name }
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
    isWhole: () => batch.answers.length > 0 && batch.answers.every(({ isInterrupted }) => !isInterrupted),
    usage: () => {
      const usages = batch.answers.flatMap(({ message }) => message.model?.usage ?? [])
      return usages.length === 0 ? null : usages.reduce(addUsage)
    },
    withdraw: () => {
      for (const messageId of names.values()) run.lane.push({ type: 'answerWithdrawn', messageId })
    },
  }
}

/** @throws what the model throws, `model_failed` for an error inside its stream */
async function read(run: TurnRun, call: ModelCall, attempt: Attempt): Promise<void> {
  const { model } = call
  const iterator = model.stream(call.body, { signal: run.signal })[Symbol.asyncIterator]()
  let reported: unknown
  let isHung = false
  let onHung = (): void => {}
  let stopGrace = (): void => {}
  const leave = (): void => {
    stopGrace = run.timer(() => {
      isHung = true
      onHung()
    }, graceMs)
  }
  if (run.signal.aborted) leave()
  else run.signal.addEventListener('abort', leave, { once: true })
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<StreamEvent> | undefined>((resolve, reject) => {
        onHung = () => resolve(undefined)
        if (isHung) onHung()
        iterator.next().then(resolve, reject)
      })
      if (next === undefined) {
        run.logger.warn('the model did not end its stream when it was aborted', { provider: model.provider, model: model.id })
        // It waits for itself: nobody waits for it.
        void iterator.return?.(undefined)?.catch(() => {})
        return
      }
      if (next.done === true) break
      const event = next.value
      if (event.type === 'errorReported') {
        const { kind, message } = event.error
        const details = { provider: model.provider, model: model.id, kind, problem: message }
        reported ??= new ColloquyError('model_failed', details, { cause: event.error })
      }
      attempt.take(event)
    }
  } finally {
    run.signal.removeEventListener('abort', leave)
    stopGrace()
  }
  if (reported !== undefined) throw reported
}

function emptyAnswer(model: Model): ColloquyError {
  const problem = 'the stream ended before an answer was whole'
  return new ColloquyError('model_failed', { provider: model.provider, model: model.id, kind: 'cut_off', problem })
}
