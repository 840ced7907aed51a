/** One conversation of a session file: its units become commands, in file order. */
import {
  type ConversationAction,
  contextCompacted,
  conversationStarted,
  conversationTitled,
  errorRecorded,
  foreignRecordKept,
  type ImportedCommand,
  type ImportedConversation,
  type ImportRemark,
  type JsonObject,
  type Message,
  messageAdded,
  metadataChanged,
  type Part,
  participantJoined,
  participantLeft,
  toolRequested,
  turnEnded,
  turnInterrupted,
  turnStarted,
  usageRecorded,
} from '@colloquy/core'
import { countTokens, tokenCounter } from '../../count-tokens.ts'
import { conversationWriter } from '../conversation-writer.ts'
import { asCallId, asObject, asString } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { refusingAt } from '../refusal.ts'
import type { SourceFile } from '../source-file.ts'
import { toolEnded } from '../tool-ended.ts'
import { type ImportNotes, walkedConversation } from '../walked-conversation.ts'
import { apiError } from './api-error.ts'
import { keptRecord } from './kept-record.ts'
import { partOf, toolResultPart } from './parts.ts'
import { blocksOf, commandIdOf, plainTextOf, type SessionRecord } from './record.ts'
import { unifiedStop } from './stop-reason.ts'
import { durationOf, statusOf } from './tool-outcome.ts'
import { type TurnEnds, turnEnds } from './turns.ts'
import { isApiErrorMessage, isSummary, isSynthetic, planUnits, type Unit } from './units.ts'
import { usageOf } from './usage.ts'

type Started = Parameters<typeof conversationStarted>[0]

/** A call with a prompt, which may have begun a sidechain. */
export interface PromptingCall {
  readonly conversationId: string
  readonly messageId: string
  readonly callId: string
  readonly prompt: string
  readonly line: number
}

export interface BranchToWrite {
  readonly source: string
  readonly conversationId: string
  readonly started: Started
  readonly records: readonly SessionRecord[]
  /** Of the whole file. */
  readonly uuids: ReadonlySet<string>
  readonly envelopeBytes: number
  readonly file: Pick<SourceFile, 'isHeld' | 'sha256'>
}

const format = 'claude-code'
const person = 'user'
const callingAgent = 'parent'

/**
 * The conversation of a branch; its calls with a prompt are added to `calls`.
 * @throws `import_refused` with the line, when a record cannot be stored
 */
export function writeBranch(branch: BranchToWrite, calls: PromptingCall[], notes: ImportNotes): ImportedConversation {
  const units = planUnits(branch.records, branch.uuids)
  const plan = { units, ends: turnEnds(units, turnIdOf) }
  const about = { conversationId: branch.conversationId, format, envelopeBytes: branch.envelopeBytes }
  return walkedConversation(about, branch.file, notes, (media, walkNotes) =>
    branchCommands(branch, plan, media, walkNotes.remarks, walkNotes === notes ? calls : []),
  )
}

function* branchCommands(
  { source, conversationId, started, records, envelopeBytes }: BranchToWrite,
  { units, ends }: { readonly units: readonly Unit[]; readonly ends: TurnEnds },
  media: MediaShelf,
  remarks: ImportRemark[],
  promptingCalls: PromptingCall[],
): Generator<ImportedCommand> {
  const writer = conversationWriter(envelopeBytes, media)
  const isSidechain = started.parent !== undefined
  const metadata = new Map<string, string>()
  const joined = new Set<string>()
  let modelId: string | undefined

  // Records without a time of their own happened when the one before them did.
  let time = records.find((record) => record.occurredAt !== undefined)?.occurredAt

  yield refusingAt(source, records[0]?.line ?? 1, () => writer.write('claude-code:started', time, [conversationStarted(started)]))
  for (const [index, unit] of units.entries()) {
    const [first] = unit.records
    time = first.occurredAt ?? time
    const interrupted = ends.at.get(index)
    const interruption = interrupted ? [turnInterrupted(interrupted)] : []
    const isNextTurn = unit.kind === 'user' && unit.speech === 'prompt'
    yield refusingAt(source, first.line, () =>
      writer.write(unit.kind === 'answer' ? `claude-code:message:${unit.answerId}` : commandIdOf(first), time, [
        ...metadataOf(unit.records),
        ...(isNextTurn ? interruption : []),
        ...actionsOf(unit),
        ...(isNextTurn ? [] : interruption),
      ]),
    )
    const ended = ends.after.get(index)
    if (ended) {
      const endedAt = unit.records.at(-1)?.occurredAt ?? time
      yield refusingAt(source, first.line, () =>
        writer.write(`claude-code:turn-ended:${ended.turnId}`, endedAt, [turnEnd(ended)]),
      )
    }
  }

  function actionsOf(unit: Unit): ConversationAction[] {
    switch (unit.kind) {
      case 'answer':
        return answer(unit)
      case 'user':
        return unit.speech === 'tool_results' ? toolResults(unit.records[0]) : userMessage(unit)
      case 'compaction':
        return compaction(unit.records)
      case 'apiError':
        return [apiError(unit.records[0], media, metaOf(unit.records, []))]
      case 'title':
        return [conversationTitled({ title: unit.records[0].fields.summary as string }, { meta: metaOf(unit.records, []) })]
      case 'foreign':
        return [foreign(unit.records[0], unit.reason)]
      default:
        return unit satisfies never
    }
  }

  function answer({ answerId, records: pieces }: Extract<Unit, { kind: 'answer' }>): ConversationAction[] {
    const partsByRecord = pieces.map((record) => (blocksOf(record) ?? []).map((block) => partOf(block, media)))
    const messageId = writer.uniqueMessageId(answerId)
    const usage = isSynthetic(pieces) ? undefined : usageOf(pieces)
    const model = isSynthetic(pieces) ? undefined : asString(pieces[0].message?.model)
    const calls = callsIn(partsByRecord.flat())
    const message: Message = {
      v: 1,
      id: messageId,
      role: 'assistant',
      parts: partsByRecord.flat().map((part) => inBatch(part, calls.length > 1 ? messageId : undefined)),
      author: model === undefined ? { name: 'Claude Code' } : { id: participantIdOf(model) },
      ...createdAt(pieces[0]),
      ...(model === undefined ? { meta: { kind: 'synthetic' } } : { model: modelOf(model, pieces) }),
    }
    return [
      ...(model === undefined ? [] : modelJoins(participantIdOf(model))),
      addMessage(message, pieces, partsByRecord),
      ...(isApiErrorMessage(pieces) ? [errorRecorded({ kind: 'api_error', problem: textOf(message.parts) })] : []),
      ...calls.map((call) => requested(messageId, call, pieces[0].line)),
      ...message.parts.flatMap((part) => providerResult(part, messageId)),
      ...(usage
        ? [usageRecorded({ usage, messageId, ...(model !== undefined && { model: { provider: 'anthropic', id: model } }) })]
        : []),
    ]
  }

  function requested(messageId: string, { callId, name, args }: Extract<Part, { type: 'tool_call' }>, line: number) {
    writer.openCall({ messageId, callId })
    const prompt = asObject(args.json)?.prompt
    if (typeof prompt === 'string') promptingCalls.push({ conversationId, messageId, callId, prompt, line })
    return toolRequested({ messageId, callId, name })
  }

  function userMessage({ speech, records }: Extract<Unit, { kind: 'user' }>): ConversationAction[] {
    const [record] = records
    const parts = (blocksOf(record) ?? []).map((block) => partOf(block, media))
    const messageId = writer.uniqueMessageId(idOf(record))
    const author = isSidechain ? callingAgent : person
    const isSaid = speech === 'prompt' || speech === 'interruption'
    const message: Message = {
      v: 1,
      id: messageId,
      role: 'user',
      parts,
      ...(isSaid && { author: { id: author } }),
      ...createdAt(record),
      meta: { kind: speech },
    }
    return [
      ...(isSaid ? joins(author) : []),
      ...(speech === 'prompt' ? [turnStarted({ turnId: idOf(record) })] : []),
      addMessage(message, [record], [parts]),
    ]
  }

  function toolResults(record: SessionRecord): ConversationAction[] {
    const messageId = writer.uniqueMessageId(idOf(record))
    const blocks = blocksOf(record) ?? []
    const results = blocks.filter((block) => asObject(block)?.type === 'tool_result')
    // The richer copy beside the results belongs to one call, so it tells of a single result only.
    const details = results.length === 1 ? record.fields.toolUseResult : undefined
    const ends: ConversationAction[] = []
    const parts = blocks.map((block): Part => {
      const fields = asObject(block)
      if (fields?.type !== 'tool_result') return partOf(block, media)
      const callId = asCallId(fields.tool_use_id)
      const call = callId === undefined ? undefined : writer.closeCall(callId)
      if (call === undefined)
        remarks.push({
          line: record.line,
          remark: `the result of ${callId ?? 'a call without id'} answers no open call; it is kept as a message`,
        })
      const part = toolResultPart(fields, statusOf(fields, details), call?.messageId, media)
      if (part === undefined) return partOf(block, media)
      if (call !== undefined) ends.push(toolEnded(part, call.messageId, messageId, durationOf(details)))
      return part
    })
    const message: Message = { v: 1, id: messageId, role: 'tool', parts, ...createdAt(record), meta: { kind: 'tool_results' } }
    return [addMessage(message, [record], [parts]), ...ends]
  }

  /** Results of the provider's own tools stand in the answer itself, or in a later one. */
  function providerResult(part: Part, resultMessageId: string): ConversationAction[] {
    const call = part.type === 'tool_result' ? writer.closeCall(part.callId) : undefined
    return part.type === 'tool_result' && call ? [toolEnded(part, call.messageId, resultMessageId)] : []
  }

  function compaction(pair: readonly SessionRecord[]): ConversationAction[] {
    const summaryRecord = pair.find(isSummary)
    const boundary = pair.find((record) => !isSummary(record))
    const { messageIds, ranges, tokens } = writer.workingSet()
    const parts = summaryRecord ? summaryParts(summaryRecord) : []
    const meta = metaOf(
      pair,
      pair.map((record) => (record === summaryRecord ? parts : [])),
    )
    const tokenCount = countTokens(parts)
    const message: Message | undefined = summaryRecord && {
      v: 1,
      id: writer.uniqueMessageId(idOf(summaryRecord)),
      role: 'user',
      parts,
      ...createdAt(summaryRecord),
      meta: { kind: 'compact_summary' },
    }
    if (messageIds.length === 0) {
      // The file begins with the summary of a session that it does not hold.
      if (message) return [messageAdded({ message, tokenCount, tokenCounter }, { meta })]
      return boundary ? [foreign(boundary, 'a compaction with nothing before it in the file')] : []
    }
    return [
      contextCompacted(
        {
          covered: { messageIds, ranges, tokens },
          ...(message && { summary: { message, tokenCount } }),
          strategy: 'claude-code',
          trigger: 'imported',
          before: { messages: messageIds.length, tokens },
          after: { messages: message ? 1 : 0, tokens: tokenCount },
        },
        { meta, derivedFrom: ranges },
      ),
    ]
  }

  function summaryParts(record: SessionRecord): Part[] {
    const text = plainTextOf(record)
    return text === undefined || Array.isArray(record.message?.content)
      ? (blocksOf(record) ?? []).map((block) => partOf(block, media))
      : [{ type: 'compaction', content: text }]
  }

  function foreign(record: SessionRecord, reason: string) {
    return foreignRecordKept({ format, recordType: record.type, line: record.line, reason, record: media.replaceIn(record.raw) })
  }

  function addMessage(message: Message, from: readonly SessionRecord[], partsByRecord: readonly (readonly Part[])[]) {
    return messageAdded({ message, tokenCount: countTokens(message.parts), tokenCounter }, { meta: metaOf(from, partsByRecord) })
  }

  function metaOf(from: readonly SessionRecord[], partsByRecord: readonly (readonly Part[])[]): JsonObject {
    return { records: from.map((record, index) => keptRecord(record, partsByRecord[index] ?? [], media)) }
  }

  /** Where the session ran, when a record says it for the first time or otherwise than before. */
  function metadataOf(from: readonly SessionRecord[]): ConversationAction[] {
    const set: Record<string, string> = {}
    for (const { fields } of from) {
      for (const [field, key] of [
        ['cwd', 'cwd'],
        ['gitBranch', 'gitBranch'],
        ['version', 'claudeCodeVersion'],
      ] as const) {
        const value = fields[field]
        if (typeof value !== 'string' || metadata.get(key) === value) continue
        metadata.set(key, value)
        set[key] = value
      }
    }
    return Object.keys(set).length > 0 ? [metadataChanged({ set })] : []
  }

  function joins(participantId: string): ConversationAction[] {
    if (joined.has(participantId)) return []
    joined.add(participantId)
    return [participantJoined({ participantId, kind: participantId === person ? 'person' : 'program' })]
  }

  function modelJoins(participantId: string): ConversationAction[] {
    if (participantId === modelId) return []
    const left = modelId
    modelId = participantId
    return [
      ...(left === undefined ? [] : [participantLeft({ participantId: left, reason: `replaced by ${participantId}` })]),
      participantJoined({ participantId, kind: 'model' }),
    ]
  }
}

/** Ids of messages of the user's side, and of the turns they begin. */
const idOf = (record: SessionRecord): string => record.uuid ?? `line-${record.line}.${record.ordinal}`
const turnIdOf = (unit: Unit): string => idOf(unit.records[0])

const createdAt = ({ occurredAt }: SessionRecord) => occurredAt !== undefined && { createdAt: occurredAt }

const participantIdOf = (model: string): string => model.slice(0, 200) || 'model'

function turnEnd({ turnId, isFailed }: { turnId: string; isFailed: boolean }): ConversationAction {
  return isFailed ? turnInterrupted({ turnId, reason: 'the API failed' }) : turnEnded({ turnId })
}

/** The calls of an answer. A call id that stands twice in one answer is requested once: an id is unique inside its message. */
function callsIn(parts: readonly Part[]): Extract<Part, { type: 'tool_call' }>[] {
  const calls = parts.filter((part) => part.type === 'tool_call')
  return calls.filter((call, index) => calls.findIndex(({ callId }) => callId === call.callId) === index)
}

const inBatch = (part: Part, batchId: string | undefined): Part =>
  part.type === 'tool_call' && batchId !== undefined ? { ...part, batchId } : part

function modelOf(id: string, pieces: readonly SessionRecord[]): NonNullable<Message['model']> {
  const responseId = asString(pieces[0]?.message?.id)
  const raw = pieces.map((record) => asString(record.message?.stop_reason)).findLast((reason) => reason !== undefined)
  return {
    provider: 'anthropic',
    api: 'messages',
    id,
    ...(responseId !== undefined && { responseId }),
    ...(raw !== undefined && { stop: { unified: unifiedStop(raw), raw } }),
  }
}

function textOf(parts: readonly Part[]): string {
  return parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
}
