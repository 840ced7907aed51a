/**
 * Running a compaction: plan, summarise, store. Nothing is held while the summariser works: messages that arrive meanwhile are kept,
 * since the action names what it covers. What fails, or is stale by then, leaves the working set as it was and a `compactionFailed`.
 */
import {
  type Action,
  ColloquyError,
  type ConversationState,
  compactionFailed,
  contextCompacted,
  isColloquyError,
  type Message,
  type Summariser,
  type Summary,
  type SummaryRequest,
  usageRecorded,
} from '@colloquy/core'
import { type Conversation, uuidv7 } from '@colloquy/engine'
import { messageOverheadTokens } from '../tokens/count-message.ts'
import {
  type PlannedCompaction,
  type PlanOptions,
  planCompaction,
  rangesOf,
  requestHash,
  sizeAfter,
  tokensOf,
  type WorkingSetSize,
} from './plan-compaction.ts'
import { type NoCompaction, noCompactionTexts } from './strategy.ts'

/** A conversation, or what an effect sees of it. */
export type Compactable = Pick<Conversation<ConversationState>, 'getState' | 'dispatch'>

type Trigger = 'auto' | 'manual' | 'overflow'
type FailureReason = Parameters<typeof compactionFailed>[0]['reason']

export interface CompactOptions extends PlanOptions {
  readonly summariser: Summariser
  /** Default `manual`. `auto` and `overflow` need tokens to be freed: where nothing can be, that is a failure. */
  readonly trigger?: Trigger
  /** Plans, and neither asks a summariser nor stores anything. */
  readonly dryRun?: boolean
  /** Applied once, whichever process does it; the summary's id is derived from it. */
  readonly commandId?: string
  /** Of the working set: less than so much freed is a failure. Default 0.1 for `auto`; otherwise anything counts. */
  readonly minProgressRatio?: number
  /** How long a summariser may take. Default 120,000. */
  readonly timeoutMs?: number
  /** Gives up without a trace. */
  readonly signal?: AbortSignal
}

interface Compacted {
  readonly strategy: string
  /** In the order of the working set. */
  readonly coveredIds: readonly string[]
  readonly before: WorkingSetSize
  readonly after: WorkingSetSize
  readonly preserved: readonly string[]
}

export type CompactResult =
  | (Compacted & { readonly status: 'compacted'; readonly position: number; readonly summaryText: string | null })
  /** A dry run: `after` has a summary as long as it may be. */
  | (Compacted & { readonly status: 'planned'; readonly summaryTokens: number | null })
  /** There was nothing to do. */
  | { readonly status: 'unchanged'; readonly reason: NoCompaction['reason'] }
  /** The command id was stored before, most likely by another process: its compaction stands. */
  | { readonly status: 'superseded' }

/**
 * Compacts the working set of a conversation by a strategy. One command: the compaction and, when a model was paid, its usage.
 * @throws `compaction_failed` when it came to nothing, which is stored then; `conversation_archived`, `engine_closed` and what the log
 * rejects with; the reason of `signal`
 */
export async function compact(conversation: Compactable, options: CompactOptions): Promise<CompactResult> {
  const { trigger = 'manual', signal } = options
  signal?.throwIfAborted()
  const planned = planCompaction(conversation.getState(), options)
  if ('reason' in planned) {
    if (trigger === 'manual' || options.dryRun) return { status: 'unchanged', reason: planned.reason }
    return fail(conversation, options, { reason: planned.reason, problem: noCompactionTexts[planned.reason] })
  }
  if (options.dryRun) return { status: 'planned', ...factsOf(planned), summaryTokens: planned.summary?.request.maxTokens ?? null }

  const written = await writeSummary(planned, options)
  if ('failure' in written) return fail(conversation, options, written.failure, written.summary)
  const { actions, after, summaryText } = compactionActions(planned, written.summary, options)
  try {
    const { envelopes, duplicate } = await conversation.dispatch(actions, commandOf(options))
    const stored = envelopes.find(({ type }) => type === contextCompacted.type)
    if (stored === undefined) {
      const isUsageStored = envelopes.some(({ type }) => type === usageRecorded.type)
      const failure: Failure = { reason: 'refused', problem: 'a middleware did not pass it on' }
      return await fail(conversation, options, failure, isUsageStored ? undefined : (written.summary ?? undefined))
    }
    if (!duplicate) return { status: 'compacted', ...factsOf(planned), after, position: stored.position, summaryText }
  } catch (error) {
    // Somebody else's summary of the same need has other words: theirs stands.
    if (!isColloquyError(error, 'command_id_reused')) {
      const reason = refusalOf(error)
      if (reason === undefined) throw error
      return fail(conversation, options, { reason, problem: problemOf(error), cause: error }, written.summary ?? undefined)
    }
  }
  // The model was paid all the same.
  const [problem] = await record(conversation, usageActions(written.summary ?? undefined))
  if (problem !== undefined) throw problem
  return { status: 'superseded' }
}

interface Failure {
  readonly reason: FailureReason
  readonly problem: string
  readonly cause?: unknown
}

type Written = { readonly summary: WrittenSummary | null } | { readonly failure: Failure; readonly summary?: Summary }
interface WrittenSummary extends Summary {
  readonly tokens: number
}

/** Asks the summariser. Rejects only when it was called off. */
async function writeSummary(planned: PlannedCompaction, options: CompactOptions): Promise<Written> {
  const { minProgressRatio = options.trigger === 'auto' ? 0.1 : 0 } = options
  let summary: WrittenSummary | null = null
  if (planned.summary) {
    const { request } = planned.summary
    let said: Summary
    try {
      said = await ask(options, request)
    } catch (cause) {
      options.signal?.throwIfAborted()
      return { failure: { reason: 'summariser_failed', problem: problemOf(cause), cause } }
    }
    const text = said.text.trim()
    if (text === '') return { failure: { reason: 'summary_empty', problem: 'the summariser said nothing' }, summary: said }
    const counted = options.counter.count(text)
    const textTokens = Number.isFinite(counted) ? Math.max(0, Math.ceil(counted)) : 0
    if (textTokens > request.maxTokens) {
      const problem = `the summary has ${textTokens} tokens, more than the ${request.maxTokens} that it may have`
      return { failure: { reason: 'summary_too_long', problem }, summary: said }
    }
    summary = { ...said, text: text.toWellFormed(), tokens: textTokens + messageOverheadTokens }
  }
  const { before } = planned
  const freed = before.tokens - sizeAfter(before, planned.covered, summary?.tokens ?? null).tokens
  if (freed < before.tokens * minProgressRatio || (freed <= 0 && before.tokens > 0)) {
    const problem = `${freed} of ${before.tokens} tokens would be freed`
    return { failure: { reason: 'no_progress', problem }, ...(summary && { summary }) }
  }
  return { summary }
}

/** What a compaction is stored as: the action itself, and the usage that its summary took. */
function compactionActions(
  planned: PlannedCompaction,
  summary: WrittenSummary | null,
  options: Pick<CompactOptions, 'trigger' | 'summariser' | 'commandId'>,
): { readonly actions: readonly Action[]; readonly after: WorkingSetSize; readonly summaryText: string | null } {
  const { covered, before, preserved, strategy } = planned
  const after = sizeAfter(before, covered, summary?.tokens ?? null)
  const ranges = rangesOf(covered)
  const read = planned.summary?.read ?? covered
  const redactedIds = covered.filter((m) => m.redacted).map((m) => m.id)
  const standsAt = covered[0]?.standsAt
  const message = summary && summaryMessage(`summary:${options.commandId ?? uuidv7()}`, summary.text, ranges)
  const payload: Parameters<typeof contextCompacted>[0] = {
    covered: { messageIds: covered.map((m) => m.id), ranges: [...ranges], tokens: tokensOf(covered) },
    ...(redactedIds.length > 0 && { redactedIds }),
    ...(message && { summary: { message, tokenCount: summary.tokens } }),
    ...(standsAt !== undefined && { standsAt }),
    strategy,
    trigger: options.trigger ?? 'manual',
    before,
    after,
    ...(preserved.length > 0 && { preserved: [...preserved] }),
    ...(summary && planned.summary && { summarised: summarising(planned.summary, covered.length, summary, options.summariser) }),
  }
  // Not by its creator, which checks by the default limits: how many messages may be covered at once is the engine's to say.
  const action = { type: contextCompacted.type, payload, derivedFrom: rangesOf(read) }
  return { actions: [action, ...usageActions(summary ?? undefined, message?.id)], after, summaryText: summary?.text ?? null }
}

function summaryMessage(id: string, content: string, ranges: ReturnType<typeof rangesOf>): Message {
  return { v: 1, id: id.slice(0, 200), role: 'user', parts: [{ type: 'compaction', content, covers: [...ranges] }] }
}

function summarising(
  { request, read }: NonNullable<PlannedCompaction['summary']>,
  coveredCount: number,
  { usage, model }: Summary,
  summariser: Summariser,
): NonNullable<Parameters<typeof contextCompacted>[0]['summarised']> {
  const { maxTokens, instructions } = request
  return {
    by: nameOf(summariser),
    // All that is covered is read: as many are the same ones.
    ...(read.length !== coveredCount && { readIds: read.map((m) => m.id) }),
    maxTokens,
    ...(instructions !== undefined && { instructions }),
    requestHash: requestHash(request),
    ...(usage && { usage }),
    ...(model && { model: { ...model } }),
  }
}

/** The time is kept here, so that a summariser that hears no signal holds up nobody. */
async function ask({ summariser, signal, timeoutMs = 120_000 }: CompactOptions, request: SummaryRequest): Promise<Summary> {
  const late = AbortSignal.timeout(timeoutMs)
  const either = signal ? AbortSignal.any([signal, late]) : late
  return new Promise((resolve, reject) => {
    either.addEventListener('abort', () => {
      const isCalledOff = signal?.aborted === true
      reject(isCalledOff ? (signal.reason as Error) : new Error(`no summary within ${timeoutMs} ms`))
    })
    // A summariser is anybody's code: it may throw instead of rejecting.
    Promise.resolve()
      .then(() => summariser.summarise(request, { signal: either }))
      .then(resolve, reject)
  })
}

/** Stores that nothing came of it. @throws `compaction_failed`, always */
async function fail(
  conversation: Compactable,
  options: CompactOptions,
  { reason, problem, cause }: Failure,
  spent?: Summary,
): Promise<never> {
  const { trigger = 'manual', commandId, strategy, summariser } = options
  const failed = compactionFailed({
    strategy: strategy.name,
    trigger,
    reason,
    problem: problem.slice(0, 500).toWellFormed(),
    ...((spent || reason === 'summariser_failed') && { by: nameOf(summariser) }),
    ...(spent?.usage && { usage: spent.usage }),
    ...(spent?.model && { model: { ...spent.model } }),
  })
  // Not the command itself: another process may still succeed with that.
  const failures = await record(conversation, [failed, ...usageActions(spent)], commandId && `${commandId}:failed`)
  const causes = [cause, ...failures].filter((one) => one !== undefined)
  throw new ColloquyError(
    'compaction_failed',
    { strategy: strategy.name, reason, problem },
    causes.length === 0 ? {} : { cause: causes.length === 1 ? causes[0] : new AggregateError(causes) },
  )
}

/** @returns why it could not be stored, if so: what led here must be told first */
async function record(conversation: Compactable, actions: readonly Action[], commandId?: string): Promise<readonly unknown[]> {
  if (actions.length === 0) return []
  try {
    await conversation.dispatch(actions, commandOf({ commandId }))
    return []
  } catch (error) {
    // Another process failed at the same need.
    return isColloquyError(error, 'command_id_reused') ? [] : [error]
  }
}

function usageActions(spent: Summary | undefined, messageId?: string): readonly Action[] {
  if (!spent?.usage) return []
  const { usage, model } = spent
  return [usageRecorded({ usage, ...(model && { model: { ...model } }), ...(messageId !== undefined && { messageId }) })]
}

/** Errors that speak of the compaction; all others speak of the log or the engine, and are not its fault. */
function refusalOf(error: unknown): 'stale' | 'refused' | undefined {
  if (!isColloquyError(error)) return undefined
  switch (error.code) {
    case 'compaction_stale':
      return 'stale'
    case 'compaction_parts_call':
    case 'budget_exceeded':
    case 'envelope_too_large':
    case 'json_too_wide':
    case 'action_invalid':
      return 'refused'
    default:
      return undefined
  }
}

function factsOf({ strategy, covered, before, after, preserved }: PlannedCompaction): Compacted {
  return { strategy, coveredIds: covered.map((m) => m.id), before, after, preserved }
}

const commandOf = ({ commandId }: { readonly commandId?: string | undefined }) => (commandId === undefined ? {} : { commandId })
const nameOf = ({ id, version }: Summariser): string => `${id}@${version}`
const problemOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
