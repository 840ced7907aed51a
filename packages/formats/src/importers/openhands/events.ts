/** Events of 2024 and 2025: `action` or `observation` says what they are. */
import {
  type ConversationAction,
  errorRecorded,
  type JsonObject,
  metadataChanged,
  type Part,
  type SkippedRecord,
} from '@colloquy/core'
import { asCallId, asCount, asList, asObject, asString } from '../fields.ts'
import { actionsEntry, type FileRecord, foreignEntry, keptMeta, keptRecord, saidEntry } from '../file-records.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { bodyOf, modelFrom, usageFrom } from '../messages/openai-chat-message.ts'
import { refusingAt } from '../refusal.ts'
import { argumentsFromValue } from '../tool-arguments.ts'
import { turnMarks } from '../turn-marks.ts'
import { type Words, wordsOf } from '../without-words.ts'
import type { ThreadEntry, ThreadMessage } from '../write-thread.ts'
import { contentParts, format, pictureParts, statusOfExit, type ToolResult, timeOf } from './event-parts.ts'

/** An event, wherever its version puts what it says. */
interface Event {
  readonly record: FileRecord
  readonly id: string
  readonly action: string | undefined
  readonly observation: string | undefined
  readonly source: string | undefined
  /** What the action was asked to do; 2024 has it beside the name. */
  readonly args: JsonObject
  /** What the observation says besides its content. */
  readonly extras: JsonObject
  readonly cause: number | undefined
}

function eventOf(record: FileRecord, list: string): Event {
  const { fields, line, ordinal } = record
  const number = asCount(fields.id)
  return {
    record,
    id: number === undefined ? `${list}:${line}${ordinal > 1 ? `.${ordinal}` : ''}` : `event:${number}`,
    action: asString(fields.action),
    observation: asString(fields.observation),
    source: asString(fields.source),
    args: asObject(fields.args) ?? fields,
    extras: asObject(fields.extras) ?? fields,
    cause: asCount(fields.cause),
  }
}

/** An answer of the model gathers the events that came out of it; it becomes a message when all of them are known. */
interface Answer {
  readonly event: Event
  readonly response: JsonObject
  readonly parts: readonly Part[]
  readonly records: FileRecord[]
  readonly after: ConversationAction[]
}

interface EventList {
  /** Names the file in errors. */
  readonly source: string
  /** Names the place of events without a number. */
  readonly name: string
  readonly records: readonly FileRecord[]
  /** In which line they all are, where they are a list in one of several. */
  readonly line?: number
}

export function eventEntries(
  { source, name: list, records, line }: EventList,
  media: MediaShelf,
  skipped: SkippedRecord[],
): ThreadEntry[] {
  const turns = turnMarks()
  const answers = new Map<string, Answer>()
  const made: (ThreadEntry | Answer)[] = []
  /** The call that each action is, and the words of the message that holds it. */
  const callOf = new Map<string, { readonly callId: string; readonly words: Words }>()
  const open: { readonly callId: string; readonly name: string }[] = []
  /** The numbers of the events that each message is made of. */
  const numbersOf = new Map<string, readonly (number | undefined)[]>()
  let speaker: 'user' | 'agent' | undefined

  for (const record of records) {
    const event = eventOf(record, list)
    const entry = refusingAt(source, line ?? record.line, () =>
      record.unread === undefined ? entryOf(event) : foreign(event, 'it says nothing'),
    )
    if (entry === undefined) continue
    made.push(entry)
    numbersOf.set(event.id, [asCount(record.fields.id)])
  }
  return made.map((entry) => ('response' in entry ? answerEntry(entry) : entry))

  /** Undefined: the event is in another entry, or listed as skipped. */
  function entryOf(event: Event): ThreadEntry | Answer | undefined {
    if (event.observation !== undefined) return observationEntry(event)
    switch (event.action) {
      case undefined:
        return foreign(event, 'neither an action nor an observation')
      case 'message':
        return messageEntry(event)
      case 'system':
        return saidEntry(at(event), event.record, { role: 'system', parts: contentParts(event.args.content, media) })
      case 'condensation':
        return condensationEntry(event)
      case 'change_agent_state':
        return foreign(event, 'a request for a state; the change is an event of its own')
      default:
        // Without a source it is of 2024, when only agents acted.
        if (event.source !== undefined && event.source !== 'agent') return foreign(event, 'an action of the program itself')
        return event.action === 'null' ? foreign(event, 'an action that does nothing') : actionEntry(event)
    }
  }

  function messageEntry(event: Event): ThreadMessage {
    const { content, image_urls: pictures, images_urls: older, wait_for_response: waits } = event.args
    const parts = [...contentParts(content, media), ...pictureParts(pictures ?? older, media)]
    // 2024 does not say who speaks: the task comes first, and only a person answers a message of the agent.
    const isAgent = event.source === undefined ? speaker !== undefined && !isAgentsMessage(made.at(-1)) : event.source !== 'user'
    speaker = isAgent ? 'agent' : 'user'
    if (!isAgent)
      return {
        ...saidEntry(at(event), event.record, { role: 'user', parts, meta: { kind: 'prompt' } }),
        before: turns.start(event.id),
      }
    return { ...saidEntry(at(event), event.record, { role: 'assistant', parts }), ...(waits === true && { after: turns.end() }) }
  }

  /** Undefined: the answer that the action came out of is there already. */
  function actionEntry(event: Event): ThreadEntry | Answer | undefined {
    speaker = 'agent'
    const found = answerOf(event)
    const after = event.action === 'finish' ? turns.end('finish') : []
    if (found === undefined) return { ...ownCall(event), after }
    found.answer.records.push(event.record)
    found.answer.after.push(...after)
    callOf.set(event.id, { callId: found.callId, words: wordsOf({ parts: [...found.answer.parts] }, found.answer.event.id) })
    return found.answer.records.length === 1 ? found.answer : undefined
  }

  /** The completion that an action holds; several actions hold the same one when it calls several tools. */
  function answerOf(event: Event): { readonly answer: Answer; readonly callId: string } | undefined {
    const metadata = asObject(event.record.fields.tool_call_metadata)
    const response = asObject(metadata?.model_response)
    const [callId, responseId] = [asCallId(metadata?.tool_call_id), asString(response?.id)]
    const message = asObject(asObject(asList(response?.choices)?.[0])?.message)
    if (response === undefined || callId === undefined || message === undefined || responseId === undefined) return undefined
    const known = answers.get(responseId)
    const parts = known?.parts ?? bodyOf({ ...message, role: 'assistant' }, media)?.parts ?? []
    if (!parts.some((part) => part.type === 'tool_call' && part.callId === callId)) return undefined
    const answer = known ?? { event, response, parts, records: [], after: [] }
    answers.set(responseId, answer)
    if (!known) for (const part of parts) if (part.type === 'tool_call') open.push(part)
    return { answer, callId }
  }

  /** An action that came out of the text of an answer, or of one that the file does not hold. */
  function ownCall(event: Event): ThreadMessage {
    const { thought, ...args } = event.args === event.record.fields ? withoutFrame(event.args) : event.args
    const name = event.action ?? ''
    const call: Part = {
      type: 'tool_call',
      callId: event.id,
      name,
      args: argumentsFromValue(args),
      executor: { kind: 'client' },
    }
    const parts: Part[] = [...(typeof thought === 'string' ? contentParts(thought, media) : []), call]
    open.push({ callId: event.id, name })
    callOf.set(event.id, { callId: event.id, words: wordsOf({ parts }, event.id) })
    return saidEntry(at(event), event.record, { role: 'assistant', parts })
  }

  function observationEntry(event: Event): ThreadEntry | undefined {
    const { record, observation, extras } = event
    if (observation === 'agent_state_changed') return stateEntry(event)
    const call = callAnswered(event)
    if (observation === 'null' && call === undefined) {
      skipped.push({
        line: line ?? record.line,
        recordType: 'null',
        reason: `it says only that event ${event.cause ?? 'before it'} gave nothing to observe`,
      })
      return undefined
    }
    if (call === undefined && observation === 'error') {
      const problem = asString(record.fields.content) || asString(record.fields.message) || 'the record does not say what failed'
      return actionsEntry(at(event), errorRecorded({ kind: 'openhands_error', problem }, { meta: keptMeta(media, event.record) }))
    }
    if (call === undefined) return foreign(event, 'an observation of no action in the file')
    const content = contentParts(record.fields.content, media)
    const part: ToolResult = { type: 'tool_result', callId: call.callId, status: statusOf(observation, extras), content }
    return { ...saidEntry(at(event), event.record, { role: 'tool', parts: [part] }), otherWords: call.words }
  }

  /** By what the observation names as its cause, else the nearest call before it, of the same name when there is one. */
  function callAnswered({ cause, record, observation }: Event): { readonly callId: string; readonly words: Words } | undefined {
    const isNumbered = record.fields.id !== undefined
    const named = callOf.get(`event:${cause}`)
    if (isNumbered) return named
    const index = open.findLastIndex(({ name }) => name === observation)
    const [call] = index < 0 ? open.splice(-1) : open.splice(index, 1)
    return call && (callOf.get(call.callId) ?? { callId: call.callId, words: new Map() })
  }

  function stateEntry(event: Event): ThreadEntry {
    const state = asString(event.extras.agent_state)
    if (state === undefined) return foreign(event, 'a change to a state that it does not name')
    const reason = asString(event.extras.reason) || state
    return actionsEntry(
      at(event),
      metadataChanged({ set: { agentState: state } }, { meta: keptMeta(media, event.record) }),
      ...turnAt(state, reason),
    )
  }

  function turnAt(state: string, reason: string): ConversationAction[] {
    switch (state) {
      case 'awaiting_user_input':
      case 'finished':
        return turns.end(state)
      case 'stopped':
      case 'rejected':
        return turns.interrupt(state)
      case 'error':
        return [errorRecorded({ kind: 'agent_error', problem: reason }), ...turns.interrupt('the agent failed')]
      default:
        return []
    }
  }

  function condensationEntry(event: Event): ThreadEntry {
    const { forgotten_event_ids: ids, forgotten_events_start_id: from, forgotten_events_end_id: to, summary } = event.args
    const [first, last] = [asCount(from), asCount(to)]
    const isForgotten = (number: number | undefined): boolean =>
      number !== undefined &&
      (asList(ids)?.includes(number) === true || (first !== undefined && last !== undefined && number >= first && number <= last))
    const text = asString(summary)
    return {
      kind: 'compaction',
      ...at(event),
      keeps: (id) => numbersOf.get(id)?.some(isForgotten) !== true,
      summary: text
        ? { role: 'user', parts: [{ type: 'compaction', content: text }], meta: { kind: 'compact_summary' } }
        : undefined,
      records: [keptRecord(event.record)],
      otherwise: foreign(event, 'a condensation of nothing that is in the file').actions,
    }
  }

  function answerEntry({ event, response, parts, records, after }: Answer): ThreadMessage {
    const model = modelFrom(response, 'litellm')
    return {
      ...saidEntry(at(event), event.record, { role: 'assistant', parts: [...parts], ...(model && { model }) }),
      usage: usageFrom(response.usage),
      records: records.map((record) => keptRecord(record)),
      after,
    }
  }

  function foreign(event: Event, reason: string) {
    const recordType = event.action ?? event.observation ?? 'unknown'
    return { ...foreignEntry({ format, record: event.record, recordType, reason, media, ...at(event) }), ...at(event) }
  }

  function at({ record, id }: Event) {
    return { line: line ?? record.line, id, occurredAt: timeOf(record) }
  }
}

const isAgentsMessage = (entry: ThreadEntry | Answer | undefined): boolean =>
  entry !== undefined &&
  'message' in entry &&
  entry.message.role === 'assistant' &&
  !entry.message.parts.some(({ type }) => type === 'tool_call')

/** The arguments of an action of 2024, which stand beside its name. */
function withoutFrame(fields: JsonObject): JsonObject {
  const { action: _, action_risk: __, is_confirmed: ___, ...args } = fields
  return args
}

function statusOf(observation: string | undefined, extras: JsonObject): ToolResult['status'] {
  if (observation === 'error' || extras.error === true) return 'error'
  if (observation === 'user_rejected') return 'denied'
  return statusOfExit(asObject(extras.metadata)?.exit_code ?? extras.exit_code)
}
