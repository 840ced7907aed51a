import { z } from 'zod'
import { defineAction, type StampedAction, type StampedActionOf } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defineSlice } from '../slice.ts'
import { Vector } from '../vector.ts'
import { compactionUndone, contextCompacted } from './compaction.ts'
import { conversationCleared } from './lifecycle.ts'
import { id, type Message, message, tokenCount } from './message.ts'

/** A message joined the conversation. Messages are never edited; a redaction is its own action. */
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

/** A message as the model is shown it, with the position of the action that brought it. */
export type WorkingMessage = Message & {
  readonly position: number
  readonly tokenCount: number
  readonly redacted?: true
}

/** The working set: messages that the model is shown, in order. All messages ever are in the log. */
export const messages = defineSlice({
  name: 'messages',
  version: 1,
  replay: 'bare',
  initial: () => Vector.empty<WorkingMessage>(),
  actions: [messageAdded, messageRedacted, contextCompacted, compactionUndone, conversationCleared],
  guard(state, action) {
    const list = state.messages
    switch (action.type) {
      case 'messageRedacted': {
        const { messageId } = action.payload
        if (list.findIndex((m) => m.id === messageId) < 0) {
          throw new ColloquyError('message_not_found', { messageId, workingSet: list.length })
        }
        return
      }
      case 'contextCompacted': {
        const { messageIds } = action.payload.covered
        const present = new Set(list.slice().map((m) => m.id))
        const missing = messageIds.filter((messageId) => !present.has(messageId)).length
        if (missing > 0) throw new ColloquyError('compaction_stale', { missing, covered: messageIds.length })
        return
      }
      case 'compactionUndone': {
        const position = action.payload.compactionPosition
        if (list.findIndex((m) => m.position === position) < 0) throw new ColloquyError('compaction_not_found', { position })
        return
      }
      case 'messageAdded':
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

/** The summary stands where the first covered message stood; it carries the position of its compaction, by which it can be undone. */
function summaryOf(action: StampedActionOf<typeof contextCompacted>): WorkingMessage | undefined {
  const { summary } = action.payload
  return summary && { ...summary.message, position: action.position, tokenCount: summary.tokenCount }
}

function compacted(list: Working, action: StampedActionOf<typeof contextCompacted>): Working {
  const covered = new Set(action.payload.covered.messageIds)
  const first = list.findIndex((m) => covered.has(m.id))
  if (first < 0) return list
  const summary = summaryOf(action)
  const kept = list.slice(first).filter((m) => !covered.has(m.id))
  return list.splice(first, list.length, summary ? [summary, ...kept] : kept)
}

function restored(list: Working, action: StampedActionOf<typeof compactionUndone>): Working {
  const originals = restoredMessages(action.resolved ?? [])
  const present = new Set(list.slice().map((m) => m.id))
  const returning = originals.filter((m) => !present.has(m.id))
  const summaryAt = list.findIndex((m) => m.position === action.payload.compactionPosition)
  if (summaryAt >= 0) return list.splice(summaryAt, summaryAt + 1, returning)
  // A compaction without a summary left no trace in the list: its messages go back before the first younger one.
  const firstPosition = returning[0]?.position ?? 0
  const younger = list.findIndex((m) => m.position > firstPosition)
  const at = younger < 0 ? list.length : younger
  return list.splice(at, at, returning)
}

/** Messages as the log has them now: an erased body arrives erased, a later redaction among `resolved` is applied. */
function restoredMessages(resolved: readonly StampedAction[]): WorkingMessage[] {
  const found: WorkingMessage[] = []
  const redactions = new Set<string>()
  for (const action of resolved) {
    if (messageAdded.match(action)) found.push(added(action))
    else if (contextCompacted.match(action)) {
      const summary = summaryOf(action)
      if (summary) found.push(summary)
    } else if (messageRedacted.match(action)) redactions.add(action.payload.messageId)
  }
  return found.map((m) => (redactions.has(m.id) ? redacted(m) : m))
}

/** Without words, but with the ids that hold calls and results together. */
function redacted(m: WorkingMessage): WorkingMessage {
  const { id, v, role, position, tokenCount } = m
  return { id, v, role, position, tokenCount, redacted: true, parts: m.parts.map(withoutWords) }
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
