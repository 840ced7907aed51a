/** A list of messages, whatever wrote it, as the commands of one conversation: participants, turns, calls and their ends, usage. */
import {
  type ConversationAction,
  contextCompacted,
  conversationStarted,
  type HeldConversation,
  type ImportedCommand,
  type ImportedConversation,
  type ImportedFork,
  type ImportRemark,
  type JsonObject,
  type Message,
  messageAdded,
  type Part,
  participantJoined,
  participantLeft,
  toolRequested,
  turnEnded,
  turnInterrupted,
  turnStarted,
  type Usage,
  usageRecorded,
} from '@colloquy/core'
import { countTokens, tokenCounter } from '../count-tokens.ts'
import { conversationWriter } from './conversation-writer.ts'
import type { MediaShelf } from './media-shelf.ts'
import { refusingAt } from './refusal.ts'
import type { SourceFile } from './source-file.ts'
import { toolEnded } from './tool-ended.ts'
import { type ImportNotes, walkedConversation } from './walked-conversation.ts'
import { type Words, withoutWords, wordsOf } from './without-words.ts'

export interface ThreadMessage {
  readonly kind: 'message'
  /** Where it stands in the file, from 1; for errors and remarks, and never stored. */
  readonly line: number
  /** Of the record, or made from its place: the command id is `<format>:<id>`, the message's id is this unless another has it. */
  readonly id: string
  readonly message: Omit<Message, 'v' | 'id'>
  /** Microseconds since 1970; a message without a time happened when the one before it did. */
  readonly occurredAt?: number | undefined
  readonly usage?: Usage | undefined
  /** Who speaks, when it is neither the one person nor the model of the message. */
  readonly participant?:
    | { readonly id: string; readonly kind: 'person' | 'model' | 'program'; readonly name?: string }
    | undefined
  /** What the message was made of, for `meta.records`; words that stand in the message are taken out. */
  readonly records: readonly JsonObject[]
  /** Words of the records that stand in another message made of them; see `wordsOf`. */
  readonly otherWords?: Words
  /** Begins a turn; default: a user's message without results. */
  readonly isPrompt?: boolean
  /** How long the tools ran whose results are in it. */
  readonly durationMs?: number | undefined
  /** What the same record says beside its message, in the same command. */
  readonly before?: readonly ConversationAction[]
  readonly after?: readonly ConversationAction[]
}

/** From here on the model is shown a summary, or nothing, instead of earlier messages. */
export interface ThreadCompaction {
  readonly kind: 'compaction'
  readonly line: number
  readonly id: string
  readonly occurredAt?: number | undefined
  /** Which messages, by the id of their entry, it is shown as before; default: none. Summaries of earlier compactions never stay. */
  readonly keeps?: (id: string) => boolean
  readonly summary?: Omit<Message, 'v' | 'id'> | undefined
  readonly records: readonly JsonObject[]
  /** What the record is when there is neither anything to cover nor a summary. */
  readonly otherwise: readonly ConversationAction[]
}

/** What is no message: actions as they are, under a command id of their own. */
export interface ThreadActions {
  readonly kind: 'actions'
  readonly line: number
  readonly id: string
  readonly occurredAt?: number | undefined
  readonly actions: readonly ConversationAction[]
}

export type ThreadEntry = ThreadMessage | ThreadActions | ThreadCompaction

/** What all threads say of themselves. */
interface ThreadFrame {
  readonly source: string
  readonly format: string
  readonly conversationId: string
  /** What `conversationStarted` says; a fork was started by its root. */
  readonly started: Parameters<typeof conversationStarted>[0] | ImportedFork
  readonly envelopeBytes: number
  /** `marked`: the format says itself where turns begin and end, in `before`, `after` and `actions`. Default: see `turnsOf`. */
  readonly turns?: 'marked'
}

export interface Thread extends ThreadFrame {
  readonly entries: readonly ThreadEntry[]
  readonly media: MediaShelf
}

/** A thread whose entries are made anew each time they are walked. */
export interface LongThread extends ThreadFrame {
  readonly turns: 'marked'
  /** Also of the first entry that has a time. */
  readonly startedAt: number | undefined
  readonly entriesFor: EntriesFor
  readonly file: Pick<SourceFile, 'isHeld' | 'sha256'>
}

/** The entries, with files put on a shelf, and records that are left out, or worth a remark, told. */
type EntriesFor = (media: MediaShelf, notes: ImportNotes) => Iterable<ThreadEntry>

export interface WrittenThread<Conversation extends ImportedConversation = HeldConversation> {
  readonly conversation: Conversation
  readonly remarks: readonly ImportRemark[]
}

const person = 'user'

const isFork = (started: ThreadFrame['started']): started is ImportedFork => 'afterCommandId' in started

/** @throws `import_refused` with the line, when an entry cannot be stored */
export function writeThread(thread: Thread): WrittenThread {
  const { entries, media, conversationId, format } = thread
  const remarks: ImportRemark[] = []
  const startedAt = entries.find(({ occurredAt }) => occurredAt !== undefined)?.occurredAt
  const turns = turnsOf(thread.turns === 'marked' ? [] : entries)
  const commands = [...threadCommands({ ...thread, startedAt, turns: turns }, remarks)]
  const fork = isFork(thread.started) && { fork: thread.started }
  return { conversation: { conversationId, ...fork, format, commands, media: media.all() }, remarks }
}

/** The same for entries that are made anew in each walk. @throws `import_refused` with the line, when an entry cannot be stored */
export function writeLongThread(thread: LongThread, notes: ImportNotes): ImportedConversation {
  const { entriesFor, file, ...frame } = thread
  return walkedConversation(thread, file, notes, (media, walkNotes) =>
    threadCommands({ ...frame, entries: entriesFor(media, walkNotes), media, turns: turnsOf([]) }, walkNotes.remarks),
  )
}

interface ThreadWalk extends Omit<ThreadFrame, 'turns'> {
  readonly entries: Iterable<ThreadEntry>
  readonly media: MediaShelf
  readonly startedAt: number | undefined
  readonly turns: Turns
}

function* threadCommands(thread: ThreadWalk, remarks: ImportRemark[]): Generator<ImportedCommand> {
  const { source, format, started, entries, media, envelopeBytes, turns } = thread
  const writer = conversationWriter(envelopeBytes, media)
  /** The entry of each message. */
  const written = new Map<string, string>()
  const joined = new Set<string>()
  let presentModel: string | undefined
  let time = thread.startedAt
  let isFirst = true

  for (const entry of entries) {
    const { line, id, occurredAt } = entry
    if (isFirst && !isFork(started))
      yield refusingAt(source, line, () => writer.write(`${format}:started`, time, [conversationStarted(started)]))
    isFirst = false
    time = occurredAt ?? time
    yield refusingAt(source, line, () => {
      const before = turns.interruptedAt.get(entry)
      const actions = actionsOf(entry)
      return writer.write(`${format}:${id}`, time, before === undefined ? actions : [turnInterrupted(before), ...actions])
    })
    const turnId = turns.endsAfter.get(entry)
    if (turnId !== undefined) {
      yield refusingAt(source, line, () => writer.write(`${format}:turn-ended:${turnId}`, time, [turnEnded({ turnId })]))
    }
  }
  if (isFirst && !isFork(started))
    yield refusingAt(source, 1, () => writer.write(`${format}:started`, time, [conversationStarted(started)]))

  function actionsOf(entry: ThreadEntry): readonly ConversationAction[] {
    switch (entry.kind) {
      case 'message':
        return messageActions(entry)
      case 'compaction':
        return compactionActions(entry)
      case 'actions':
        return entry.actions
      default:
        return entry satisfies never
    }
  }

  function compactionActions(entry: ThreadCompaction): readonly ConversationAction[] {
    const { messageIds, ranges, tokens, standsAt } = writer.workingSet((messageId) => {
      const entryId = written.get(messageId)
      return entryId === undefined || entry.keeps?.(entryId) !== true
    })
    if (messageIds.length === 0 && entry.summary === undefined) return entry.otherwise
    const message: Message | undefined = entry.summary && { v: 1, id: writer.uniqueMessageId(entry.id), ...entry.summary }
    const meta = metaOf(entry.records, message)
    const tokenCount = countTokens(message?.parts ?? [])
    // The file begins with the summary of what it does not hold.
    if (messageIds.length === 0 && message) return [messageAdded({ message, tokenCount, tokenCounter }, meta)]
    const all = writer.workingSet()
    return [
      contextCompacted(
        {
          covered: { messageIds, ranges, tokens },
          ...(message && { summary: { message, tokenCount } }),
          ...(standsAt !== undefined && { standsAt }),
          strategy: format,
          trigger: 'imported',
          before: { messages: all.messageIds.length, tokens: all.tokens },
          after: {
            messages: all.messageIds.length - messageIds.length + (message ? 1 : 0),
            tokens: all.tokens - tokens + tokenCount,
          },
        },
        { ...meta, derivedFrom: ranges },
      ),
    ]
  }

  function metaOf(records: readonly JsonObject[], message?: Message, otherWords: Words = new Map()): { meta?: JsonObject } {
    if (records.length === 0) return {}
    const words = new Map([...otherWords, ...(message ? wordsOf(message) : [])])
    return { meta: { records: records.map((record) => withoutWords(media.replaceIn(record), words)) } }
  }

  function messageActions(entry: ThreadMessage): ConversationAction[] {
    const { usage, records, line } = entry
    const messageId = writer.uniqueMessageId(entry.id)
    written.set(messageId, entry.id)
    const calls = entry.message.parts.filter((part) => part.type === 'tool_call')
    const requested: ConversationAction[] = []
    const ended: ConversationAction[] = []
    const parts = entry.message.parts.map((part): Part => {
      if (part.type === 'tool_call') {
        // An id is unique inside its message: a call that repeats one is a part, but no second request.
        if (calls.find(({ callId }) => callId === part.callId) === part) {
          writer.openCall({ messageId, callId: part.callId })
          requested.push(toolRequested({ messageId, callId: part.callId, name: part.name }))
        }
        return calls.length > 1 && part.batchId === undefined ? { ...part, batchId: messageId } : part
      }
      if (part.type !== 'tool_result') return part
      const call = writer.closeCall(part.callId)
      if (call === undefined) {
        remarks.push({ line, remark: `the result of ${part.callId} answers no open call; it is kept as a message` })
        return part
      }
      const result = { ...part, callMessageId: call.messageId }
      ended.push(toolEnded(result, call.messageId, messageId, entry.durationMs))
      return result
    })
    const { participant, joins } = speaker(entry)
    const message: Message = {
      v: 1,
      id: messageId,
      ...entry.message,
      parts,
      ...(participant !== undefined && entry.message.author === undefined && { author: { id: participant } }),
    }
    const { model } = entry.message
    return [
      ...(entry.before ?? []),
      ...joins,
      ...(turns.startsAt.has(entry) ? [turnStarted({ turnId: entry.id })] : []),
      messageAdded({ message, tokenCount: countTokens(parts), tokenCounter }, metaOf(records, message, entry.otherWords)),
      ...requested,
      ...ended,
      ...(usage
        ? [usageRecorded({ usage, messageId, ...(model && { model: { provider: model.provider, id: model.id } }) })]
        : []),
      ...(entry.after ?? []),
    ]
  }

  function speaker({ message, participant }: ThreadMessage): { participant: string | undefined; joins: ConversationAction[] } {
    if (participant !== undefined) {
      const { id, kind, name } = participant
      if (kind === 'model') return { participant: id, joins: modelJoins(id) }
      return { participant: id, joins: joins(id, kind, name) }
    }
    if (message.role === 'user') return { participant: person, joins: joins(person, 'person') }
    const model = message.role === 'assistant' ? message.model?.id.slice(0, 200) : undefined
    return { participant: model || undefined, joins: model ? modelJoins(model) : [] }
  }

  function joins(participantId: string, kind: 'person' | 'program', name?: string): ConversationAction[] {
    if (joined.has(participantId)) return []
    joined.add(participantId)
    return [participantJoined({ participantId, kind, ...(name !== undefined && { name }) })]
  }

  function modelJoins(participantId: string): ConversationAction[] {
    if (participantId === presentModel) return []
    const left = presentModel
    presentModel = participantId
    return [
      ...(left === undefined ? [] : [participantLeft({ participantId: left, reason: `replaced by ${participantId}` })]),
      participantJoined({ participantId, kind: 'model' }),
    ]
  }
}

interface Turns {
  readonly startsAt: ReadonlySet<ThreadEntry>
  readonly endsAfter: ReadonlyMap<ThreadEntry, string>
  readonly interruptedAt: ReadonlyMap<ThreadEntry, { readonly turnId: string; readonly reason: string }>
}

/**
 * A turn runs from a prompt to the last answer before the next one, when that calls no tool; else it was interrupted. Prompts that
 * follow each other are one. The turn at the end is still running unless the last message is such an answer.
 */
function turnsOf(entries: readonly ThreadEntry[]): Turns {
  const startsAt = new Set<ThreadEntry>()
  const endsAfter = new Map<ThreadEntry, string>()
  const interruptedAt = new Map<ThreadEntry, { turnId: string; reason: string }>()
  let turnId: string | undefined
  let last: ThreadMessage | undefined
  const taken = new Set<string>()

  for (const entry of entries) {
    if (entry.kind !== 'message') continue
    if (!isPrompt(entry)) {
      if (entry.message.role === 'assistant' || isToolMessage(entry)) last = entry
      continue
    }
    if (turnId !== undefined && last === undefined) continue
    if (turnId !== undefined && !endAfterAnswer()) {
      interruptedAt.set(entry, { turnId, reason: 'the next prompt came before a final answer' })
    }
    last = undefined
    turnId = taken.has(entry.id) ? undefined : entry.id
    taken.add(entry.id)
    if (turnId !== undefined) startsAt.add(entry)
  }
  endAfterAnswer()
  return { startsAt, endsAfter, interruptedAt }

  function endAfterAnswer(): boolean {
    if (turnId === undefined || last === undefined || !isFinal(last.message)) return false
    endsAfter.set(last, turnId)
    return true
  }
}

const isToolMessage = ({ message }: ThreadMessage): boolean =>
  message.role === 'tool' || message.parts.some(({ type }) => type === 'tool_result')

const isPrompt = (entry: ThreadMessage): boolean => entry.isPrompt ?? (entry.message.role === 'user' && !isToolMessage(entry))

/** An answer that waits for nothing: calls of the provider's own tools are answered inside it. */
function isFinal({ role, parts }: ThreadMessage['message']): boolean {
  const answered = new Set(parts.flatMap((part) => (part.type === 'tool_result' ? [part.callId] : [])))
  return role === 'assistant' && parts.every((part) => part.type !== 'tool_call' || answered.has(part.callId))
}
