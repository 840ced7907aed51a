/** What one running turn holds, and its ways to the log, to the lane and to the tools. */

import { countedMessage, estimateCounter } from '@colloquy/context'
import {
  type Action,
  addUsage,
  approvalDecided,
  ColloquyError,
  type ConversationState,
  type Part,
  type Timer,
  toHex,
  toolEndedLate,
  toolProgressed,
  toUtf8,
  type Usage,
} from '@colloquy/core'
import { sha256, uuidv7 } from '@colloquy/engine'
import { filter, firstValueFrom } from 'rxjs'
import { type Logger, silentLogger } from '../logger.ts'
import type { Model } from '../model.ts'
import { createGuardedFetch } from '../tools/egress.ts'
import { type CallEnd, type CallRequest, denied, resultOf, runCall } from '../tools/run-call.ts'
import type { ExecutionContext, Tool } from '../tools/tool.ts'
import { createToolRegistry, type ToolRegistry } from '../tools/tool-registry.ts'
import { contentOf, problemOf, wordsOf } from '../tools/tool-result.ts'
import { createDeltaLane, type DeltaLane } from './delta-lane.ts'
import type { BatchPorts } from './tool-batch.ts'
import type { AnyConversation, PendingCall, TurnLimits, TurnOptions } from './turn-options.ts'

export interface TurnRun {
  readonly conversation: AnyConversation
  readonly options: TurnOptions
  readonly turnId: string
  readonly signal: AbortSignal
  readonly abort: (reason: string) => void
  readonly lane: DeltaLane
  readonly registry: ToolRegistry
  readonly limits: TurnLimits
  readonly logger: Logger
  readonly timer: Timer
  readonly now: () => number
  readonly ids: () => string
  readonly count: BatchPorts['count']
  readonly cacheKey: string
  /** Stores actions of this turn while it is open and this run's. @throws `turn_not_open` */
  readonly store: (actions: readonly Action[]) => Promise<unknown>
  /** The same under another guard, or none. */
  readonly storeUnder: (guard: TurnGuard | undefined, actions: readonly Action[]) => Promise<unknown>
  readonly batchPorts: BatchPorts
  readonly metrics: {
    readonly startedMs: number
    modelCalls: number
    retries: number
    toolCalls: number
    usage: Usage
    firstPartMs: number | null
  }
  /** Models whose last answers broke off behind a call, until one is whole: how often, and how long to wait before the next; undefined: it is over. */
  readonly broken: Map<Model, { readonly error: unknown; readonly times: number; readonly delayMs: number | undefined }>
  /** Of the turn: 1, and one more in each process that resumes it. */
  number: number
  /** What the runs before this one took of the limits. */
  before: TurnLimits
  /** `turnStarted` is stored, its end is not. */
  isOpen: boolean
  /** Which limit the turn ran into. */
  limitReached: keyof TurnLimits | undefined
  /** From now on the turn may take so long; instead of what was said before. */
  limitTime(ms: number): void
  stopTimer(): void
}

const defaultLimits: TurnLimits = { modelCalls: 25, toolCalls: 100, durationMs: 600_000 }
const progressMs = 1_000
/** Of what a tool says of its progress. */
const noteChars = 2_000
const noUsage: Usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 }

export function createTurnRun(conversation: AnyConversation, turnId: string, options: TurnOptions): TurnRun {
  const controller = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, controller.signal]) : controller.signal
  const { logger = silentLogger, timer = systemTimer, now = () => performance.now(), ids = uuidv7 } = options
  const limits = { ...defaultLimits, ...options.limits }
  const { counter = estimateCounter } = options
  const count: BatchPorts['count'] = (message) => countedMessage(counter, message)
  const { actor } = options
  const storeUnder: TurnRun['storeUnder'] = (guard, actions) =>
    actions.length === 0
      ? Promise.resolve()
      : conversation.dispatch(actions, { ...(actor !== undefined && { actor }), ...(guard && { guard }) })
  const store: TurnRun['store'] = (actions) => storeUnder(holds(turnId, run.number), actions)
  const run: TurnRun = {
    conversation,
    options,
    turnId,
    signal,
    abort: (reason) => controller.abort(new DOMException(reason, 'AbortError')),
    lane: createDeltaLane({ conversationId: conversation.id, turnId }, options.lane),
    registry: options.tools ?? createToolRegistry(),
    limits,
    logger,
    timer,
    now,
    ids,
    count,
    cacheKey: options.cacheKey ?? toHex(sha256(toUtf8(JSON.stringify([conversation.tenant, conversation.id])))).slice(0, 32),
    store,
    storeUnder,
    batchPorts: { count, store, run: (request, closed) => runTool(run, request, closed) },
    metrics: { startedMs: now(), modelCalls: 0, retries: 0, toolCalls: 0, usage: noUsage, firstPartMs: null },
    broken: new Map(),
    number: 1,
    before: { modelCalls: 0, toolCalls: 0, durationMs: 0 },
    isOpen: false,
    limitReached: undefined,
    limitTime: (ms) => {
      run.stopTimer()
      run.stopTimer = timer(() => {
        if (signal.aborted) return
        run.limitReached = 'durationMs'
        run.abort(`the turn took longer than ${limits.durationMs} ms`)
      }, ms)
    },
    stopTimer: () => {},
  }
  return run
}

type TurnGuard = (state: ConversationState) => void

/**
 * Lets a run say something only while the turn is open and its own: another process may have resumed it, and may have ended it, while this
 * one slept. @throws `turn_not_open`
 */
export function holds(turnId: string, run: number): TurnGuard {
  return ({ turn: { current } }) => {
    if (current?.turnId === turnId && current.run === run) return
    const openTurnId = current === null ? null : `${current.turnId} (run ${current.run})`
    throw new ColloquyError('turn_not_open', { turnId: `${turnId} (run ${run})`, openTurnId })
  }
}

export function recordUsage(run: TurnRun, usage: Usage | undefined): void {
  if (usage !== undefined) run.metrics.usage = addUsage(run.metrics.usage, usage)
}

/** Node's longest. What is to come later than that, it fires at once. */
const longestTimeoutMs = 2 ** 31 - 1

const systemTimer: Timer = (listener, ms) => {
  if (ms > longestTimeoutMs) return () => {}
  const timeout = setTimeout(listener, ms)
  return () => clearTimeout(timeout)
}

async function runTool(run: TurnRun, request: CallRequest, closed: Promise<void>): Promise<CallEnd> {
  if (run.before.toolCalls + run.metrics.toolCalls >= run.limits.toolCalls) run.limitReached = 'toolCalls'
  const isOver = run.limitReached === 'toolCalls'
  run.metrics.toolCalls += 1
  let isClosed = false
  void closed.then(() => {
    isClosed = true
  })
  const end = await runCall(request, {
    run: run.number,
    registry: isOver ? refusing : run.registry,
    signal: run.signal,
    timer: run.timer,
    now: run.now,
    ids: run.ids,
    journal: run.store,
    contextOf: (call, attempt) => contextOf(run, call, attempt, () => isClosed),
    decision: (call, approvalId) => decision(run, call, approvalId),
    onLate: (late, durationMs) => {
      recordLate(run, request, late, durationMs).catch((error: unknown) => {
        run.logger.warn('a late end of a tool was not stored', { callId: request.part.callId, problem: problemOf(error) })
      })
    },
  })
  return isOver ? denied(request, `a turn runs at most ${run.limits.toolCalls} tools`) : end
}

/** Behind the limit no tool is found, whatever it is called. */
const refusing = createToolRegistry()

function contextOf(
  run: TurnRun,
  call: CallRequest,
  { tool, number, signal }: { readonly tool: Tool; readonly number: number; readonly signal: AbortSignal },
  isClosed: () => boolean,
): ExecutionContext {
  const { messageId, part } = call
  const key = { messageId, callId: part.callId }
  let storedAt = Number.NEGATIVE_INFINITY
  let guarded: ReturnType<typeof createGuardedFetch> | undefined
  return {
    ...key,
    conversation: run.conversation,
    turnId: run.turnId,
    idempotencyKey: call.idempotencyKey,
    attempt: number,
    signal,
    logger: run.logger,
    progress: (ratio, note) => {
      if (signal.aborted || isClosed()) return
      const told = { ...key, ...progressOf(ratio, note) }
      run.lane.push({ type: 'toolProgressed', ...told })
      if (run.now() - storedAt < progressMs) return
      storedAt = run.now()
      const stored = async () => run.store([toolProgressed(told)])
      stored().catch((error: unknown) => {
        run.logger.debug('progress was not stored', { ...key, problem: problemOf(error) })
      })
    },
    putMedia: async (mediaType, bytes) => {
      const hash = toHex(sha256(bytes))
      const { log, tenant, id: conversationId } = run.conversation
      await log.putMedia({ tenant, conversationId }, [{ hash, mediaType, bytes }])
      return { hash, bytes: bytes.length }
    },
    fetch: (url, init) => {
      guarded ??= createGuardedFetch(tool.egress)
      return guarded(url, init, signal)
    },
  }
}

/** What a tool says of itself must not fail it: a ratio is brought between 0 and 1, or left out, and a note is cut. */
function progressOf(ratio: unknown, note: unknown): { readonly ratio?: number; readonly note?: string } {
  const isRatio = typeof ratio === 'number' && !Number.isNaN(ratio)
  return {
    ...(isRatio && { ratio: Math.min(1, Math.max(0, ratio)) }),
    ...(typeof note === 'string' && { note: note.slice(0, noteChars).toWellFormed() }),
  }
}

async function recordLate(
  run: TurnRun,
  call: CallRequest,
  late: { readonly error: unknown } | { readonly answer: unknown },
  durationMs: number,
): Promise<void> {
  const key = { messageId: call.messageId, callId: call.part.callId }
  const ended = 'error' in late ? { outcome: 'failed' as const, problem: problemOf(late.error) } : lateEnd(call, late.answer)
  // The log learns of the end first, which may come with the ends of the other calls.
  const isOpen = ({ tools }: ConversationState): boolean =>
    tools.open.some((open) => open.messageId === key.messageId && open.callId === key.callId)
  await firstValueFrom(run.conversation.state$.pipe(filter((state) => !isOpen(state))), { defaultValue: undefined })
  await storeLate(run, toolEndedLate({ ...key, ...ended, durationMs }))
}

function lateEnd(call: CallRequest, answer: unknown) {
  const { content, isError } = contentOf(answer)
  return isError
    ? { outcome: 'failed' as const, problem: problemOf(wordsOf(content)), result: resultOf(call, 'error', content) }
    : { outcome: 'succeeded' as const, result: resultOf(call, 'ok', content) }
}

/** A late end of a call that is open again, in another process, is not stored: that one is to say how it ended. */
export async function storeLate({ storeUnder, logger }: TurnRun, late: ReturnType<typeof toolEndedLate>): Promise<void> {
  const { messageId, callId } = late.payload
  try {
    await storeUnder(undefined, [late])
  } catch (error) {
    logger.warn('a late end of a tool was not stored', { messageId, callId, problem: problemOf(error) })
  }
}

/** Waits for an `approvalDecided` in the log; `options.approve` dispatches it when it is there. */
function decision(
  run: TurnRun,
  call: CallRequest,
  approvalId: string,
): Promise<{ readonly isApproved: boolean; readonly reason?: string }> {
  const { conversation, signal, options } = run
  const key = { messageId: call.messageId, callId: call.part.callId }
  const { approve } = options
  return new Promise((resolve, reject) => {
    const asking = new AbortController()
    const subscription = conversation.envelopes$.subscribe(({ action }) => {
      if (!approvalDecided.match(action) || action.payload.approvalId !== approvalId) return
      const { decision: decided, reason } = action.payload
      end()
      resolve({ isApproved: decided === 'approved', ...(reason !== undefined && { reason }) })
    })
    const leave = (): void => {
      end()
      reject(signal.reason as Error)
    }
    const end = (): void => {
      subscription.unsubscribe()
      signal.removeEventListener('abort', leave)
      asking.abort(signal.reason ?? new DOMException('somebody else decided', 'AbortError'))
    }
    if (signal.aborted) return leave()
    signal.addEventListener('abort', leave, { once: true })

    const stored = conversation.getState().tools.open.find((open) => open.approval?.approvalId === approvalId)?.approval?.decision
    if (stored != null) {
      end()
      return resolve({ isApproved: stored === 'approved' })
    }
    if (approve === undefined) return
    const ask = async (): Promise<void> => {
      // Who cannot be asked has not agreed.
      const asked = (async () => approve(pendingOf(call), asking.signal))()
      const { isApproved, reason } = await asked.catch((error: unknown) => ({ isApproved: false, reason: problemOf(error) }))
      if (asking.signal.aborted) return
      const decided = { ...key, approvalId, ...(reason !== undefined && { reason }) }
      await run.store([approvalDecided({ ...decided, decision: isApproved ? 'approved' : 'denied' })])
    }
    ask().catch((error: unknown) => run.logger.warn('a decision was not stored', { ...key, problem: problemOf(error) }))
  })
}

export const pendingOf = ({ messageId, part: { callId, name, args } }: CallRequest): PendingCall => ({
  messageId,
  callId,
  name,
  args,
})

export const keyOfCall = (run: TurnRun, messageId: string, callId: string): string =>
  toHex(sha256(toUtf8(JSON.stringify([run.conversation.tenant, run.conversation.id, messageId, callId]))))

export const textParts = (text: string): Part[] => [{ type: 'text', text }]
