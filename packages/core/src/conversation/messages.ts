import { z } from 'zod'
import { defineAction, type StampedActionOf } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defineSlice } from '../slice.ts'
import { Vector } from '../vector.ts'
import { compactionUndone, contextCompacted } from './compaction.ts'
import { assertCoverable, type ToolCalls } from './compaction-guard.ts'
import { conversationCleared } from './lifecycle.ts'
import { id, type Message, message, tokenCount, type WorkingMessage } from './message.ts'

/**
 * A message joined the conversation. Messages are never edited; a redaction is its own action.
 *
 * Ids are the caller's. None is refused because another message has it: to look for that would cost each message more the longer the
 * conversation is, and what was compacted away is in the log only. What names an id (a redaction, a pin, a compaction) means every
 * message of the working set that has it, and an undo brings back none whose id is there. That a retry adds nothing is what the
 * `commandId` of a dispatch is for.
 */
export const messageAdded = defineAction(
  'messageAdded',
  z.strictObject({
    message,
    /** Tokens as the provider counted them, or an estimate when it did not say; replay never counts again. */
    tokenCount,
    /** `id@version` of the counter, or `provider`. */
    tokenCounter: z.string().optional(),
  }),
)

/**
 * The content of a message must no longer be shown. Its words leave the working set; the log keeps them until they are erased.
 * The tokens stay spent: they were sent to a provider, and old budget decisions must replay the same.
 */
export const messageRedacted = defineAction('messageRedacted', z.strictObject({ messageId: id, reason: z.string().optional() }))

/**
 * A message stays in the working set, whatever it costs, until it is unpinned: no compaction may cover it. Pinning what is pinned
 * changes nothing.
 */
export const messagePinned = defineAction('messagePinned', z.strictObject({ messageId: id, reason: z.string().optional() }))
/** Compactions may cover the message again. */
export const messageUnpinned = defineAction('messageUnpinned', z.strictObject({ messageId: id }))

/** The working set: messages that the model is shown, in order of where they belong. All messages ever are in the log. */
export const messages = defineSlice({
  name: 'messages',
  version: 2,
  replay: 'bare',
  initial: () => Vector.empty<WorkingMessage>(),
  actions: [
    messageAdded,
    messageRedacted,
    messagePinned,
    messageUnpinned,
    contextCompacted,
    compactionUndone,
    conversationCleared,
  ],
  guard(state, action) {
    const list = state.messages
    switch (action.type) {
      case 'messageRedacted':
      case 'messagePinned':
      case 'messageUnpinned': {
        const { messageId } = action.payload
        if (list.findIndex((m) => m.id === messageId) < 0) {
          throw new ColloquyError('message_not_found', { messageId, workingSet: list.length })
        }
        return
      }
      case 'contextCompacted': {
        assertCoverable(list.slice(), state.tools as ToolCalls, action.payload)
        return
      }
      case 'messageAdded':
      case 'compactionUndone':
      case 'conversationCleared':
        return
      default:
        action satisfies never
    }
  },
  reduce(list, action) {
    switch (action.type) {
      case 'messageAdded':
        return list.append(added(action))
      case 'messageRedacted':
        return list.map((m) => (m.id === action.payload.messageId ? redacted(m) : m))
      case 'messagePinned':
        return list.map((m) => (m.id === action.payload.messageId ? pinned(m) : m))
      case 'messageUnpinned':
        return list.map((m) => (m.id === action.payload.messageId ? unpinned(m) : m))
      case 'contextCompacted':
        return compacted(list, action)
      case 'compactionUndone':
        return restored(list, action)
      case 'conversationCleared':
        return Vector.empty<WorkingMessage>()
      default:
        action satisfies never
        return list
    }
  },
})

type Working = Vector<WorkingMessage>

function added(action: StampedActionOf<typeof messageAdded>): WorkingMessage {
  return { ...action.payload.message, position: action.position, tokenCount: action.payload.tokenCount }
}

/** Where a message belongs in the order of the working set. */
const placeOf = (m: WorkingMessage): number => m.standsAt ?? m.position

/** The summary carries the position of its compaction, by which it can be undone. */
function summaryOf(action: StampedActionOf<typeof contextCompacted>, standsAt: number): WorkingMessage | undefined {
  const { summary } = action.payload
  return summary && { ...summary.message, position: action.position, tokenCount: summary.tokenCount, standsAt }
}

/** The summary stands where the first covered message stood. */
function compacted(list: Working, action: StampedActionOf<typeof contextCompacted>): Working {
  const covered = new Set(action.payload.covered.messageIds)
  const first = list.findIndex((m) => covered.has(m.id))
  const firstCovered = list.at(first)
  if (first < 0 || firstCovered === undefined) return list
  const summary = summaryOf(action, placeOf(firstCovered))
  const kept = list.slice(first).filter((m) => !covered.has(m.id))
  return list.splice(first, list.length, summary ? [summary, ...kept] : kept)
}

/** The summary leaves, and each message goes back to its place between those that were kept. */
function restored(list: Working, action: StampedActionOf<typeof compactionUndone>): Working {
  const { compactionPosition } = action.payload
  if (action.resolved === undefined) return list
  const summary = list.find((m) => m.position === compactionPosition && m.standsAt !== undefined)
  const kept = list.slice().filter((m) => m !== summary)
  const present = new Set(kept.map((m) => m.id))
  const returning = restoredMessages(action, summary?.standsAt).filter((m) => !present.has(m.id))
  if (summary === undefined && returning.length === 0) return list

  const merged: WorkingMessage[] = []
  for (const m of kept) {
    while (returning[0] !== undefined && placeOf(returning[0]) < placeOf(m)) merged.push(returning.shift() as WorkingMessage)
    merged.push(m)
  }
  return Vector.from([...merged, ...returning])
}

/**
 * The messages that an undo names, in its order, as the log has them now: an erased body arrives erased, a redaction among
 * `resolved` is applied. `firstStandsAt` is where the summary stood that leaves for them.
 */
function restoredMessages(action: StampedActionOf<typeof compactionUndone>, firstStandsAt?: number): WorkingMessage[] {
  const order = new Map(action.payload.restored.messageIds.map((messageId, index) => [messageId, index]))
  const orderOf = (m: WorkingMessage): number => order.get(m.id) ?? -1
  const found: WorkingMessage[] = []
  const redactions = new Set<string>()
  for (const named of action.resolved ?? []) {
    if (named.newerSchemaVersion !== undefined || named.upcastProblem !== undefined) continue
    if (messageAdded.match(named)) found.push(added(named))
    else if (contextCompacted.match(named)) {
      const { summary: standing, standsAt, covered } = named.payload
      const isFirst = standing?.message.id === action.payload.restored.messageIds[0]
      const from = standsAt ?? Math.min(named.position, ...covered.ranges.map(([first]) => first))
      const summary = summaryOf(named, isFirst ? (firstStandsAt ?? from) : from)
      if (summary) found.push(summary)
    } else if (messageRedacted.match(named)) redactions.add(named.payload.messageId)
  }
  // A range may hold more than what the compaction covered: only what is named returns.
  const returning = found.filter((m) => orderOf(m) >= 0).sort((a, b) => orderOf(a) - orderOf(b))
  return returning.map((m) => (redactions.has(m.id) ? redacted(m) : m))
}

const pinned = (m: WorkingMessage): WorkingMessage => (m.pinned ? m : { ...m, pinned: true })

function unpinned(m: WorkingMessage): WorkingMessage {
  const { pinned: wasPinned, ...rest } = m
  return wasPinned ? rest : m
}

/** Without words, but with the ids that hold calls and results together. */
function redacted(m: WorkingMessage): WorkingMessage {
  if (m.redacted) return m
  const { id, v, role, position, tokenCount, standsAt } = m
  const parts = m.parts.map(withoutWords)
  const kept = { id, v, role, position, tokenCount, redacted: true as const, parts }
  return { ...kept, ...(m.pinned && { pinned: true as const }), ...(standsAt !== undefined && { standsAt }) }
}

function withoutWords(part: Message['parts'][number]): Message['parts'][number] {
  switch (part.type) {
    case 'tool_call': {
      const { type, callId, name, executor, batchId } = part
      return { type, callId, name, executor, args: { raw: '', valid: false }, ...(batchId !== undefined && { batchId }) }
    }
    case 'tool_result': {
      const { type, callId, callMessageId, status } = part
      return { type, callId, status, content: [], ...(callMessageId !== undefined && { callMessageId }) }
    }
    case 'approval': {
      const { type, approvalId, callId, decision } = part
      return { type, approvalId, callId, ...(decision !== undefined && { decision }) }
    }
    default:
      return { type: 'custom', kind: 'colloquy.redacted', payload: { was: part.type } }
  }
}
