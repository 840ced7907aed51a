/**
 * Which messages belong together. A provider refuses a call without its result, half of a batch of parallel calls, and a loop of
 * signed reasoning of which a piece is missing; so a message never leaves alone that is bound to another. Groups are found in one
 * pass, whatever the length of the conversation.
 *
 *   user | assistant(reasoning, call a, call b) | result b | result a | assistant(call c) | result c | assistant
 *     0  |                              1: one loop: two batches with their results                  |    2
 *
 * The rules are those that OpenHands (view properties), LangChain (`findSafeCutoffPoint`) and Letta (approvals) arrived at.
 */
import type { Message, Part } from '@colloquy/core'

/** Why a group stays, whatever it costs. */
export type StayReason = 'system' | 'pinned' | 'open_call' | 'pending_approval' | 'provider_compaction'

/** Messages that stay or leave together. Not always neighbours: what came between a call and its late result may leave without them. */
export interface Group {
  /** Indexes into the messages, ascending. */
  readonly indexes: readonly number[]
  /** Null: it may leave. */
  readonly stays: StayReason | null
  readonly hasCalls: boolean
}

export interface StructureInput {
  readonly messages: readonly Message[]
  readonly pinned: ReadonlySet<string>
  readonly openCalls: readonly { readonly messageId: string; readonly callId: string }[]
}

export interface Structure {
  /** In the order of their first messages; every message is in one. */
  readonly groups: readonly Group[]
  /** By message: the index of its group. */
  readonly groupOf: readonly number[]
  /** Calls and results, by index of their messages. A call that nobody answered has no result. */
  readonly calls: readonly ToolExchange[]
  /** Results whose call is not among the messages, by index. */
  readonly orphans: readonly number[]
}

export interface ToolExchange {
  readonly callId: string
  readonly name: string
  readonly callIndex: number
  readonly call: Extract<Part, { type: 'tool_call' }>
  readonly resultIndex: number | null
  readonly result: Extract<Part, { type: 'tool_result' }> | null
}

/** Groups of messages, and which result answers which call. Linear. */
export function structureOf({ messages, pinned, openCalls }: StructureInput): Structure {
  const bound = new DisjointSets(messages.length)
  const { calls, orphans } = pairCalls(messages, bound)
  bindLoops(messages, bound)
  const stays = stayReasons(messages, pinned, openCalls, calls, bindApprovals(messages, calls, bound))

  const groups: { indexes: number[]; stays: StayReason | null; hasCalls: boolean }[] = []
  const numberOf = new Map<number, number>()
  const groupOf = messages.map((message, index) => {
    const root = bound.find(index)
    let number = numberOf.get(root)
    if (number === undefined) numberOf.set(root, (number = groups.push({ indexes: [], stays: null, hasCalls: false }) - 1))
    const group = groups[number] as (typeof groups)[number]
    group.indexes.push(index)
    group.stays ??= stays.get(index) ?? null
    group.hasCalls ||= hasPart(message, 'tool_call')
    return number
  })
  return { groups, groupOf, calls, orphans }
}

/**
 * Whether a provider takes a conversation that begins with this message: words of the user. Not a result or an approval without its call,
 * and not an assistant that opens the conversation.
 */
export const mayComeFirst = (message: Message): boolean =>
  message.role === 'user' && !hasPart(message, 'tool_result') && !hasPart(message, 'approval')

export const isInstruction = ({ role }: Message): boolean => role === 'system' || role === 'developer'

/**
 * A result answers the call that its message names, or else the nearest earlier open call of its id: ids repeat in real
 * transcripts. A second result of an answered call goes where the first went.
 */
function pairCalls(messages: readonly Message[], bound: DisjointSets): Pick<Structure, 'calls' | 'orphans'> {
  const calls: { -readonly [K in keyof ToolExchange]: ToolExchange[K] }[] = []
  const indexById = new Map(messages.map(({ id }, index) => [id, index]))
  const byId = new Map<string, { open: number[]; last: number }>()
  const byMessage = new Map<string, number>()
  const batches = new Map<string, number>()
  const orphans: number[] = []
  for (const [index, message] of messages.entries()) {
    // A batch may be told in several messages, but only in one answer.
    if (mayComeFirst(message)) batches.clear()
    for (const part of message.parts) {
      if (part.type === 'tool_call') {
        const number =
          calls.push({ callId: part.callId, name: part.name, callIndex: index, call: part, resultIndex: null, result: null }) - 1
        const known = byId.get(part.callId)
        if (known) {
          known.open.push(number)
          known.last = number
        } else byId.set(part.callId, { open: [number], last: number })
        byMessage.set(keyOf(index, part.callId), number)
        if (part.batchId !== undefined) {
          const before = batches.get(part.batchId)
          if (before !== undefined) bound.join(before, index)
          batches.set(part.batchId, index)
        }
      } else if (part.type === 'tool_result') {
        const named = part.callMessageId === undefined ? undefined : indexById.get(part.callMessageId)
        const known = byId.get(part.callId)
        const number = named === undefined ? known && lastOpen(known, calls) : byMessage.get(keyOf(named, part.callId))
        const call = number === undefined ? undefined : calls[number]
        if (call === undefined) {
          orphans.push(index)
          continue
        }
        bound.join(call.callIndex, index)
        if (call.resultIndex === null) {
          call.resultIndex = index
          call.result = part
        }
      }
    }
  }
  return { calls, orphans }
}

/** The nearest open call of an id, or the last one that there was. */
function lastOpen(known: { open: number[]; last: number }, calls: readonly { resultIndex: number | null }[]): number {
  for (;;) {
    const number = known.open.at(-1)
    if (number === undefined) return known.last
    if (calls[number]?.resultIndex === null) return number
    known.open.pop()
  }
}

/**
 * From a call with signed reasoning to the next message that is neither a call nor a result: all or nothing, since the signature
 * covers what came before it. Calls without such reasoning are no loop.
 */
function bindLoops(messages: readonly Message[], bound: DisjointSets): void {
  let loop: number | null = null
  for (const [index, message] of messages.entries()) {
    const isCalling = message.role === 'assistant' && hasPart(message, 'tool_call')
    if (loop !== null && (isCalling || hasPart(message, 'tool_result'))) bound.join(loop, index)
    else loop = isCalling && message.parts.some(isSealed) ? index : null
  }
}

const isSealed = (part: Part): boolean =>
  part.type === 'reasoning' && (part.signature !== undefined || part.encrypted !== undefined || part.redacted)

/** An approval belongs to its call, and its answer to it. @returns the indexes of requests that wait for an answer */
function bindApprovals(messages: readonly Message[], calls: readonly ToolExchange[], bound: DisjointSets): readonly number[] {
  const callsById = new Map<string, ToolExchange[]>()
  for (const exchange of calls) {
    const same = callsById.get(exchange.callId)
    if (same) same.push(exchange)
    else callsById.set(exchange.callId, [exchange])
  }
  const asked = new Map<string, { index: number; isAnswered: boolean }>()
  const passed = new Map<string, number>()
  for (const [index, message] of messages.entries()) {
    for (const part of message.parts) {
      if (part.type !== 'approval') continue
      const request = asked.get(part.approvalId)
      if (request) {
        bound.join(request.index, index)
        request.isAnswered ||= part.decision !== undefined
        continue
      }
      asked.set(part.approvalId, { index, isAnswered: part.decision !== undefined })
      const call = nearestBefore(callsById.get(part.callId) ?? [], index, part.callId, passed)
      if (call) bound.join(call.callIndex, index)
    }
  }
  return [...asked.values()].filter(({ isAnswered }) => !isAnswered).map(({ index }) => index)
}

/** The last call of an id that was made up to `index`. Indexes only grow, so each call is passed once. */
function nearestBefore(
  same: readonly ToolExchange[],
  index: number,
  callId: string,
  passed: Map<string, number>,
): ToolExchange | undefined {
  let at = passed.get(callId) ?? 0
  while (at + 1 < same.length && (same[at + 1]?.callIndex ?? index + 1) <= index) at += 1
  passed.set(callId, at)
  return same[at]
}

function stayReasons(
  messages: readonly Message[],
  pinned: ReadonlySet<string>,
  openCalls: StructureInput['openCalls'],
  calls: readonly ToolExchange[],
  waiting: readonly number[],
): ReadonlyMap<number, StayReason> {
  const stays = new Map<number, StayReason>()
  const indexById = new Map(messages.map(({ id }, index) => [id, index]))
  for (const [index, message] of messages.entries()) {
    if (message.parts.some(isProviderCompaction)) stays.set(index, 'provider_compaction')
    if (pinned.has(message.id)) stays.set(index, 'pinned')
    if (isInstruction(message)) stays.set(index, 'system')
  }
  for (const { messageId } of openCalls) {
    const index = indexById.get(messageId)
    if (index !== undefined && !stays.has(index)) stays.set(index, 'open_call')
  }
  // Nobody spoke since: whoever runs the calls may not have told us of them yet.
  const lastAnswer = messages.findLastIndex(({ role }) => role === 'assistant')
  const lastWord = messages.findLastIndex(mayComeFirst)
  for (const { callIndex, resultIndex } of calls) {
    if (resultIndex === null && callIndex === lastAnswer && lastWord < callIndex && !stays.has(callIndex))
      stays.set(callIndex, 'open_call')
  }
  for (const index of waiting) if (!stays.has(index)) stays.set(index, 'pending_approval')
  return stays
}

/** A block that the provider made and alone can read, or wants back as it was: it stays, verbatim. */
export const isProviderCompaction = (part: Part): boolean =>
  part.type === 'compaction' && (part.opaque !== undefined || part.origin !== undefined || part.raw !== undefined)

export const hasPart = (message: Message, type: Part['type']): boolean => message.parts.some((part) => part.type === type)

const keyOf = (index: number, callId: string): string => `${index} ${callId}`

/** Union-find with path halving (Tarjan and van Leeuwen, 1984); the smaller index is the root. */
class DisjointSets {
  readonly #parent: number[]

  constructor(length: number) {
    this.#parent = Array.from({ length }, (_, index) => index)
  }

  find(index: number): number {
    let at = index
    for (;;) {
      const parent = this.#parent[at] as number
      if (parent === at) return at
      const above = this.#parent[parent] as number
      this.#parent[at] = above
      at = above
    }
  }

  join(a: number, b: number): void {
    const [first, second] = [this.find(a), this.find(b)]
    this.#parent[Math.max(first, second)] = Math.min(first, second)
  }
}
