/** What a compaction may not cover. Dispatch only: what was imported or stored by an older version replays whatever it covers. */
import type { PositionRange } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import type { Message, WorkingMessage } from './message.ts'

/** What a compaction says of the messages that it covers. */
interface Covering {
  readonly covered: { readonly messageIds: readonly string[]; readonly ranges: readonly PositionRange[] }
  readonly redactedIds?: readonly string[] | undefined
}

interface Call {
  readonly messageId: string
  readonly callId: string
}

/** Of the state of the tools: calls without an end, and calls whose answer is in no message yet. */
export interface ToolCalls {
  readonly open: readonly Call[]
  readonly answered?: readonly Call[]
}

/**
 * What is covered must be there as it was when it was summarised, and no call may be parted from what answers it.
 * @throws `compaction_stale`, `compaction_parts_call`
 */
export function assertCoverable(list: readonly WorkingMessage[], tools: ToolCalls, payload: Covering): void {
  const covered = new Set(payload.covered.messageIds)
  assertUnchanged(list, covered, payload)
  const parted = partedCall(list, covered) ?? callsInFlight(list, tools).find(({ messageId }) => covered.has(messageId))
  if (parted) throw new ColloquyError('compaction_parts_call', parted)
}

/**
 * Calls of the working set that are still to be answered: those that are open by the state of the tools; and of those that it was never
 * told of, the ones that wait for an approval or were approved, and the ones after which nobody has spoken on.
 */
export function callsInFlight(list: readonly WorkingMessage[], { open, answered = [] }: ToolCalls): readonly Call[] {
  const known = new Set([...open, ...answered].map(keyOf))
  const calls = matchCalls(list)
  const lastWord = list.findLastIndex(speaksOn)
  return calls
    .filter(({ call, index, results, approvals, isDenied }) => {
      if (known.has(keyOf(call))) return true
      return results.length === 0 && !isDenied && (approvals.length > 0 || lastWord <= index)
    })
    .map(({ call }) => call)
}

function assertUnchanged(list: readonly WorkingMessage[], covered: ReadonlySet<string>, payload: Covering): void {
  const redacted = new Set(payload.redactedIds)
  const ranges = payload.covered.ranges.toSorted(([a], [b]) => a - b)
  const isChanged = (m: WorkingMessage) =>
    m.pinned || (m.redacted ?? false) !== redacted.has(m.id) || !isWithin(ranges, m.position)
  const present = list.filter((m) => covered.has(m.id))
  const missing = covered.size - new Set(present.map((m) => m.id)).size
  const changed = present.filter(isChanged).length
  if (missing + changed > 0) throw new ColloquyError('compaction_stale', { missing, changed, covered: covered.size })
}

/** Binary search: a compaction without neighbours has as many ranges as messages. */
function isWithin(ranges: readonly PositionRange[], position: number): boolean {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ranges[middle]?.[0] ?? 0) <= position) low = middle + 1
    else high = middle
  }
  return (ranges[low - 1]?.[1] ?? 0) >= position
}

/** A call of which one side would leave and the other stay: result, approval, or another call of its batch. */
function partedCall(list: readonly WorkingMessage[], covered: ReadonlySet<string>): Call | undefined {
  const leaves = (index: number): boolean => covered.has(list[index]?.id ?? '')
  const found = matchCalls(list).find(({ index, results, approvals, sibling }) =>
    [...results, ...approvals, sibling ?? index].some((other) => leaves(other) !== leaves(index)),
  )
  return found?.call
}

/** A call, where it is, and where what belongs to it is. */
interface MatchedCall {
  readonly call: Call
  readonly index: number
  readonly results: number[]
  readonly approvals: number[]
  isDenied: boolean
  /** The call before it in its batch. */
  readonly sibling: number | undefined
}

/**
 * Calls with their answers, in order. One id may be that of several calls: a result that does not name its message answers the nearest
 * one before it without a result, a second result the last one.
 */
function matchCalls(list: readonly WorkingMessage[]): readonly MatchedCall[] {
  const calls: MatchedCall[] = []
  const byId = new Map<string, MatchedCall[]>()
  const exact = new Map<string, MatchedCall>()
  const batches = new Map<string, number>()
  for (const [index, m] of list.entries()) {
    // A batch may be told in several messages, but only in one answer.
    if (m.role === 'user' && speaksOn(m)) batches.clear()
    for (const part of m.parts) {
      if (part.type === 'tool_call') {
        const call = { messageId: m.id, callId: part.callId }
        const sibling = part.batchId === undefined ? undefined : batches.get(part.batchId)
        const matched: MatchedCall = { call, index, results: [], approvals: [], isDenied: false, sibling }
        if (part.batchId !== undefined) batches.set(part.batchId, index)
        const same = byId.get(part.callId)
        if (same) same.push(matched)
        else byId.set(part.callId, [matched])
        exact.set(keyOf(call), matched)
        calls.push(matched)
      } else if (part.type === 'tool_result') {
        const { callId, callMessageId: messageId } = part
        const named = messageId === undefined ? undefined : exact.get(keyOf({ messageId, callId }))
        const same = messageId === undefined ? byId.get(callId) : undefined
        const call = named ?? same?.findLast(({ results }) => results.length === 0) ?? same?.at(-1)
        call?.results.push(index)
      } else if (part.type === 'approval') {
        const call = byId.get(part.callId)?.at(-1)
        call?.approvals.push(index)
        if (call && part.decision === 'denied') call.isDenied = true
      }
    }
  }
  return calls
}

/** Words of somebody who waits for no result: neither a call, nor what only answers one. */
function speaksOn({ role, parts }: Message): boolean {
  if (role !== 'user' && role !== 'assistant') return false
  return (
    parts.some(({ type }) => type !== 'tool_result' && type !== 'approval') && !parts.some(({ type }) => type === 'tool_call')
  )
}

const keyOf = ({ messageId, callId }: Call): string => `${messageId}\0${callId}`
