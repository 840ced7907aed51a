import type { ConversationAction, Message, OpenedEnvelope } from '@colloquy/core'

type Payload<Type extends ConversationAction['type']> = Extract<ConversationAction, { type: Type }>['payload']

interface At {
  readonly position: number
  /** Microseconds since 1970. */
  readonly occurredAt: number
}

/** What a reader of a conversation is shown, in order. Redacted and erased messages are there without their words. */
export type TranscriptEntry =
  | (At & { readonly kind: 'message'; readonly message: Message; readonly hidden: 'redacted' | undefined })
  | (At & {
      readonly kind: 'compaction'
      readonly compaction: Payload<'contextCompacted'>
      readonly hidden: 'redacted' | undefined
    })
  | (At & { readonly kind: 'compactionUndone'; readonly compactionPosition: number })
  | (At & { readonly kind: 'error'; readonly error: Payload<'errorRecorded'> })
  | (At & { readonly kind: 'interruption'; readonly reason: string | undefined })
  | (At & { readonly kind: 'cleared'; readonly reason: string | undefined })
  | (At & { readonly kind: 'erased'; readonly actionType: string })

export interface Transcript {
  readonly tenant: string
  readonly conversationId: string
  readonly title: string | undefined
  /** What it came out of: of a fork, the conversation that it left last. */
  readonly parent: Payload<'conversationStarted'>['parent']
  readonly source: Payload<'conversationStarted'>['source']
  /** First and last position, and their times; undefined for a conversation without envelopes. */
  readonly first: At | undefined
  readonly last: At | undefined
  readonly entries: readonly TranscriptEntry[]
}

/** The transcript of one conversation: all messages ever, also those that a compaction took out of the working set. */
export function transcriptOf(envelopes: Iterable<OpenedEnvelope>): Transcript {
  const entries: TranscriptEntry[] = []
  const redacted = new Set<string>()
  let title: string | undefined
  let source: Transcript['source']
  let parent: Transcript['parent']
  let key = { tenant: '', conversationId: '' }
  let first: At | undefined
  let last: At | undefined

  for (const { action, salt, tenant, conversationId } of envelopes) {
    const at = { position: action.position, occurredAt: action.occurredAt }
    first ??= at
    last = at
    key = { tenant, conversationId }
    if (salt === null) {
      // An erased body is only a structure; its ids may be there, its words are not.
      entries.push({ ...at, kind: 'erased', actionType: action.type })
      continue
    }
    // Stored actions were checked by their schemas; those of other slices fall through.
    const known = action as unknown as ConversationAction
    switch (known.type) {
      case 'conversationStarted':
        source = known.payload.source
        parent = known.payload.parent
        title = known.payload.title ?? title
        break
      case 'conversationForked': {
        const { parentId, position, messageId } = known.payload
        parent = { relation: 'fork', conversationId: parentId, position, ...(messageId !== undefined && { messageId }) }
        break
      }
      case 'conversationTitled':
        title = known.payload.title
        break
      case 'messageAdded':
        entries.push({ ...at, kind: 'message', message: known.payload.message, hidden: undefined })
        break
      case 'messageRedacted':
        redacted.add(known.payload.messageId)
        break
      case 'contextCompacted':
        entries.push({ ...at, kind: 'compaction', compaction: known.payload, hidden: undefined })
        break
      case 'compactionUndone':
        entries.push({ ...at, kind: 'compactionUndone', compactionPosition: known.payload.compactionPosition })
        break
      case 'errorRecorded':
        entries.push({ ...at, kind: 'error', error: known.payload })
        break
      case 'turnInterrupted':
        entries.push({ ...at, kind: 'interruption', reason: known.payload.reason })
        break
      case 'conversationCleared':
        entries.push({ ...at, kind: 'cleared', reason: known.payload.reason })
        break
      default:
    }
  }
  return { ...key, title, parent, source, first, last, entries: entries.map((entry) => hide(entry, redacted)) }
}

/** What was redacted must not be shown, wherever it stands; a summary may repeat it, and is redacted by its own id. */
function hide(entry: TranscriptEntry, redacted: ReadonlySet<string>): TranscriptEntry {
  if (entry.kind === 'message' && redacted.has(entry.message.id)) {
    const { v, id, role } = entry.message
    return { ...entry, message: { v, id, role, parts: [] }, hidden: 'redacted' }
  }
  const summary = entry.kind === 'compaction' ? entry.compaction.summary : undefined
  if (entry.kind === 'compaction' && summary && redacted.has(summary.message.id)) {
    const { summary: _, ...compaction } = entry.compaction
    return { ...entry, compaction, hidden: 'redacted' }
  }
  return entry
}
