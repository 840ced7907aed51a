/** One call of the model: what it is sent, what it streams, the tools that begin while it talks, and the tries when it fails. */
import { estimateCounter, loadMedia, recordModelCall } from '@colloquy/context'
import { addUsage, ColloquyError, errorRecorded, isColloquyError, type JsonObject, type Usage } from '@colloquy/core'
import type { ProviderError, StreamEvent } from '@colloquy/formats'
import type { Model } from '../model.ts'
import { classify, type Failure } from '../recovery/classify.ts'
import { recoveredBy } from '../recovery/degradation.ts'
import { fallBack } from '../recovery/fall-back.ts'
import { recover } from '../recovery/recover.ts'
import type { CallRequest, ToolCallPart } from '../tools/run-call.ts'
import { problemOf } from '../tools/tool-result.ts'
import { compactOnOverflow } from './compact-on-overflow.ts'
import { type PartialAnswer, partialAnswer } from './partial-answer.ts'
import { createBatch, startCall, type ToolBatch } from './tool-batch.ts'
import type { ModelCall } from './turn-options.ts'
import { holds, keyOfCall, recordUsage, type TurnRun } from './turn-run.ts'

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
  // What refuses before the call leaves is no failure of the model, and is not asked again; an open circuit stands for the model.
  const isOfModel = (error: unknown): boolean => tries.isSent || isColloquyError(error, 'circuit_open')
  const read = (error: unknown): Failure => {
    const failure = (recovery.classify ?? classify)(error)
    return isOfModel(error) ? failure : { ...failure, kind: 'rejected', retryable: false }
  }
  try {
    return await fallBack([model, ...fallbacks], (one) => callOne(run, one, { number, tries, read }), {
      classify: read,
      signal: run.signal,
      onFallBack: async ({ to, failure: { kind, problem } }) => {
        await run.store([errorRecorded({ kind, problem, details: { fallBackTo: { provider: to.provider, id: to.id } } })])
      },
    })
  } catch (error) {
    if (run.signal.aborted) return { batch: tries.last?.batch ?? createBatch(run.ids()), failure: undefined }
    if (!isOfModel(error)) throw error
    return { batch: tries.last?.batch ?? createBatch(run.ids()), failure: { error, isFinal: true } }
  }
}

interface Tries {
  last: Attempt | undefined
  /** The present call has left: what fails now is the model's failure. */
  isSent: boolean
}

interface Calling {
  /** Of the turn, from 1. */
  readonly number: number
  readonly tries: Tries
  readonly read: (error: unknown) => Failure
}

async function callOne(run: TurnRun, model: Model, { number, tries, read: classified }: Calling): Promise<ModelAnswer> {
  const { hooks = {}, recovery = {}, circuits } = run.options
  const circuit = circuits?.of(model.provider, 'stream')

  const operation = async (attemptNumber: number): Promise<ModelAnswer> => {
    tries.isSent = false
    const call = await prepare(run, model, number, attemptNumber)
    if (hooks.beforeCall !== undefined) await run.store(await hooks.beforeCall(call, run.conversation))
    const held = await hooks.reserve?.(call, run.conversation)
    // Last: a call that was refused was never made.
    const body = await recorded(run, call)
    tries.last?.withdraw()
    const attempt = createAttempt(run, held?.reservationId)
    tries.last = attempt
    tries.isSent = true
    let error: unknown
    try {
      await read(run, model, body, attempt)
    } catch (thrown) {
      error = thrown
    }
    attempt.end()
    await held?.settle({ usage: attempt.usage(), error })
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
    classify: classified,
    signal: run.signal,
    onRetry: async ({ failure: { kind, problem }, attempt, delayMs }) => {
      run.metrics.retries += 1
      await run.store([errorRecorded({ kind, problem, retryable: true, retryInMs: delayMs, attempt })])
    },
    onOverflow: async () => {
      const call = await prepare(run, model, number, 1)
      const isSmaller = await (hooks.onOverflow ?? compactOnOverflow())(call, run.conversation)
      const well = isSmaller ? recoveredBy('compacted', run.conversation.getState().health) : null
      if (well !== null) await run.store([well])
      return isSmaller
    },
  })
}

async function prepare(run: TurnRun, model: Model, number: number, attempt: number): Promise<ModelCall> {
  const { system = null, config } = run.options
  const tools = await run.registry.schemas(run.conversation)
  const messages = run.conversation.getState().messages.slice()
  const request = { system, tools, messages, config: { model: model.id, cacheKey: run.cacheKey, ...config } }
  return { callId: run.ids(), turnId: run.turnId, number, attempt, model, request }
}

/** The body to be sent, when the log has the manifest of it. */
async function recorded(run: TurnRun, { callId, model, request }: ModelCall): Promise<JsonObject> {
  const { conversation, options } = run
  const named = { provider: model.provider, id: model.id }
  if (options.manifests !== false) {
    const call = { callId, request, encoder: model.encoder, model: named, counter: options.counter ?? estimateCounter }
    return (await recordModelCall(conversation, conversation, { ...call, guard: holds(run.turnId, run.number) })).body
  }
  const { log, tenant, id: conversationId } = conversation
  return model.encoder.encode(request, await loadMedia(log, { tenant, conversationId }, request.messages)) as JsonObject
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

function createAttempt(run: TurnRun, reservationId: string | undefined): Attempt {
  const batch = createBatch(run.ids(), reservationId)
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
async function read(run: TurnRun, model: Model, body: JsonObject, attempt: Attempt): Promise<void> {
  const iterator = model.stream(body, { signal: run.signal })[Symbol.asyncIterator]()
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

/** Half an answer, or none, and no word why: to those who classify, the connection. */
function emptyAnswer({ provider, id }: Model): ColloquyError {
  const problem = 'the stream ended before an answer was whole'
  const cause: ProviderError = {
    provider,
    kind: 'timeout',
    retryable: true,
    status: null,
    type: null,
    code: 'cut_off',
    message: problem,
    requestId: null,
    raw: null,
  }
  return new ColloquyError('model_failed', { provider, model: id, kind: 'cut_off', problem }, { cause })
}
