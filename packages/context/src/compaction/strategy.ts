import type { SummaryRequest, WorkingMessage } from '@colloquy/core'
import type { TokenCounter } from '../tokens/token-counter.ts'

/** What a strategy decides on. It changes nothing of it. */
export interface CompactionInput {
  /** The working set, in order. */
  readonly messages: readonly WorkingMessage[]
  /** Ids of messages that stay, whatever they cost. */
  readonly pinned: ReadonlySet<string>
  /** Calls that have no end yet, or wait for an approval: they and their batch stay. */
  readonly openCalls: readonly { readonly messageId: string; readonly callId: string }[]
  /** The working set is to have at most so many tokens afterwards, the summary included. */
  readonly targetTokens: number
  readonly counter: TokenCounter
  /** What the user wants kept, in words; handed on to the summariser. */
  readonly instructions?: string
}

/** Which messages leave, and what a summariser is to be asked for them. */
export interface CompactionPlan {
  /** Ids of the messages that leave, in order: whole groups of calls, results and signed reasoning, never parts of one. */
  readonly covered: readonly string[]
  /** Null: they leave without a summary. */
  readonly summary: SummaryRequest | null
  /** What the plan saw to that is kept, for the record: identifiers, open questions, decisions. */
  readonly preserved: readonly string[]
}

/** Why nothing is compacted. */
export interface NoCompaction {
  readonly reason: 'within_target' | 'too_few_messages' | 'nothing_removable'
}

/** The reasons in words. */
export const noCompactionTexts: Readonly<Record<NoCompaction['reason'], string>> = {
  within_target: 'the working set is within the target already',
  too_few_messages: 'there are too few messages',
  nothing_removable: 'nothing that may leave would make it fit',
}

/** Decides what leaves the working set. Pure: the same input gives the same plan. */
export interface Strategy {
  /** As it is stored in `contextCompacted`. */
  readonly name: string
  plan(input: CompactionInput): CompactionPlan | NoCompaction
}
