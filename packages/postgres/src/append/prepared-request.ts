/** An append as it waits: checked, with all that can be known before a connection is taken. */
import { type AppendOutcome, type AppendRequest, type ConversationKey, genesisHash, partitionOf } from '@colloquy/core'
import { sha256 } from '../sha256.ts'
import type { QueuedRequest } from './append-queue.ts'

export interface PreparedRequest extends QueuedRequest<PreparedRequest> {
  readonly request: AppendRequest
  /** What the head must be at; -1, which never matches, for a head at 0 that is not the genesis: before position 1 no row holds a hash. */
  readonly expectedPosition: number
  /** The ids of its commands, each once. */
  readonly commandIds: readonly string[]
  /** When to give up, by `performance.now()`. */
  readonly deadline: number
  readonly resolve: (outcome: AppendOutcome) => void
  readonly reject: (error: unknown) => void
  /** The failure under which it was sent without an answer: from then on only an answer tells what became of it. */
  lost: unknown
}

export function prepareRequest(
  request: AppendRequest,
  partition: number,
  settle: Pick<PreparedRequest, 'deadline' | 'resolve' | 'reject'>,
): PreparedRequest {
  const { key, envelopes } = request
  let bytes = 0
  let commandIds: string[] = noCommands
  for (const { body, commandId } of envelopes) {
    bytes += body.length
    if (commandId === null || commandIds.at(-1) === commandId) continue
    if (commandIds.length === 0) commandIds = [commandId]
    else if (!commandIds.includes(commandId)) commandIds.push(commandId)
  }
  return {
    request,
    partition,
    // Two tenants may use one id; then their requests take turns as well, and no text is made for each request.
    conversation: key.conversationId,
    envelopes: envelopes.length,
    bytes,
    expectedPosition: expectedPosition(request),
    commandIds,
    deadline: settle.deadline,
    resolve: settle.resolve,
    reject: settle.reject,
    lost: undefined,
    next: undefined,
  }
}

const noCommands: string[] = []

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
