/** Events of the SDK of 2026: `kind` says what they are. */
import {
  type ConversationAction,
  conversationTitled,
  errorRecorded,
  type Json,
  type JsonObject,
  metadataChanged,
  type Part,
  type SkippedRecord,
  type Usage,
  usageRecorded,
} from '@colloquy/core'
import { asCallId, asCount, asId, asList, asObject, asString } from '../fields.ts'
import {
  actionsEntry,
  createdAt,
  type FileRecord,
  foreignEntry,
  keptMeta,
  keptRecord,
  placeOf,
  saidEntry,
} from '../file-records.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { refusingAt } from '../refusal.ts'
import { argumentsFromText, argumentsFromValue } from '../tool-arguments.ts'
import { turnMarks } from '../turn-marks.ts'
import type { ThreadEntry, ThreadMessage } from '../write-thread.ts'
import { contentParts, format, statusOfExit, type ToolResult, timeOf } from './event-parts.ts'

/** Actions that came out of one answer of the model. */
interface Answer {
  readonly id: string
  readonly records: [FileRecord, ...FileRecord[]]
  readonly model: string | undefined
}

export function sdkEntries(
  source: string,
  records: readonly FileRecord[],
  media: MediaShelf,
  skipped: SkippedRecord[],
): ThreadEntry[] {
  const turns = turnMarks()
  const answers = new Map<string, Answer>()
  const counts = new Map<string, Counts>()
  /** The events that each message is made of. */
  const eventsOf = new Map<string, string[]>()
  const made: (ThreadEntry | Answer)[] = []
  let model: string | undefined
  let countedAt = 0

  for (const record of records) {
    const entry = refusingAt(source, record.line, () =>
      record.unread === undefined ? entryOf(record) : foreign(record, 'it says nothing'),
    )
    if (entry === undefined) continue
    made.push(entry)
    eventsOf.set(entry.id, [idOf(record)])
  }
  return made.map((entry) => ('records' in entry && !('kind' in entry) ? answerEntry(entry, media) : entry))

  /** Undefined: the event is in another entry, or listed as skipped. */
  function entryOf(record: FileRecord): ThreadEntry | Answer | undefined {
    const { fields } = record
    switch (fields.kind) {
      case 'SystemPromptEvent':
        return saidEntry(at(record), record, {
          role: 'system',
          parts: contentParts(asString(asObject(fields.system_prompt)?.text), media),
        })
      case 'MessageEvent':
        return messageEntry(record)
      case 'ActionEvent':
        return actionEntry(record)
      case 'ObservationEvent':
      case 'AgentErrorEvent':
      case 'UserRejectObservation':
        return resultEntry(record)
      case 'ConversationStateUpdateEvent':
        return stateEntry(record)
      case 'Condensation':
        return condensationEntry(record)
      case 'PauseEvent':
      case 'InterruptEvent': {
        const interrupted = turns.interrupt('paused', { meta: keptMeta(media, record) })
        return interrupted.length > 0 ? actionsEntry(at(record), ...interrupted) : foreign(record, 'a pause while no turn runs')
      }
      case 'ConversationErrorEvent':
      case 'ServerErrorEvent': {
        const problem = asString(fields.detail) || asString(fields.code) || 'the record does not say what failed'
        return actionsEntry(at(record), errorRecorded({ kind: 'openhands_error', problem }, { meta: keptMeta(media, record) }))
      }
      default:
        return foreign(record, 'a kind of event that this version does not know')
    }
  }

  function messageEntry(record: FileRecord): ThreadEntry {
    const message = asObject(record.fields.llm_message)
    if (message === undefined) return foreign(record, 'a message without anything said')
    const parts = contentParts(message.content, media)
    if (record.fields.source === 'agent') {
      const reasoning = asString(message.reasoning_content)
      const thought: Part[] = reasoning ? [{ type: 'reasoning', text: reasoning, redacted: false }] : []
      return saidEntry(at(record), record, { role: 'assistant', parts: [...thought, ...parts], ...modelOf(model) })
    }
    if (record.fields.source !== 'user') {
      const participant = { id: 'environment', kind: 'program' as const }
      return { ...saidEntry(at(record), record, { role: 'user', parts, meta: { kind: 'context' } }), participant }
    }
    return {
      ...saidEntry(at(record), record, { role: 'user', parts, meta: { kind: 'prompt' } }),
      before: turns.start(idOf(record)),
    }
  }

  function actionEntry(record: FileRecord): Answer | ThreadEntry | undefined {
    if (callPart(record.fields) === undefined) return foreign(record, 'an action without a call that could be read')
    const responseId = asString(record.fields.llm_response_id) || idOf(record)
    const known = answers.get(responseId)
    if (known) {
      known.records.push(record)
      eventsOf.get(known.id)?.push(idOf(record))
      return undefined
    }
    const answer: Answer = { id: idOf(record), records: [record], model }
    answers.set(responseId, answer)
    return answer
  }

  function resultEntry(record: FileRecord): ThreadEntry {
    const callId = asCallId(record.fields.tool_call_id)
    const result = callId === undefined ? undefined : resultOf(record.fields, callId, media)
    return result
      ? saidEntry(at(record), record, { role: 'tool', parts: [result] })
      : foreign(record, 'an observation that names no call')
  }

  function stateEntry(record: FileRecord): ThreadEntry | undefined {
    const { key, value } = record.fields
    if (key === 'stats') return statsEntry(record, asObject(asObject(value)?.usage_to_metrics) ?? {})
    if (key === 'execution_status' && typeof value === 'string') {
      const changed = metadataChanged({ set: { executionStatus: value } }, { meta: keptMeta(media, record) })
      return actionsEntry(at(record), changed, ...turnAt(value))
    }
    if (key === 'title' && typeof value === 'string' && value !== '') {
      return actionsEntry(at(record), conversationTitled({ title: value }, { meta: keptMeta(media, record) }))
    }
    return foreign(record, 'a state of the program')
  }

  function turnAt(status: string): ConversationAction[] {
    switch (status) {
      case 'finished':
      case 'idle':
        return turns.end(status)
      case 'paused':
      case 'error':
      case 'stuck':
        return turns.interrupt(status)
      default:
        return []
    }
  }

  /** Sums from the beginning on: what came since the last ones is told. */
  function statsEntry(record: FileRecord, metrics: JsonObject): ThreadEntry | undefined {
    const recorded = Object.entries(metrics).flatMap(([usageId, value]): ConversationAction[] => {
      const fields = asObject(value)
      const now = countsIn(fields)
      if (fields === undefined || now === undefined) return []
      const name = asString(fields.model_name)
      if (name && usageId !== 'condenser') model = name
      const usage = usageSince(counts.get(usageId), now, fields)
      counts.set(usageId, now)
      return usage ? [usageRecorded({ usage, ...(name && { model: { provider: 'litellm', id: name } }) })] : []
    })
    const [first, ...others] = recorded
    if (first === undefined) {
      const reason = countedAt === 0 ? 'no tokens so far' : `no more tokens than in line ${countedAt}`
      skipped.push({ line: record.line, recordType: 'ConversationStateUpdateEvent/stats', reason })
      return undefined
    }
    countedAt = record.line
    return actionsEntry(at(record), { ...first, meta: keptMeta(media, record) }, ...others)
  }

  function condensationEntry(record: FileRecord): ThreadEntry {
    const forgotten = new Set((asList(record.fields.forgotten_event_ids) ?? []).map((id) => asString(id)))
    const text = asString(record.fields.summary)
    return {
      kind: 'compaction',
      ...at(record),
      // Events of one answer are left out together: their reasoning belongs to all of them.
      keeps: (id) => eventsOf.get(id)?.some((eventId) => forgotten.has(eventId)) !== true,
      summary: text
        ? { role: 'user', parts: [{ type: 'compaction', content: text }], meta: { kind: 'compact_summary' } }
        : undefined,
      records: [keptRecord(record)],
      otherwise: foreign(record, 'a condensation of nothing that is in the file').actions,
    }
  }

  function foreign(record: FileRecord, reason: string) {
    const { kind, key } = record.fields
    const recordType = [kind, key].filter((name) => typeof name === 'string').join('/') || 'unknown'
    return foreignEntry({ format, record, recordType, reason, media, ...at(record) })
  }
}

const idOf = (record: FileRecord): string => asId(record.fields.id) ?? placeOf(record)
const at = (record: FileRecord) => ({ line: record.line, id: idOf(record), occurredAt: timeOf(record) })
const modelOf = (id: string | undefined) => id !== undefined && { model: { provider: 'litellm', api: 'chat', id } }

function answerEntry({ id, records, model }: Answer, media: MediaShelf): ThreadMessage {
  const [first] = records
  return {
    kind: 'message',
    ...at(first),
    id,
    message: {
      role: 'assistant',
      parts: records.flatMap(({ fields }) => actionParts(fields, media)),
      ...createdAt(at(first)),
      ...modelOf(model),
    },
    records: records.map((record) => keptRecord(record)),
  }
}

function actionParts(fields: JsonObject, media: MediaShelf): Part[] {
  const call = callPart(fields)
  return [...reasoningParts(fields), ...contentParts(fields.thought, media), ...(call ? [call] : [])]
}

/** Signed blocks where there are any: the text beside them is the same again. */
function reasoningParts(fields: JsonObject): Part[] {
  const blocks = (asList(fields.thinking_blocks) ?? []).flatMap((block): Part[] => {
    const { type, thinking, signature, data } = asObject(block) ?? {}
    const origin = { provider: 'anthropic', api: 'messages' }
    if (type === 'redacted_thinking' && typeof data === 'string')
      return [{ type: 'reasoning', encrypted: data, redacted: true, origin }]
    if (typeof thinking !== 'string') return [{ type: 'custom', kind: 'openhands.thinking', payload: block }]
    return [{ type: 'reasoning', text: thinking, ...(typeof signature === 'string' && { signature }), redacted: false, origin }]
  })
  const item = asObject(fields.responses_reasoning_item)
  const encrypted = asString(item?.encrypted_content)
  if (item !== undefined) {
    const summary = (asList(item.summary) ?? []).flatMap((text) => asString(text) ?? asString(asObject(text)?.text) ?? [])
    const origin = { provider: 'openai', api: 'responses' }
    const itemId = asId(item.id)
    blocks.push({
      type: 'reasoning',
      ...(itemId && { id: itemId }),
      summary,
      ...(encrypted && { encrypted }),
      redacted: false,
      origin,
    })
  }
  const text = asString(fields.reasoning_content)
  return blocks.length > 0 || !text ? blocks : [{ type: 'reasoning', text, redacted: false }]
}

function callPart(fields: JsonObject): Extract<Part, { type: 'tool_call' }> | undefined {
  const call = asObject(fields.tool_call)
  const callId = asCallId(call?.id) ?? asCallId(fields.tool_call_id)
  const name = asString(call?.name) ?? asString(fields.tool_name)
  if (callId === undefined || name === undefined) return undefined
  const given = call?.arguments
  const args = typeof given === 'string' ? argumentsFromText(given) : argumentsFromValue(given ?? fields.action)
  return { type: 'tool_call', callId, name, args, executor: { kind: 'client' } }
}

function resultOf(fields: JsonObject, callId: string, media: MediaShelf): ToolResult {
  const made = (status: ToolResult['status'], content: Json | undefined): ToolResult => ({
    type: 'tool_result',
    callId,
    status,
    content: contentParts(content, media),
  })
  if (fields.kind === 'AgentErrorEvent') return made('error', fields.error)
  if (fields.kind === 'UserRejectObservation') return made('denied', fields.rejection_reason)
  const observation = asObject(fields.observation) ?? {}
  const status =
    observation.is_error === true ? 'error' : observation.timeout === true ? 'unknown' : statusOfExit(observation.exit_code)
  return made(status, observation.content ?? observation.output)
}

/** Sums over all calls for one purpose. */
interface Counts {
  readonly prompt: number
  readonly completion: number
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly reasoning: number
  readonly costMicros: number
}

function countsIn(metrics: JsonObject | undefined): Counts | undefined {
  const tokens = asObject(metrics?.accumulated_token_usage)
  const [prompt, completion] = [asCount(tokens?.prompt_tokens), asCount(tokens?.completion_tokens)]
  if (tokens === undefined || prompt === undefined || completion === undefined) return undefined
  const cost = metrics?.accumulated_cost
  return {
    prompt,
    completion,
    cacheRead: asCount(tokens.cache_read_tokens) ?? 0,
    cacheWrite: asCount(tokens.cache_write_tokens) ?? 0,
    reasoning: asCount(tokens.reasoning_tokens) ?? 0,
    costMicros: (typeof cost === 'number' ? asCount(Math.round(cost * 1_000_000)) : undefined) ?? 0,
  }
}

/** `prompt` holds what was read from the cache and written to it. */
function usageSince(before: Counts | undefined, now: Counts, raw: JsonObject): Usage | undefined {
  const since = (pick: (counts: Counts) => number): number => Math.max(0, pick(now) - (before ? pick(before) : 0))
  const [prompt, output] = [since((c) => c.prompt), since((c) => c.completion)]
  const costMicros = since((c) => c.costMicros)
  if (prompt + output + costMicros === 0) return undefined
  const cacheRead = Math.min(
    since((c) => c.cacheRead),
    prompt,
  )
  const cacheWrite = Math.min(
    since((c) => c.cacheWrite),
    prompt - cacheRead,
  )
  return {
    input: prompt - cacheRead - cacheWrite,
    output,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: cacheWrite },
    reasoning: Math.min(
      since((c) => c.reasoning),
      output,
    ),
    ...(costMicros > 0 && { costMicros }),
    raw,
  }
}
