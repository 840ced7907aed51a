/** What one running turn holds, and its ways to the log, to the lane and to the tools. */

import { countedMessage, estimateCounter } from '@colloquy/context'
import {
  type Action,
  addUsage,
  approvalDecided,
  type Part,
  type Timer,
  toHex,
  toolEndedLate,
  toolProgressed,
  toUtf8,
  type Usage,
} from '@colloquy/core'
import { sha256, uuidv7 } from '@colloquy/engine'
import { type Logger, silentLogger } from '../logger.ts'
import { createGuardedFetch } from '../tools/egress.ts'
import { type CallEnd, type CallRequest, denied, resultOf, runCall } from '../tools/run-call.ts'
import type { ExecutionContext, Tool } from '../tools/tool.ts'
import { createToolRegistry, type ToolRegistry } from '../tools/tool-registry.ts'
import { contentOf, problemOf } from '../tools/tool-result.ts'
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
  /** Stores actions of this turn. */
  readonly store: (actions: readonly Action[]) => Promise<unknown>
  readonly batchPorts: BatchPorts
  readonly metrics: {
    readonly startedMs: number
    modelCalls: number
    retries: number
    toolCalls: number
    usage: Usage
    firstPartMs: number | null
  }
  /** Of the turn: 1, and one more in each process that resumes it. */
  number: number
  /** `turnStarted` is stored, its end is not. */
  isOpen: boolean
  /** Which limit the turn ran into. */
  limitReached: keyof TurnLimits | undefined
}

const defaultLimits: TurnLimits = { modelCalls: 25, toolCalls: 100, durationMs: 600_000 }
const progressMs = 1_000
const noUsage: Usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 }

export function createTurnRun(conversation: AnyConversation, turnId: string, options: TurnOptions): TurnRun {
  const controller = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, controller.signal]) : controller.signal
  const { logger = silentLogger, timer = systemTimer, now = () => performance.now(), ids = uuidv7 } = options
  const limits = { ...defaultLimits, ...options.limits }
  const { counter = estimateCounter } = options
  const count: BatchPorts['count'] = (message) => countedMessage(counter, message)
  const store: TurnRun['store'] = (actions) =>
    actions.length === 0
      ? Promise.resolve()
      : conversation.dispatch(actions, options.actor === undefined ? {} : { actor: options.actor })
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
    batchPorts: { count, store, run: (request, closed) => runTool(run, request, closed) },
    metrics: { startedMs: now(), modelCalls: 0, retries: 0, toolCalls: 0, usage: noUsage, firstPartMs: null },
    number: 1,
    isOpen: false,
    limitReached: undefined,
  }
  return run
}

export function recordUsage(run: TurnRun, usage: Usage | undefined): void {
  if (usage !== undefined) run.metrics.usage = addUsage(run.metrics.usage, usage)
}

const systemTimer: Timer = (listener, ms) => {
  const timeout = setTimeout(listener, ms)
  return () => clearTimeout(timeout)
}

async function runTool(run: TurnRun, request: CallRequest, closed: Promise<void>): Promise<CallEnd> {
  if (run.metrics.toolCalls >= run.limits.toolCalls) run.limitReached = 'toolCalls'
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
      // The log learns of the end first.
      void closed.then(() => recordLate(run, request, late, durationMs))
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
      const told = { ...key, ...(ratio !== undefined && { ratio }), ...(note !== undefined && { note }) }
      run.lane.push({ type: 'toolProgressed', ...told })
      if (run.now() - storedAt < progressMs) return
      storedAt = run.now()
      run.store([toolProgressed(told)]).catch((error: unknown) => {
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

async function recordLate(
  run: TurnRun,
  call: CallRequest,
  late: { readonly error: unknown } | { readonly answer: unknown },
  durationMs: number,
): Promise<void> {
  const key = { messageId: call.messageId, callId: call.part.callId }
  const ended =
    'error' in late
      ? { outcome: 'failed' as const, problem: problemOf(late.error) }
      : { outcome: 'succeeded' as const, result: resultOf(call, 'ok', contentOf(late.answer).content) }
  try {
    await run.store([toolEndedLate({ ...key, ...ended, durationMs })])
  } catch (error) {
    run.logger.warn('a late end of a tool was not stored', { ...key, problem: problemOf(error) })
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
  return new Promise((resolve, reject) => {
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
    }
    if (signal.aborted) return leave()
    signal.addEventListener('abort', leave, { once: true })

    const stored = conversation.getState().tools.open.find((open) => open.approval?.approvalId === approvalId)?.approval?.decision
    if (stored != null) {
      end()
      return resolve({ isApproved: stored === 'approved' })
    }
    if (options.approve === undefined) return
    // Who cannot be asked has not agreed.
    const asked = options.approve(pendingOf(call)).catch((error: unknown) => ({ isApproved: false, reason: problemOf(error) }))
    void asked
      .then(({ isApproved, reason }) =>
        run.store([
          approvalDecided({
            ...key,
            approvalId,
            decision: isApproved ? 'approved' : 'denied',
            ...(reason !== undefined && { reason }),
          }),
        ]),
      )
      .catch((error: unknown) => run.logger.warn('a decision was not stored', { ...key, problem: problemOf(error) }))
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
