/** One call of the model: what it is sent, what is held for it, and the tries when it fails. What it streams: `attempt.ts`. */
import { estimateCounter, loadMedia, recordModelCall } from '@colloquy/context'
import { ColloquyError, errorRecorded, isColloquyError, type JsonObject } from '@colloquy/core'
import type { ProviderError } from '@colloquy/formats'
import type { Model } from '../model.ts'
import { classify, type Failure } from '../recovery/classify.ts'
import { recoveredBy } from '../recovery/degradation.ts'
import { fallBack } from '../recovery/fall-back.ts'
import { retryPolicies } from '../recovery/policies.ts'
import { recover, retryDelayMs } from '../recovery/recover.ts'
import { sleep } from '../recovery/sleep.ts'
import { problemOf } from '../tools/tool-result.ts'
import { type Attempt, createAttempt } from './attempt.ts'
import { compactOnOverflow } from './compact-on-overflow.ts'
import { readStream } from './read-stream.ts'
import { createBatch, type ToolBatch } from './tool-batch.ts'
import type { CallSettlement, HeldCall, ModelCall } from './turn-options.ts'
import { holds, type TurnRun } from './turn-run.ts'

export interface ModelAnswer {
  readonly batch: ToolBatch
  /** Why it is not whole. Undefined also when the turn was aborted. */
  readonly failure: { readonly error: unknown; readonly isFinal: boolean } | undefined
}

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
  const failureOf = (error: unknown): Failure => {
    const failure = (recovery.classify ?? classify)(error)
    return isOfModel(error) ? failure : { ...failure, kind: 'rejected', retryable: false }
  }
  try {
    return await fallBack([model, ...fallbacks], (one) => callOne(run, one, { number, tries, failureOf }), {
      classify: failureOf,
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
  readonly failureOf: (error: unknown) => Failure
}

type Place = Pick<ModelCall, 'number' | 'attempt'>

/** Calls one model, and again as the policies say. Rejects with what is left when they have no tries, or refuse any. */
async function callOne(run: TurnRun, model: Model, { number, tries, failureOf }: Calling): Promise<ModelAnswer> {
  const { hooks = {}, recovery = {} } = run.options
  await waitForBroken(run, model, tries)
  const answer = await recover((attempt) => tryOnce(run, model, tries, { number, attempt }), {
    ...recovery,
    classify: failureOf,
    signal: run.signal,
    onRetry: async ({ failure: { kind, problem }, attempt, delayMs }) => {
      run.metrics.retries += 1
      await run.store([errorRecorded({ kind, problem, retryable: true, retryInMs: delayMs, attempt })])
    },
    onOverflow: async () => {
      const call = await describeCall(run, model, { number, attempt: 1 })
      const isSmaller = await (hooks.onOverflow ?? compactOnOverflow())(call, run.conversation)
      const well = isSmaller ? recoveredBy('compacted', run.conversation.getState().health) : null
      if (well !== null) await run.store([well])
      return isSmaller
    },
  })
  const isWhole = tries.last?.answer() === 'whole'
  if (isWhole || answer.failure !== undefined) run.metrics.modelCalls += 1
  if (isWhole) run.broken.clear()
  if (answer.failure === undefined) return answer
  const failure = failureOf(answer.failure.error)
  // What fails from here on is ours.
  tries.isSent = false
  await recordBroken(run, model, failure, answer.failure.error)
  return answer
}

/**
 * One try, of which the circuit hears. Rejects when it brought nothing that must be kept; behind a call that it has let run it does not,
 * whatever fails, since who retries would run that tool again.
 */
async function tryOnce(run: TurnRun, model: Model, tries: Tries, at: Place): Promise<ModelAnswer> {
  const circuit = run.options.circuits?.of(model.provider, 'stream')
  const send = async (): Promise<ToolBatch> => {
    const { body, held } = await prepare(run, await describeCall(run, model, at))
    tries.last?.withdraw()
    const attempt = createAttempt(run, held?.reservationId)
    tries.last = attempt
    tries.isSent = true
    let error: unknown
    try {
      await readStream(run, model, body, attempt)
    } catch (thrown) {
      error = thrown
    }
    attempt.end()
    await settle(run, held, { usage: attempt.usage(), error, answer: attempt.answer() })
    if (attempt.answer() !== 'whole') throw error ?? emptyAnswer(model)
    if (error !== undefined) run.logger.warn('the connection failed behind a whole answer', { problem: problemOf(error) })
    return attempt.batch
  }
  tries.isSent = false
  try {
    // What refuses a call before it leaves, and an abort, say nothing of the provider.
    const isOfProvider = (): boolean => tries.isSent && !run.signal.aborted
    return { batch: await (circuit === undefined ? send() : circuit.run(send, { isOfProvider })), failure: undefined }
  } catch (error) {
    const batch = tries.isSent ? tries.last?.batch : undefined
    if (batch !== undefined && run.signal.aborted) return { batch, failure: undefined }
    if (batch === undefined || batch.calls.length === 0) throw error
    return { batch, failure: { error, isFinal: false } }
  }
}

/** The answer broke off behind a call: the turn goes on with what came, and counts it against the model. */
async function recordBroken(run: TurnRun, model: Model, failure: Failure, error: unknown): Promise<void> {
  const { policies, random } = run.options.recovery ?? {}
  const times = (run.broken.get(model)?.times ?? 0) + 1
  const delayMs = retryDelayMs(failure, times, { ...retryPolicies, ...policies }, random)
  run.broken.set(model, { error, times, delayMs })
  const { kind, problem } = failure
  const again = delayMs === undefined ? {} : { retryable: true, retryInMs: delayMs }
  await run.store([errorRecorded({ kind, problem, attempt: times, ...again })])
}

/** A model whose answers break off behind calls, one after the other, is asked by the policy too. @throws what broke the last one */
async function waitForBroken(run: TurnRun, model: Model, tries: Tries): Promise<void> {
  const broken = run.broken.get(model)
  if (broken === undefined) return
  if (broken.delayMs === undefined) {
    // It did leave, in the call before.
    tries.isSent = true
    throw broken.error
  }
  run.metrics.retries += 1
  await (run.options.recovery?.sleep ?? sleep)(broken.delayMs, run.signal)
}

async function describeCall(run: TurnRun, model: Model, { number, attempt }: Place): Promise<ModelCall> {
  const { system = null, config } = run.options
  const tools = await run.registry.schemas(run.conversation)
  const messages = run.conversation.getState().messages.slice()
  const request = { system, tools, messages, config: { model: model.id, cacheKey: run.cacheKey, ...config } }
  return { callId: run.ids(), turnId: run.turnId, number, attempt, model, request }
}

interface Prepared {
  readonly body: JsonObject
  readonly held: HeldCall | undefined
}

/** All that comes before a call leaves. Of one that does not leave nothing stays held. */
async function prepare(run: TurnRun, call: ModelCall): Promise<Prepared> {
  const { hooks = {} } = run.options
  if (hooks.beforeCall !== undefined) await run.store(await hooks.beforeCall(call, run.conversation))
  const held = await hooks.reserve?.(call, run.conversation)
  try {
    run.signal.throwIfAborted()
    // Last: a call that was refused was never made.
    const body = await recorded(run, call)
    run.signal.throwIfAborted()
    return { body, held }
  } catch (error) {
    await release(run, held, error)
    throw error
  }
}

async function release(run: TurnRun, held: HeldCall | undefined, error: unknown): Promise<void> {
  if (held?.release === undefined) return settle(run, held, { usage: null, error, answer: 'none' })
  try {
    await held.release(`the call did not leave: ${problemOf(error)}`)
  } catch (thrown) {
    notGivenBack(run, held, thrown)
  }
}

/** Never rejects: the answer is there. What stays held counts against the budget all the same, and as spent when it expires. */
async function settle(run: TurnRun, held: HeldCall | undefined, end: CallSettlement): Promise<void> {
  try {
    await held?.settle(end)
  } catch (thrown) {
    notGivenBack(run, held, thrown)
  }
}

function notGivenBack(run: TurnRun, held: HeldCall | undefined, thrown: unknown): void {
  const { reservationId } = held ?? {}
  run.logger.error('what was held for a call of the model could not be settled', { reservationId, problem: problemOf(thrown) })
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
