import type { ModelRequest, TokenCounter } from '@colloquy/context'
import type { Action, ConversationState, JsonObject, Message, Part, Timer, Usage } from '@colloquy/core'
import type { Conversation } from '@colloquy/engine'
import type { Observable } from 'rxjs'
import type { Logger } from '../logger.ts'
import type { Model } from '../model.ts'
import type { Circuits } from '../recovery/circuit.ts'
import type { RecoverOptions } from '../recovery/recover.ts'
import type { ToolCallPart } from '../tools/run-call.ts'
import type { ToolRegistry } from '../tools/tool-registry.ts'
import type { LaneLimits, TurnPart } from './delta-lane.ts'

export type AnyConversation = Conversation<ConversationState>

/** Each from 0 on; `Infinity` for none. They hold for the turn, over all processes that resume it; time in which none ran it does not count. */
export interface TurnLimits {
  /** Default 25. In a turn that is resumed, tries that failed before count too. */
  readonly modelCalls: number
  /** Default 100; further calls are answered with a refusal, and the turn ends with them. */
  readonly toolCalls: number
  /** Default 600,000: then the turn is interrupted. */
  readonly durationMs: number
}

export interface TurnOptions {
  readonly model: Model
  readonly tools?: ToolRegistry
  readonly system?: string
  /** `maxTokens`, `temperature`, `topP`, `topK`, `stopSequences`, and what the provider alone knows. */
  readonly config?: JsonObject
  readonly signal?: AbortSignal
  /** The caller's key, of 1-194 characters: one turn of this id runs, however often it is asked for. Default: a new one. */
  readonly turnId?: string
  /**
   * While another turn of the conversation runs: refuse (`turn_already_open`), wait for its end, or interrupt it. Default reject.
   *
   * A turn of another process is waited for by looking at the log, four times a second; which of several that wait comes next is left to
   * chance there. Whoever has waited for `limits.durationMs` gets `turn_already_open`: the turn may be one that a dead process left, which
   * is over when somebody resumes or interrupts it.
   */
  readonly whenBusy?: 'reject' | 'queue' | 'interrupt'
  readonly limits?: Partial<TurnLimits>
  /**
   * Decides about calls that need an approval; `signal` aborts when nobody needs the answer any more: the turn was aborted, or
   * somebody else decided. Without it the turn waits until an `approvalDecided` is dispatched to the conversation, by whoever may.
   */
  readonly approve?: (
    call: PendingCall,
    signal: AbortSignal,
  ) => Promise<{ readonly isApproved: boolean; readonly reason?: string }>
  /**
   * Asked on `resumeTurn` about a call that may have done its work before the process died. Default `unknown`: the model is told so.
   */
  readonly onUnknownOutcome?: (call: PendingCall) => Promise<'unknown' | 'run_again'>
  readonly hooks?: TurnHooks
  /** How a failing call is made again: policies by the kind of failure, waits, jitter. */
  readonly recovery?: Pick<RecoverOptions, 'policies' | 'classify' | 'sleep' | 'random'>
  /** Breakers, one for each provider; shared by all turns that are given them. */
  readonly circuits?: Circuits
  /**
   * Called in this order when the model before could not answer, and no tool of its answer has run. An answer that breaks off behind a call
   * is kept; the next call of the turn waits as the policy says, and goes to the next model when that has no tries left.
   */
  readonly fallbacks?: readonly Model[]
  /** Whether what each call is sent is stored first, as a manifest. Default true. */
  readonly manifests?: boolean
  /** Keys the provider's prompt cache. Default: of tenant and conversation. */
  readonly cacheKey?: string
  readonly lane?: Partial<LaneLimits>
  readonly logger?: Logger
  readonly actor?: string
  /** Counts what the provider did not. Default: `estimateCounter`. */
  readonly counter?: TokenCounter
  /** Of the turn's time and of tools'; the waits between tries are `recovery.sleep`. */
  readonly timer?: Timer
  /** Milliseconds, monotonic: what durations are measured by. When an envelope was stored says the engine's `clock`. */
  readonly now?: () => number
  /**
   * Of the turn, its messages, calls of the model and approvals. Default new UUIDv7s: the `ids` of the conversation's engine name dispatches and forks,
   * and are not these. Who wants the same log twice gives both.
   */
  readonly ids?: () => string
}

export interface PendingCall {
  readonly messageId: string
  readonly callId: string
  readonly name: string
  readonly args: ToolCallPart['args']
}

/** What a model is about to be sent. */
export interface ModelCall {
  /** Of its manifest. */
  readonly callId: string
  readonly turnId: string
  /** Of the turn, from 1. */
  readonly number: number
  /** Of this call, from 1: a failed one is made again. */
  readonly attempt: number
  readonly model: Model
  readonly request: ModelRequest
}

/** Where others take part in a turn. What they throw ends it, before the model is called. */
export interface TurnHooks {
  /** Before a call leaves; what it returns is stored first. */
  readonly beforeCall?: (call: ModelCall, conversation: AnyConversation) => Promise<readonly Action[]> | readonly Action[]
  /** Holds what the call may cost: `reserveCalls`. */
  readonly reserve?: (call: ModelCall, conversation: AnyConversation) => Promise<HeldCall>
  /**
   * The request is larger than the model takes. Default: `compactOnOverflow()`.
   * @returns true when it is smaller now: the call is made once more
   */
  readonly onOverflow?: (call: ModelCall, conversation: AnyConversation) => Promise<boolean>
}

/** What was held for a call. Neither of its ways to an end is waited for to succeed: what they throw is logged, and the turn goes on. */
export interface HeldCall {
  /** Stored with the usage, which the settlement counts. */
  readonly reservationId?: string
  /** The call has left. */
  settle(end: CallSettlement): Promise<unknown>
  /** It has not: it could not be encoded or recorded, or the turn was aborted. Default: it is settled, with no answer. */
  release?(reason: string): Promise<unknown>
}

/** What a call came to, for whoever held it. */
export interface CallSettlement {
  /** What the provider counted, where it did. Of an answer that is not whole that may be what it knew at its beginning. */
  readonly usage: Usage | null
  /** Why it failed, where it did. */
  readonly error: unknown
  readonly answer: 'whole' | 'broken' | 'none'
}

export type TurnOutcome =
  /** The model gave its final answer. */
  | { readonly outcome: 'answered' }
  /** A limit of the turn was reached; all calls are closed, and another turn may go on. */
  | { readonly outcome: 'limit_reached'; readonly limit: keyof TurnLimits }
  /** Aborted by `abort`, the signal, or another turn; what had arrived is stored. */
  | { readonly outcome: 'interrupted'; readonly reason: string }

export type TurnResult = TurnOutcome & {
  readonly turnId: string
  /** Parts of the last answer, whole or as far as it came. */
  readonly content: readonly Part[]
  /** That answer; null when the turn ended before there was any. */
  readonly message: Message | null
  /** The conversation right after the turn. */
  readonly state: ConversationState
  readonly position: number
  readonly metrics: TurnMetrics
}

/** Of this process: what a turn took before it was resumed is in the log. */
export interface TurnMetrics {
  /** That were answered: whole, or as far as a call that was run. */
  readonly modelCalls: number
  readonly retries: number
  readonly toolCalls: number
  readonly usage: Usage
  readonly durationMs: number
  /** From the start of the turn to the first part of an answer; null when none came. */
  readonly firstPartMs: number | null
}

export interface TurnHandle {
  readonly turnId: string
  readonly conversationId: string
  readonly tenant: string
  /** All that is streamed, from the beginning as far as it is kept; completes with the turn. */
  readonly parts$: Observable<TurnPart>
  /** The same from a chunk on, for who was there before. */
  partsFrom(chunk: number): Observable<TurnPart>
  /**
   * Resolves when the turn is over and stored; also when it was aborted. Rejects with what ended it otherwise: `turn_already_open`,
   * `model_failed` and what the provider's client throws, what `dispatch` and hooks throw. The turn is closed in the log then too, where that
   * can still be reached.
   */
  readonly done: Promise<TurnResult>
  /** Ends the turn: the answer is kept as far as it came, running tools are cancelled. Resolves when that is stored. */
  abort(reason?: string): Promise<void>
}
