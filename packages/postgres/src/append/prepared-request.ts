/** An append as it waits: checked, with all that can be known before a connection is taken. */
import { type AppendOutcome, type AppendRequest, type ConversationKey, genesisHash, partitionOf } from '@colloquy/core'
import { sha256 } from '../sha256.ts'
import type { QueuedRequest } from './append-queue.ts'

/**
 * A class, as is the queue's `Line`: of what is written as a literal V8 may come to believe, from those that it happened to see in flight, that
 * it lives long, and make all of them in its old generation from then on. At a thousand in flight it did, which was a fifth of the client's
 * time (measured 2026-11-28).
 */
export class PreparedRequest implements QueuedRequest<PreparedRequest> {
  readonly request: AppendRequest
  readonly partition: number
  /** Two tenants may use one id; then their requests take turns as well, and no text is made for each request. */
  readonly conversation: string
  readonly envelopes: number
  readonly bytes: number
  /** What the head must be at; -1, which never matches, for a head at 0 that is not the genesis: before position 1 no row holds a hash. */
  readonly expectedPosition: number
  /** The ids of its commands, each once. */
  readonly commandIds: readonly string[]
  /** When to give up, by `performance.now()`. */
  readonly deadline: number
  readonly resolve: (outcome: AppendOutcome) => void
  readonly reject: (error: unknown) => void
  /** The failure under which it was sent without an answer: from then on only an answer tells what became of it. */
  lost: unknown = undefined
  next: PreparedRequest | undefined = undefined

  constructor(
    request: AppendRequest,
    partition: number,
    deadline: number,
    resolve: PreparedRequest['resolve'],
    reject: PreparedRequest['reject'],
  ) {
    let bytes = 0
    for (const { body } of request.envelopes) bytes += body.length
    this.request = request
    this.partition = partition
    this.conversation = request.key.conversationId
    this.envelopes = request.envelopes.length
    this.bytes = bytes
    this.expectedPosition = expectedPosition(request)
    this.commandIds = commandIdsOf(request)
    this.deadline = deadline
    this.resolve = resolve
    this.reject = reject
  }
}

const noCommands: readonly string[] = []

function commandIdsOf({ envelopes }: AppendRequest): readonly string[] {
  let found: string[] | undefined
  for (const { commandId } of envelopes) {
    if (commandId === null || found?.at(-1) === commandId) continue
    if (found === undefined) found = [commandId]
    else if (!found.includes(commandId)) found.push(commandId)
  }
  return found ?? noCommands
}

function expectedPosition({ key, expected: { position, hash } }: AppendRequest): number {
  return position !== 0 || Buffer.compare(hash, genesisHash(key, sha256)) === 0 ? position : -1
}

/** The partition of a conversation; hashed once for each key object, which an engine keeps as long as the conversation is resident. */
export function rememberedPartitions(partitions: number): (key: ConversationKey) => number {
  const known = new WeakMap<ConversationKey, ConversationKey & { readonly partition: number }>()
  return (key) => {
    const found = known.get(key)
    // Compared, in case somebody writes into a key: a row in the wrong partition would never be found again.
    if (found?.tenant === key.tenant && found.conversationId === key.conversationId) return found.partition
    const { tenant, conversationId } = key
    const partition = partitionOf(key, partitions, sha256)
    known.set(key, { tenant, conversationId, partition })
    return partition
  }
}
