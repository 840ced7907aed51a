/**
 * A turn: from what a person says, through all calls of the model and of tools, to the final answer. Every step is in the log before
 * the next one depends on it, so that who comes after a crash knows where it stood:
 *
 *     turnStarted + messageAdded (the input)
 *     budgetReserved, modelCalled (what is sent), budgetSettled behind the stream
 *       the model streams ........ toolRequested + toolStarted, as soon as a call is whole
 *     messageAdded + usageRecorded (the answer)
 *       tools end, in any order .. toolSucceeded | toolFailed | toolCancelled
 *     messageAdded (all results, in the order of the calls)
 *       ... again, until an answer calls no tool
 *     messageAdded + usageRecorded + turnEnded
 */
import {
  type Action,
  ColloquyError,
  type ConversationState,
  errorRecorded,
  isColloquyError,
  type Message,
  messageAdded,
  type Part,
  turnEnded,
  turnInterrupted,
  turnResumed,
  turnStarted,
} from '@colloquy/core'
import { type Conversation, systemClock, uuidv7 } from '@colloquy/engine'
import { classify } from '../recovery/classify.ts'
import { degradedBy, recoveredBy } from '../recovery/degradation.ts'
import { paused } from '../tools/run-call.ts'
import { problemOf } from '../tools/tool-result.ts'
import { activeTurn, registerTurn, unregisterTurn } from './active-turns.ts'
import { storeWithRoom } from './make-room.ts'
import { callModel } from './model-call.ts'
import { closeStaleTurn, hasMoved, storedCalls } from './resume.ts'
import { answerActions, clientCalls, closingActions, lateActions, type ToolBatch } from './tool-batch.ts'
import { endReason, recordedEnd } from './turn-end.ts'
import type { AnyConversation, TurnHandle, TurnLimits, TurnOptions, TurnOutcome, TurnResult } from './turn-options.ts'
import { createTurnRun, storeLate, type TurnRun, textParts } from './turn-run.ts'
import { turnSoFar } from './turn-so-far.ts'

/**
 * Runs a turn: says `input` to the model and goes on until its final answer or a limit. Begins at once; what it does is in `parts$`, in
 * the log, and in `done`.
 *
 * With a `turnId` of the caller's the turn runs once. Asked for again by the engine that runs it, the same handle comes back. By another
 * one, while it is open, it is resumed as by `resumeTurn`: its process is taken for dead. When it is over, `done` tells how it ended, as the
 * log has it, with the last answer as the working set has it now; nothing is streamed, and the metrics are those of looking.
 */
export function runTurn<State extends ConversationState>(
  conversation: Conversation<State>,
  input: string | readonly Part[],
  options: TurnOptions,
): TurnHandle {
  const where = conversation as unknown as AnyConversation
  const turnId = options.turnId ?? (options.ids ?? uuidv7)()
  const parts = typeof input === 'string' ? textParts(input) : [...input]
  const said = JSON.stringify(parts)
  const running = activeTurn(where, turnId)
  // With another input the log refuses it, as it does when the turn is over.
  if (running !== undefined && (inputs.get(running) ?? said) === said) return running
  const handle = startTurn(where, turnId, options, (run) => begin(run, parts))
  inputs.set(handle, said)
  return handle
}

/** What was said in the turns that `runTurn` began. */
const inputs = new WeakMap<TurnHandle, string>()

/**
 * Goes on with the turn that is open in the log, after the process that ran it is gone. Calls that had not begun are run; of those
 * that had, idempotent ones are run again under the same key, and others end as `outcome_unknown`; answers that were in the log are used.
 * What the turn took before counts against `limits`. Of two processes that resume one turn one does, and the one that ran it before, should it be alive, can start no tool any more.
 *
 * @throws `turn_not_open` when none is; `turn_already_open` when it runs in this process, or another one has just resumed it
 */
export async function resumeTurn<State extends ConversationState>(
  conversation: Conversation<State>,
  options: Omit<TurnOptions, 'turnId' | 'whenBusy'>,
): Promise<TurnHandle> {
  const where = conversation as unknown as AnyConversation
  const { turn } = await where.refresh()
  const turnId = turn.current?.turnId
  if (turnId === undefined) throw new ColloquyError('turn_not_open', { turnId: 'to resume', openTurnId: null })
  if (activeTurn(where, turnId) !== undefined) throw new ColloquyError('turn_already_open', { turnId, openTurnId: turnId })
  await where.dispatch(turnResumed({ turnId, run: (turn.current?.run ?? 0) + 1 }))
  return startTurn(where, turnId, options, (run) => goOn(run))
}

/** After `turnResumed`. */
async function goOn(run: TurnRun): Promise<Beginning> {
  run.number = run.conversation.getState().turn.current?.run ?? 1
  run.isOpen = true
  // The limits are the turn's, however many processes it takes.
  run.before = await turnSoFar(run.conversation)
  run.limitTime(Math.max(0, run.limits.durationMs - run.before.durationMs))
  return { pending: await storedCalls(run) }
}

/** Where the loop begins: with calls to be finished, or with a turn that is over already, and what it answered. */
interface Beginning {
  readonly pending?: ToolBatch | undefined
  readonly over?: TurnOutcome
  readonly message?: Message | null
}

function startTurn(
  conversation: AnyConversation,
  turnId: string,
  options: TurnOptions,
  begin: (run: TurnRun) => Promise<Beginning>,
): TurnHandle {
  const run = createTurnRun(conversation, turnId, options)
  const done = take(run, begin).finally(() => {
    unregisterTurn(conversation, handle)
    run.lane.end()
  })
  // A handle may be dropped; who waits for `done` hears of a failure all the same.
  done.catch(() => {})
  const handle: TurnHandle = {
    turnId,
    conversationId: conversation.id,
    tenant: conversation.tenant,
    parts$: run.lane.parts(),
    partsFrom: (chunk) => run.lane.parts(chunk),
    done,
    abort: async (reason = 'aborted') => {
      run.abort(reason)
      await done.catch(() => {})
    },
  }
  registerTurn(conversation, handle)
  return handle
}

async function take(run: TurnRun, begin: (run: TurnRun) => Promise<Beginning>): Promise<TurnResult> {
  const { conversation, limits, metrics } = run
  assertLimits(limits)
  run.limitTime(limits.durationMs)
  let message: Message | null = null
  const keep = (answered: Message): void => {
    message = answered
  }
  try {
    const { pending, over, message: recorded = null } = await begin(run)
    if (recorded !== null) keep(recorded)
    const outcome = over ?? (await loop(run, pending, keep))
    const last = message as Message | null
    return {
      ...outcome,
      turnId: run.turnId,
      content: last?.parts ?? [],
      message: last,
      state: conversation.getState(),
      position: conversation.position,
      metrics: { ...metrics, durationMs: run.now() - metrics.startedMs },
    }
  } catch (error) {
    await closeFailed(run, error)
    throw error
  } finally {
    run.stopTimer()
  }
}

/** @throws `settings_invalid` */
function assertLimits(limits: TurnLimits): void {
  for (const [name, limit] of Object.entries(limits)) {
    if (limit >= 0) continue
    throw new ColloquyError('settings_invalid', { field: `limits.${name}`, problem: `it is ${limit}, not a number from 0 on` })
  }
}

/** Of `<turn id>:input`, the longest of the ids that are made of it. */
const longestTurnId = 194

/** Stores that the turn began, and what was said; when another one runs, does as `whenBusy` says. */
async function begin(run: TurnRun, parts: Part[]): Promise<Beginning> {
  const { conversation, options, turnId } = run
  const { whenBusy = 'reject', actor } = options
  if (turnId.length < 1 || turnId.length > longestTurnId) {
    const problem = `it has ${turnId.length} characters, not 1 to ${longestTurnId}`
    throw new ColloquyError('id_invalid', { kind: 'turn id', problem })
  }
  const message: Message = { v: 1, id: `${turnId}:input`, role: 'user', parts }
  const actions = [turnStarted({ turnId }), messageAdded({ message, ...run.count(message) })]
  // Only the caller's own key can come a second time.
  const command = options.turnId === undefined ? {} : { commandId: `turn:${turnId}` }
  let busy: unknown
  for (;;) {
    // It waited for as long as a turn may last.
    if (run.limitReached !== undefined && busy !== undefined) throw busy
    if (run.signal.aborted) return { over: { outcome: 'interrupted', reason: problemOf(run.signal.reason) } }
    try {
      const { duplicate, state, envelopes } = await conversation.dispatch(actions, {
        ...command,
        ...(actor !== undefined && { actor }),
      })
      if (!duplicate) {
        run.isOpen = true
        return {}
      }
      if (state.turn.current?.turnId === turnId) {
        await conversation.dispatch(turnResumed({ turnId, run: state.turn.current.run + 1 }))
        return await goOn(run)
      }
      return await recordedEnd(conversation, turnId, envelopes[0]?.position ?? 1)
    } catch (error) {
      if (!isColloquyError(error, 'turn_already_open') || whenBusy === 'reject') throw error
      busy = error
      const { openTurnId } = error.details
      // Another process was first to resume it.
      const isOurs = openTurnId === turnId
      if (isOurs && whenBusy === 'interrupt') throw error
      const other = isOurs ? undefined : activeTurn(conversation, openTurnId)
      if (whenBusy === 'queue') await (other === undefined ? endInLog(run, openTurnId) : endOf(other, run.signal))
      else if (other !== undefined) await other.abort('another turn began')
      else await closeStaleTurn(run, openTurnId).catch(unlessMoved)
    }
  }
}

/** While a turn was being closed its process, or one that resumed it, went on with it: it is looked at again. */
function unlessMoved(error: unknown): void {
  if (!hasMoved(error)) throw error
}

const lookMs = 250

/** Of a turn of another process: the log is looked at until it is over, or this one need not wait any more. */
async function endInLog(run: TurnRun, turnId: string): Promise<void> {
  do {
    const { turn } = await run.conversation.refresh()
    if (turn.current?.turnId !== turnId) return
  } while (await paused(lookMs, run))
}

function endOf(other: TurnHandle, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      signal.removeEventListener('abort', go)
      resolve()
    }
    if (signal.aborted) return resolve()
    signal.addEventListener('abort', go, { once: true })
    other.done.then(go, go)
  })
}

async function loop(run: TurnRun, stored: ToolBatch | undefined, keep: (message: Message) => void): Promise<TurnOutcome> {
  const { limits, count } = run
  let pending = stored
  for (let number = run.before.modelCalls + 1; ; number++) {
    if (pending !== undefined) {
      try {
        await Promise.all(pending.calls.map(({ settled }) => settled))
        if (run.signal.aborted) return await interrupt(run, pending)
        await storeResults(run, pending)
      } catch (error) {
        if (isColloquyError(error, 'turn_not_open')) for (const late of lateActions(pending)) await storeLate(run, late)
        throw error
      }
    } else if (run.signal.aborted) return interrupt(run, undefined)
    if (run.limitReached === undefined && number > limits.modelCalls) run.limitReached = 'modelCalls'
    if (run.limitReached !== undefined) return end(run, [], { outcome: 'limit_reached', limit: run.limitReached })

    const { batch, failure } = await callModel(run, number)
    const last = batch.answers.at(-1)
    if (last !== undefined) keep(last.message)
    const media = batch.answers.flatMap((answer) => answer.media)
    if (media.length > 0) await run.conversation.log.putMedia(keyOf(run), media)
    if (run.signal.aborted) return interrupt(run, batch)
    if (failure?.isFinal === true) {
      await run.store([...closingActions(batch, count, cutOff), ...failedActions(run, failure.error)])
      run.isOpen = false
      throw failure.error
    }
    const well = failure === undefined ? recoveredBy('answered', run.conversation.getState().health) : null
    const answers = [...answerActions(batch, count), ...(well === null ? [] : [well])]
    const isFinal = batch.answers.every(({ message }) => clientCalls(message).length === 0 && !goesOn(message))
    if (isFinal && failure === undefined) return end(run, answers, { outcome: 'answered' })
    await run.store(answers)
    batch.isStored = true
    pending = batch
  }
}

const keyOf = ({ conversation: { tenant, id } }: TurnRun) => ({ tenant, conversationId: id })

const storeResults = (run: TurnRun, batch: ToolBatch): Promise<void> =>
  storeWithRoom(batch, run.store, () => closingActions(batch, run.count, cutOff))

/** Of calls in an answer that broke off, and were never begun. */
const cutOff = { reason: 'the answer was cut off' }

/** The provider paused, and goes on when it is called again with what it said. */
const goesOn = ({ model }: Message): boolean => model?.stop?.unified === 'pause' || model?.stop?.unified === 'compaction'

async function end(run: TurnRun, actions: readonly Action[], outcome: TurnOutcome): Promise<TurnOutcome> {
  const { turnId } = run
  await run.store([...actions, turnEnded({ turnId, reason: endReason(outcome), run: run.number })])
  run.isOpen = false
  return outcome
}

/** What had arrived is kept, calls are closed, and the turn is over. */
async function interrupt(run: TurnRun, batch: ToolBatch | undefined): Promise<TurnOutcome> {
  const { turnId } = run
  if (batch !== undefined) await Promise.allSettled(batch.calls.map(({ settled }) => settled))
  const outcome: TurnOutcome =
    run.limitReached === 'durationMs'
      ? { outcome: 'limit_reached', limit: run.limitReached }
      : { outcome: 'interrupted', reason: problemOf(run.signal.reason) }
  const over = turnInterrupted({ turnId, reason: endReason(outcome), run: run.number })
  if (batch === undefined) await run.store([over])
  else await storeWithRoom(batch, run.store, () => [...closingActions(batch, run.count, run.signal), over])
  run.isOpen = false
  return outcome
}

/** The turn is over, and what kept the model from answering is said of the conversation, too. */
function failedActions({ turnId, number, conversation, options }: TurnRun, error: unknown): Action[] {
  const failure = (options.recovery?.classify ?? classify)(error)
  const less = degradedBy(failure, conversation.getState().health, systemClock())
  return [
    errorRecorded({ kind: failure.kind, problem: problemOf(error), retryable: failure.retryable }),
    ...(less === null ? [] : [less]),
    turnInterrupted({ turnId, reason: failure.kind, run: number }),
  ]
}

/** The turn must not stay open because of us; where the log cannot be reached, it does, and is resumed or interrupted later. */
async function closeFailed(run: TurnRun, error: unknown): Promise<void> {
  if (!run.isOpen) return
  run.abort(problemOf(error))
  for (let attempt = 1; ; attempt++) {
    try {
      await closeStaleTurn(run, run.turnId, { reason: problemOf(error), run: run.number })
      return
    } catch (thrown) {
      // A call that ended by itself meanwhile; the next look sees it.
      if (attempt < closeAttempts && isColloquyError(thrown, 'tool_not_open')) continue
      run.logger.error('a turn that failed could not be closed', { turnId: run.turnId, problem: problemOf(thrown) })
      return
    }
  }
}

const closeAttempts = 10
