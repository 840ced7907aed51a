/**
 * Forks: a conversation that continues another one after a position, and shares the envelopes up to it.
 *
 *     root    1 2 3 4 5 6
 *     fork          4 5        left root at 3
 *     fork of it      5 6      left the fork at 4: it reads 1-3 of root, 4 of the fork, then its own
 */
import { type ConversationKey, rootIdOf } from './ids.ts'
import type { ForkPoint } from './ports/event-log.ts'

/** A run of positions that one conversation contributes to a history. */
export interface Segment {
  readonly conversationId: string
  readonly from: number
  /** Included. Infinity for the conversation itself. */
  readonly to: number
}

/**
 * The conversations that a history is read from, the root's first; those that contribute nothing are left out, except the last one,
 * the conversation itself.
 */
export function segmentsOf(conversationId: string, ancestry: readonly ForkPoint[]): Segment[] {
  const segments: Segment[] = [{ conversationId, from: 1, to: Infinity }]
  for (const { conversationId: parentId, position } of ancestry.toReversed()) {
    const child = segments[0] as Segment
    // A fork of a fork may have left before its parent did: the parent then has nothing of its own in it.
    const isBehind = position >= child.to
    if (isBehind) segments.shift()
    else segments[0] = { ...child, from: position + 1 }
    segments.unshift({ conversationId: parentId, from: 1, to: isBehind ? child.to : position })
  }
  return segments
}

/** The last position that two histories share; 0 when they have nothing in common. Infinity for one and the same. */
export function sharedPosition(a: readonly Segment[], b: readonly Segment[]): number {
  let shared = 0
  for (const [i, mine] of a.entries()) {
    const theirs = b[i]
    if (theirs?.conversationId !== mine.conversationId) break
    shared = Math.min(mine.to, theirs.to)
    if (mine.to !== theirs.to) break
  }
  return shared
}

/** A caller's mistake, which would put a fork into another partition than its parent. @throws RangeError */
export function assertForkOf({ conversationId }: ConversationKey, parent: ForkPoint): void {
  if (conversationId !== parent.conversationId && rootIdOf(conversationId) === rootIdOf(parent.conversationId)) return
  throw new RangeError(`The id of a fork of ${parent.conversationId} begins with "${rootIdOf(parent.conversationId)}~".`)
}
