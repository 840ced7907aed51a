import {
  type ConversationState,
  callsInFlight,
  canonicalJson,
  type PositionRange,
  plainMessage,
  type SummaryRequest,
  toHex,
  toUtf8,
  type WorkingMessage,
} from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { headOf } from '../graphemes.ts'
import type { TokenCounter } from '../tokens/token-counter.ts'
import type { NoCompaction, Strategy } from './strategy.ts'
import { isProviderCompaction } from './structure.ts'

export interface PlanOptions {
  readonly strategy: Strategy
  readonly counter: TokenCounter
  /** The working set is to have at most so many tokens afterwards. */
  readonly targetTokens: number
  /** What the user wants kept, in words. */
  readonly instructions?: string
}

export interface WorkingSetSize {
  readonly messages: number
  readonly tokens: number
}

/** What would leave, and what a summariser would read. */
export interface PlannedCompaction {
  readonly strategy: string
  /** In the order of the working set. */
  readonly covered: readonly WorkingMessage[]
  /** What a summariser is asked, and the messages of the working set that are in it; null: nothing stands for what leaves. */
  readonly summary: { readonly request: SummaryRequest; readonly read: readonly WorkingMessage[] } | null
  readonly preserved: readonly string[]
  readonly before: WorkingSetSize
  /** With a summary as long as it may be. */
  readonly after: WorkingSetSize
}

/** What a strategy saw to is for people: a list of a thousand paths is none. */
const preservedKept = 200
const preservedCharacters = 200

/**
 * Asks a strategy what of a working set should leave. Whatever it says, all that leaves without being kept is read by the summariser:
 * messages that its request left out are put back in their place.
 */
export function planCompaction(state: ConversationState, options: PlanOptions): PlannedCompaction | NoCompaction {
  const { strategy, counter, targetTokens, instructions } = options
  const messages = state.messages.slice()
  const plan = strategy.plan({
    messages,
    pinned: new Set(messages.filter((m) => m.pinned || m.parts.some(isProviderCompaction)).map((m) => m.id)),
    openCalls: callsInFlight(messages, state.tools),
    targetTokens,
    counter,
    ...(instructions !== undefined && { instructions }),
  })
  if ('reason' in plan) return plan
  const coveredIds = new Set(plan.covered)
  const covered = messages.filter((m) => coveredIds.has(m.id))
  if (covered.length === 0) return { reason: 'nothing_removable' }
  const summary = plan.summary && readableRequest(messages, coveredIds, plan.summary)
  const before = { messages: messages.length, tokens: state.context.usedTokens }
  return {
    strategy: strategy.name,
    covered,
    summary,
    preserved: plan.preserved.slice(0, preservedKept).map((text) => headOf(text, preservedCharacters).toWellFormed()),
    before,
    after: sizeAfter(before, covered, summary ? summary.request.maxTokens : null),
  }
}

/** The working set without what is covered, and with a summary when there is one. */
export function sizeAfter(
  before: WorkingSetSize,
  covered: readonly WorkingMessage[],
  summaryTokens: number | null,
): WorkingSetSize {
  return {
    messages: before.messages - covered.length + (summaryTokens === null ? 0 : 1),
    tokens: Math.max(0, before.tokens - tokensOf(covered)) + (summaryTokens ?? 0),
  }
}

export const tokensOf = (messages: readonly WorkingMessage[]): number => messages.reduce((sum, m) => sum + m.tokenCount, 0)

/** Positions of messages, ascending, neighbours as one range. */
export function rangesOf(messages: readonly WorkingMessage[]): readonly PositionRange[] {
  const ranges: [number, number][] = []
  for (const position of messages.map((m) => m.position).sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] + 1 >= position) last[1] = position
    else ranges.push([position, position])
  }
  return ranges
}

/** SHA-256 of the canonical JSON of all that a summariser read, in hex. */
export function requestHash({ messages, maxTokens, instructions }: SummaryRequest): string {
  const text = canonicalJson({ messages, maxTokens, ...(instructions !== undefined && { instructions }) })
  return toHex(sha256(toUtf8(text)))
}

function readableRequest(
  messages: readonly WorkingMessage[],
  coveredIds: ReadonlySet<string>,
  { messages: asked, maxTokens, instructions }: SummaryRequest,
): { readonly request: SummaryRequest; readonly read: readonly WorkingMessage[] } {
  const askedIds = new Set(asked.map((m) => m.id))
  const read = messages.filter((m) => coveredIds.has(m.id) || askedIds.has(m.id))
  const request = { messages: read.map(plainMessage), maxTokens, ...(instructions !== undefined && { instructions }) }
  return { request, read }
}
