import type { ConversationState, JsonObject, ToolResultPart } from '@colloquy/core'
import type { Conversation } from '@colloquy/engine'
import type { z } from 'zod'
import type { Logger } from '../logger.ts'

/** What a tool knows of the call that it works for. */
export interface ExecutionContext {
  readonly conversation: Pick<Conversation<ConversationState>, 'id' | 'tenant' | 'getState'>
  readonly turnId: string
  /** The message that made the call; with `callId` it names the call. */
  readonly messageId: string
  readonly callId: string
  /** The same each time this call is run, also after a crash: what an idempotent tool hands on to whom it calls. */
  readonly idempotencyKey: string
  /** 1, and one more each time the call is run again. */
  readonly attempt: number
  /** Aborts when the turn is aborted and when the tool's time is over. */
  readonly signal: AbortSignal
  readonly logger: Logger
  /** How far it is, from 0 to 1, or in words, of which 2,000 characters are kept. Streamed at once, stored at most once a second. */
  readonly progress: (ratio: number | undefined, note?: string) => void
  /** Keeps a file in the log; the result names it by its hash, in a media part of `toolParts`. */
  readonly putMedia: (mediaType: string, bytes: Uint8Array) => Promise<{ readonly hash: string; readonly bytes: number }>
  /** HTTP under the tool's egress rules: allowed hosts only, no private address, whatever DNS answers. @throws `egress_refused` */
  readonly fetch: (url: string | URL, init?: GuardedRequest) => Promise<Response>
}

export interface GuardedRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** Where `ExecutionContext.fetch` may go. */
export interface EgressRules {
  /** `api.example.org`, `*.example.org` for all below it, `*` for every public host. Nothing else is reached. */
  readonly hosts: readonly string[]
  /** Addresses that are not public (loopback, private networks, link-local, metadata services) are refused unless this is true. */
  readonly allowPrivate?: boolean
  /** Default 10 MiB. */
  readonly limitBytes?: number
}

export interface Tool {
  readonly name: string
  readonly description?: string
  /**
   * Of the arguments: a zod schema, or a JSON schema that `z.fromJSONSchema` reads. Of a remote tool it may have more in it: then only the
   * server checks them.
   */
  readonly input: z.ZodType | JsonObject
  /** Where it does its work: here, elsewhere, or both. Default local. */
  readonly kind?: 'local' | 'remote' | 'hybrid'
  /** Asked before each model call and before each run. Default: it is. */
  readonly isEnabled?: (conversation: ExecutionContext['conversation']) => boolean | Promise<boolean>
  /** Models are not told of it; a call of it is run all the same. */
  readonly hidden?: boolean
  /** For people who call it by hand: `<city> [days]`. */
  readonly argumentHint?: string
  /** Of one try. Default 30,000; `Infinity` for as long as the turn may last. */
  readonly timeoutMs?: number
  /** Whether running a call twice is as running it once, given the same idempotency key. Default false: then it is never run twice. */
  readonly idempotent?: boolean
  /** How often an idempotent tool is tried when it fails, and the pause before each further try. Default 1. Others are tried once. */
  readonly retry?: { readonly tries: number; readonly pauseMs?: number }
  /** Calls of it at the same time in this process; more wait. Default: no limit. */
  readonly concurrency?: number
  /** Whether somebody has to allow the call first. */
  readonly needsApproval?: boolean | ((args: unknown) => boolean)
  /** What the model should try when it fails, told with the error. */
  readonly recovery?: string
  readonly egress?: EgressRules
  /**
   * `args` match `input`. It answers, now or by a promise, with a text, JSON, or parts made by `toolParts`. What it throws is told to the model; what it answers too
   * late is recorded and not applied.
   */
  execute(args: never, context: ExecutionContext): unknown
}

/** A tool whose arguments have the type of its zod schema. */
export function defineTool<Schema extends z.ZodType>(
  tool: Omit<Tool, 'input' | 'execute' | 'needsApproval'> & {
    readonly input: Schema
    readonly needsApproval?: boolean | ((args: z.infer<Schema>) => boolean)
    execute(args: z.infer<Schema>, context: ExecutionContext): unknown
  },
): Tool {
  return tool as unknown as Tool
}

const partsKey = Symbol.for('colloquy.toolParts')

interface ToolParts {
  readonly [partsKey]: ToolResultPart['content']
  readonly isError: boolean
}

/** An answer in parts: text, media that were put into the log, a provider's own blocks. */
export const toolParts = (content: ToolResultPart['content'], options: { readonly isError?: boolean } = {}): unknown => ({
  [partsKey]: content,
  isError: options.isError ?? false,
})

export function asToolParts(
  answer: unknown,
): { readonly content: ToolResultPart['content']; readonly isError: boolean } | undefined {
  if (typeof answer !== 'object' || answer === null || !(partsKey in answer)) return undefined
  const { [partsKey]: content, isError } = answer as ToolParts
  return { content, isError }
}
