import type { Message, Usage } from '../conversation/message.ts'

/** What a summary is to stand for. */
export interface SummaryRequest {
  /** In order, whole: nothing that leaves the working set is kept from the summariser. A summary of an earlier compaction is one of them. */
  readonly messages: readonly Message[]
  /** The summary may take so many tokens. */
  readonly maxTokens: number
  /** What the user wants kept, in words. */
  readonly instructions?: string
}

/** What stands for the messages, and what it took to say it. */
export interface Summary {
  readonly text: string
  /** Of the model call, when there was one. */
  readonly usage?: Usage
  readonly model?: { readonly provider: string; readonly id: string }
}

/** What an `AbortSignal` is, to a package that knows no platform. */
export interface Cancellation {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Writes the text that stands for messages. Deterministic without a model; with one, its answer is stored and never asked for again. */
export interface Summariser {
  readonly id: string
  readonly version: string
  /** Rejects when it cannot: then nothing is compacted. */
  summarise(request: SummaryRequest, options?: { readonly signal?: Cancellation }): Promise<Summary>
}
