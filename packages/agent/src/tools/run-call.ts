/** One tool call: from the request to how it ended, with each step in the log before it is taken. */
import {
  type Action,
  approvalRequested,
  ColloquyError,
  isColloquyError,
  type Part,
  type Timer,
  type ToolResultPart,
  toolRequested,
  toolStarted,
} from '@colloquy/core'
import type { ExecutionContext, Tool } from './tool.ts'
import type { RegisteredTool, ToolRegistry } from './tool-registry.ts'
import { contentOf, problemContent, problemOf, saysNextStep, wordsOf } from './tool-result.ts'

export type ToolCallPart = Extract<Part, { type: 'tool_call' }>

/** How a call ended, and what the model is told of it. */
export type CallEnd = { readonly result: ToolResultPart; readonly durationMs?: number } & (
  | { readonly kind: 'succeeded' }
  | { readonly kind: 'error' | 'timed_out' | 'denied' | 'outcome_unknown'; readonly code?: string; readonly problem: string }
  | { readonly kind: 'cancelled'; readonly reason: string }
)

export interface CallRequest {
  readonly messageId: string
  readonly part: ToolCallPart
  readonly idempotencyKey: string
  /** Of a call that is in the log already, after a crash. */
  readonly stored?: { readonly attempts: number; readonly approval: { readonly approvalId: string } | null }
}

export interface CallPorts {
  /** Of the turn: another one that has taken it over is not interfered with. */
  readonly run: number
  readonly registry: ToolRegistry
  readonly signal: AbortSignal
  readonly timer: Timer
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly ids: () => string
  /** Stores, before what it says is done. */
  readonly journal: (actions: readonly Action[]) => Promise<unknown>
  readonly contextOf: (call: CallRequest, attempt: { tool: Tool; number: number; signal: AbortSignal }) => ExecutionContext
  /** Waits until somebody decides. */
  readonly decision: (
    call: CallRequest,
    approvalId: string,
  ) => Promise<{ readonly isApproved: boolean; readonly reason?: string }>
  /** The tool ended after its call had been closed. */
  readonly onLate: (late: { readonly error: unknown } | { readonly answer: unknown }, durationMs: number) => void
}

const defaultTimeoutMs = 30_000

/**
 * Looks the tool up, checks the arguments, asks for approval and for a permit, and runs it. Never rejects for what a tool does; rejects
 * when a step could not be stored: then the tool was not started.
 */
export async function runCall(call: CallRequest, ports: CallPorts): Promise<CallEnd> {
  const { messageId, part } = call
  const { callId, name, args } = part
  const key = { messageId, callId }
  const requested = (idempotencyKey?: string): Action[] =>
    call.stored ? [] : [toolRequested({ ...key, name, args, ...(idempotencyKey !== undefined && { idempotencyKey }) })]

  let entry: RegisteredTool
  let input: unknown
  let needsApproval: boolean
  try {
    entry = await ports.registry.resolve(
      name,
      ports.contextOf(call, { tool: noTool, number: 0, signal: ports.signal }).conversation,
    )
    input = entry.parse(argumentsOf(part))
    const { needsApproval: needs = false } = entry.tool
    needsApproval = typeof needs === 'function' ? needs(input) : needs
  } catch (error) {
    await ports.journal(requested())
    return failed(
      call,
      error,
      ports.registry.list().find((tool) => tool.name === name),
    )
  }
  const { tool, permits } = entry

  let waiting = requested(tool.idempotent === true ? call.idempotencyKey : undefined)
  if (needsApproval && (call.stored?.attempts ?? 0) === 0) {
    const approvalId = call.stored?.approval?.approvalId ?? ports.ids()
    if (!call.stored?.approval) waiting.push(approvalRequested({ ...key, approvalId }))
    await ports.journal(waiting)
    waiting = []
    const decided = await ports.decision(call, approvalId).catch(() => undefined)
    if (decided === undefined) return cancelled(call, ports.signal)
    if (!decided.isApproved) return denied(call, decided.reason, tool)
  }

  const started = (attempt: number) => toolStarted({ ...key, attempt, run: ports.run })
  const free = permits.tryTake()
  if (free === undefined && waiting.length > 0) {
    // A call that has to wait for others is told to the log before it waits.
    await ports.journal(waiting)
    waiting = []
  }
  const give = free ?? (await permits.take(ports.signal).catch(() => undefined))
  if (give === undefined) return cancelled(call, ports.signal)
  try {
    const first = (call.stored?.attempts ?? 0) + 1
    const tries = tool.idempotent === true ? Math.max(1, tool.retry?.tries ?? 1) : 1
    for (let number = first; ; number++) {
      const before = number === first ? waiting : []
      try {
        await ports.journal([...before, started(number)])
      } catch (error) {
        if (!isRefusal(error)) throw error
        if (before.length > 0) await ports.journal(before)
        return denied(call, problemOf(error), tool)
      }
      if (ports.signal.aborted) return cancelled(call, ports.signal)
      const end = await runOnce(call, { tool, input, number }, ports)
      const isAgain = (end.kind === 'error' || end.kind === 'timed_out') && number < first + tries - 1
      if (!isAgain || !(await paused(tool.retry?.pauseMs ?? 0, ports))) return end
    }
  } finally {
    give()
  }
}

/** A budget that lets the tool not begin: the model is told, and the turn goes on. */
const isRefusal = (error: unknown): boolean =>
  isColloquyError(error, 'budget_exceeded') || isColloquyError(error, 'budget_unavailable')

/** @throws `tool_arguments_invalid` where the text of the arguments is no JSON, was cut, or would be read as another value */
function argumentsOf({ name, args }: ToolCallPart): unknown {
  if (args.valid) return args.json
  throw new ColloquyError('tool_arguments_invalid', { name, problem: argumentsProblem })
}

const argumentsProblem = 'they are not whole JSON, or JSON would change them (an integer beyond 2^53 must be sent as text)'

const noTool: Tool = { name: '', input: {}, execute: () => undefined }

function runOnce(
  call: CallRequest,
  { tool, input, number }: { readonly tool: Tool; readonly input: unknown; readonly number: number },
  ports: CallPorts,
): Promise<CallEnd> {
  const { timeoutMs = defaultTimeoutMs } = tool
  const from = ports.now()
  const durationMs = (): number => Math.round((ports.now() - from) * 1_000) / 1_000
  return new Promise((resolve) => {
    const controller = new AbortController()
    let isOver = false
    const end = (ended: CallEnd): void => {
      isOver = true
      stopTimer()
      ports.signal.removeEventListener('abort', cancel)
      resolve({ ...ended, durationMs: durationMs() })
    }
    const stopTimer = ports.timer(() => {
      const error = new ColloquyError('tool_timed_out', { name: tool.name, timeoutMs })
      end({ ...failed(call, error, tool), kind: 'timed_out' } as CallEnd)
      controller.abort(error)
    }, timeoutMs)
    const cancel = (): void => {
      end(cancelled(call, ports.signal))
      controller.abort(ports.signal.reason)
    }
    ports.signal.addEventListener('abort', cancel, { once: true })

    const context = ports.contextOf(call, { tool, number, signal: controller.signal })
    // What a tool throws at once is as what it rejects with.
    const running = (async () => tool.execute(input as never, context))()
    running
      .then(
        (answer) => {
          if (isOver) return ports.onLate({ answer }, durationMs())
          const { content, isError } = contentOf(answer)
          if (!isError) return end({ kind: 'succeeded', result: resultOf(call, 'ok', content) })
          end({ kind: 'error', problem: problemOf(wordsOf(content)), result: resultOf(call, 'error', content) })
        },
        (error: unknown) => {
          if (isOver) ports.onLate({ error }, durationMs())
          else end(failed(call, error, tool))
        },
      )
      // Nobody waits for this promise: whatever a tool answered, it must end its call and not the process.
      .catch((error: unknown) => {
        if (!isOver) end(failed(call, error, tool))
      })
  })
}

/** @returns false when the turn was aborted meanwhile */
export async function paused(pauseMs: number, { timer, signal }: Pick<CallPorts, 'timer' | 'signal'>): Promise<boolean> {
  if (signal.aborted) return false
  await new Promise<void>((resolve) => {
    const go = (): void => {
      stop()
      signal.removeEventListener('abort', go)
      resolve()
    }
    const stop = timer(go, pauseMs)
    signal.addEventListener('abort', go, { once: true })
  })
  return !signal.aborted
}

export function resultOf(
  { messageId, part }: Pick<CallRequest, 'messageId' | 'part'>,
  status: ToolResultPart['status'],
  content: ToolResultPart['content'],
): ToolResultPart {
  return { type: 'tool_result', callId: part.callId, callMessageId: messageId, status, content }
}

function failed(call: Pick<CallRequest, 'messageId' | 'part'>, error: unknown, tool: Tool | undefined): CallEnd {
  const problem = problemOf(error)
  const content =
    saysNextStep(error) && tool?.recovery === undefined
      ? [{ type: 'text' as const, text: problem }]
      : problemContent(problem, tool)
  const code = isColloquyError(error) ? { code: error.code } : {}
  return { kind: 'error', ...code, problem, result: resultOf(call, 'error', content) }
}

export function denied(call: Pick<CallRequest, 'messageId' | 'part'>, reason: string | undefined, tool?: Tool): CallEnd {
  const problem = reason === undefined ? 'The call was not allowed.' : `The call was not allowed: ${reason}`
  const recovery = tool?.recovery ?? 'Do not call it again in this turn; go on without it, or ask the user.'
  return { kind: 'denied', problem, result: resultOf(call, 'denied', problemContent(problem, { recovery })) }
}

export function cancelled(call: Pick<CallRequest, 'messageId' | 'part'>, { reason }: Pick<AbortSignal, 'reason'>): CallEnd {
  const why = problemOf(reason)
  const content = [{ type: 'text' as const, text: `The call was cancelled before it answered: ${why}` }]
  return { kind: 'cancelled', reason: why, result: resultOf(call, 'interrupted', content) }
}

/** It may have done its work, or not: the process died while it ran. */
export function outcomeUnknown(call: Pick<CallRequest, 'messageId' | 'part'>): CallEnd {
  const { name } = call.part
  const problem = `The process ended while ${name} ran: it may have done its work, or not.`
  const recovery = 'Find out before you call it again, or ask the user.'
  return { kind: 'outcome_unknown', problem, result: resultOf(call, 'unknown', problemContent(problem, { recovery })) }
}
