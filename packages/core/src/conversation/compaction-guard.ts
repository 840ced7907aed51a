/** What a compaction may not cover. Dispatch only: what was imported or stored by an older version replays whatever it covers. */
import type { PositionRange } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import type { WorkingMessage } from './message.ts'

/** What a compaction says of the messages that it covers. */
interface Covering {
  readonly covered: { readonly messageIds: readonly string[]; readonly ranges: readonly PositionRange[] }
  readonly redactedIds?: readonly string[] | undefined
}

interface OpenCall {
  readonly messageId: string
  readonly callId: string
}

/**
 * What is covered must be there as it was when it was summarised, and no call may be parted from what answers it.
 * @throws `compaction_stale`, `compaction_parts_call`
 */
export function assertCoverable(list: readonly WorkingMessage[], open: readonly OpenCall[], payload: Covering): void {
  const covered = new Set(payload.covered.messageIds)
  assertUnchanged(list, covered, payload)
  const parted = partedCall(list, covered, open)
  if (parted) throw new ColloquyError('compaction_parts_call', parted)
}

function assertUnchanged(list: readonly WorkingMessage[], covered: ReadonlySet<string>, payload: Covering): void {
  const redacted = new Set(payload.redactedIds)
  const named = ({ position }: WorkingMessage) => payload.covered.ranges.some(([from, to]) => from <= position && position <= to)
  const isChanged = (m: WorkingMessage) => m.pinned || (m.redacted ?? false) !== redacted.has(m.id) || !named(m)
  const present = list.filter((m) => covered.has(m.id))
  const missing = covered.size - new Set(present.map((m) => m.id)).size
  const changed = present.filter(isChanged).length
  if (missing + changed > 0) throw new ColloquyError('compaction_stale', { missing, changed, covered: covered.size })
}

/** A call of the working set, and whether it leaves. */
interface Seen extends OpenCall {
  readonly leaves: boolean
  answered: boolean
}

/**
 * The first call that would be parted: from its result or approval, from its batch, or from a result that is still to come. One id may
 * be that of several calls: a result that does not name its message answers the nearest call before it.
 */
function partedCall(
  list: readonly WorkingMessage[],
  covered: ReadonlySet<string>,
  open: readonly OpenCall[],
): OpenCall | undefined {
  const calls: Seen[] = []
  const nearest = new Map<string, Seen>()
  const exact = new Map<string, Seen>()
  const batches = new Map<string, Seen>()
  let waiting: Seen[] = []
  for (const m of list) {
    const leaves = covered.has(m.id)
    const made: Seen[] = []
    for (const part of m.parts) {
      if (part.type === 'tool_call') {
        const call: Seen = { messageId: m.id, callId: part.callId, leaves, answered: false }
        const sibling = part.batchId === undefined ? undefined : batches.get(part.batchId)
        if (sibling && sibling.leaves !== leaves) return plain(call)
        if (part.batchId !== undefined) batches.set(part.batchId, call)
        nearest.set(part.callId, call)
        exact.set(keyOf(call), call)
        calls.push(call)
        made.push(call)
      } else if (part.type === 'tool_result' || part.type === 'approval') {
        const messageId = part.type === 'tool_result' ? part.callMessageId : undefined
        const { callId } = part
        const call = messageId === undefined ? nearest.get(callId) : exact.get(keyOf({ messageId, callId }))
        if (call && call.leaves !== leaves) return plain(call)
        if (call && part.type === 'tool_result') call.answered = true
      }
    }
    // Whoever speaks on, without a call of his own, waits for no result any more.
    if (made.length > 0) waiting = [...waiting, ...made]
    else if (m.role === 'user' || m.role === 'assistant') waiting = []
  }
  const isOpen = new Set(open.map(keyOf))
  const stillWaits = new Set(waiting)
  const left = calls.find((call) => call.leaves && !call.answered && (isOpen.has(keyOf(call)) || stillWaits.has(call)))
  return left && plain(left)
}

const plain = ({ messageId, callId }: OpenCall): OpenCall => ({ messageId, callId })
const keyOf = ({ messageId, callId }: OpenCall): string => `${messageId}\0${callId}`
