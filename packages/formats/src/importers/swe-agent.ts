/**
 * Trajectories of SWE-agent: `history` is the conversation; `trajectory` tells its steps again, with how long they took and what
 * state they left, and in newer files with the whole list of messages that the model was sent. Of a step is kept, beside the answer
 * that it tells of, what the history does not hold; whatever it repeats becomes a pointer into the messages.
 *
 * Old files have no tool calls, only text with a command in it, and stay the text that the model was shown. The program writes the
 * whole file after every step, and nothing in it names the run: so the conversation is known by all that the file says.
 */
import {
  type ConversationAction,
  defaultLimits,
  type ImportedFile,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
  type Part,
  type Usage,
  usageRecorded,
} from '@colloquy/core'
import { contentId, conversationIds } from './content-id.ts'
import { asCallId, asCount, asDuration, asList, asObject, asString } from './fields.ts'
import { documentRecords, type FileRecord, foreignEntry, keptMeta, keptRecord } from './file-records.ts'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import { bodyOf } from './messages/openai-chat-message.ts'
import { refusingAt } from './refusal.ts'
import type { SourceFile, TranscriptFormat } from './source-file.ts'
import { placedTexts, withSlices } from './text-slices.ts'
import { turnMarks } from './turn-marks.ts'
import { wordsOf } from './without-words.ts'
import { type ThreadEntry, writeThread } from './write-thread.ts'

const format = 'swe-agent'

export const sweAgent: TranscriptFormat = {
  id: format,
  describe: 'trajectories of SWE-agent',
  files: ['traj', 'json'],
  matches: (file) => isTrajectory(file.jsonDocument()?.value),
  importFile,
}

function isTrajectory(value: Json | undefined): boolean {
  const { history, trajectory } = asObject(value) ?? {}
  if (Array.isArray(trajectory) && history !== undefined) return true
  return (asList(history) ?? []).some((message) => {
    const { role, agent, message_type: type } = asObject(message) ?? {}
    return typeof role === 'string' && (typeof agent === 'string' || typeof type === 'string')
  })
}

/** @throws `import_refused` with the field that is no list, or the number of a message that cannot be stored */
function importFile(file: SourceFile): ImportedFile {
  const { header, lists, remarks } = documentRecords(file, 'history', 'trajectory')
  const [history, steps] = [lists.get('history') ?? [], lists.get('trajectory') ?? []]
  const media = mediaShelf(file.sha256)
  const written = writeThread({
    source: file.source,
    format,
    conversationId: conversationIds(file.options)(`${format}-${contentId(file.jsonDocument()?.value ?? null, file.sha256)}`),
    started: { source: { format } },
    entries: entriesOf(file.source, history, steps, header, media),
    media,
    envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    turns: 'marked',
  })
  const isBare = Object.keys(header.fields).length === 0
  return {
    format,
    records: history.length + steps.length + (isBare ? 0 : 1),
    conversations: [written.conversation],
    skipped: [],
    remarks: [...remarks, ...written.remarks],
  }
}

type Body = Pick<Message, 'role' | 'parts'>

function entriesOf(
  source: string,
  history: readonly FileRecord[],
  steps: readonly FileRecord[],
  header: FileRecord,
  media: MediaShelf,
): ThreadEntry[] {
  const turns = turnMarks()
  const bodies = new Map(history.map((record): [FileRecord, Body | undefined] => [record, bodyOfMessage(record, media)]))
  const { stepOf, unpaired } = pairSteps(history, steps)
  const repeatedWords = new Map(
    steps.length === 0 ? [] : history.flatMap((record) => [...wordsIn(bodies.get(record), idOf(record))]),
  )
  let hasPrompt = false
  let durationMs: number | undefined

  const said = history.map((record, index) =>
    refusingAt(source, record.line, () => messageEntry(record, history[index + 1]) ?? foreign(record, idOf(record))),
  )
  const left = unpaired.map((record) => refusingAt(source, record.line, () => foreign(record, `trajectory:${record.line}`)))
  return [...said, ...left, ...(Object.keys(header.fields).length > 0 ? [outcomeEntry()] : [])]

  function messageEntry(record: FileRecord, next: FileRecord | undefined): ThreadEntry | undefined {
    const body = bodies.get(record)
    if (body === undefined) return undefined
    const { fields, line } = record
    const isDemo = fields.is_demo === true
    const isPrompt = body.role === 'user' && !isDemo && !hasPrompt
    hasPrompt ||= isPrompt
    const step = stepOf.get(record)
    const result = body.role === 'tool' ? durationMs : undefined
    if (body.role !== 'tool') durationMs = seconds(step?.fields.execution_time)
    const nextBody = next && bodies.get(next)
    const texts = [...placedTexts(idOf(record), body), ...(next && nextBody ? placedTexts(idOf(next), nextBody) : [])]
    return {
      kind: 'message',
      line,
      id: idOf(record),
      message: {
        ...body,
        ...(body.role === 'user' && { meta: { kind: isDemo ? 'demonstration' : isPrompt ? 'prompt' : 'observation' } }),
      },
      ...(body.role === 'user' && !isPrompt && { participant: { id: 'environment', kind: 'program' as const } }),
      ...(isPrompt && { before: turns.start(idOf(record)) }),
      durationMs: result,
      records: [
        keptRecord(record, withSlices(fields, texts)),
        ...(step ? [{ list: 'trajectory', ...keptRecord(step, withSlices(step.fields, texts)) }] : []),
      ],
      otherWords: repeatedWords,
    }
  }

  function outcomeEntry(): ThreadEntry {
    const info = asObject(header.fields.info) ?? {}
    const status = asString(info.exit_status)
    const stats = asObject(info.model_stats)
    const set = Object.fromEntries(
      Object.entries({
        exitStatus: status,
        environment: header.fields.environment,
        modelCalls: asCount(stats?.api_calls),
      }).filter(([, value]) => typeof value === 'string' || typeof value === 'number'),
    ) as JsonObject
    const usage = usageOf(stats)
    const ended: ConversationAction[] =
      status === undefined ? [] : status.startsWith('submitted') ? turns.end(status) : turns.interrupt(status || 'ended')
    const about = metadataChanged({ set }, { meta: keptMeta(media, header) })
    return { kind: 'actions', line: 1, id: 'info', actions: [about, ...(usage ? [usageRecorded({ usage })] : []), ...ended] }
  }

  function foreign(record: FileRecord, id: string): ThreadEntry {
    const role = asString(record.fields.role)
    const reason = role === undefined ? 'a step of which the history has no answer' : 'a role that this version does not know'
    return foreignEntry({ format, record, recordType: role ?? 'step', reason, media, id })
  }
}

const wordsIn = (body: Body | undefined, id: string) => (body ? wordsOf(body, id) : [])

const idOf = ({ line }: FileRecord): string => `history:${line}`

/** A tool's message names the calls that it answers in a list; the words belong to the first of them. */
function bodyOfMessage({ fields, unread }: FileRecord, media: MediaShelf): Body | undefined {
  if (unread !== undefined) return undefined
  const callIds = (asList(fields.tool_call_ids) ?? []).flatMap((id) => asCallId(id) ?? [])
  const [first, ...others] = callIds
  const body = bodyOf(first === undefined ? fields : { ...fields, tool_call_id: first }, media)
  if (body?.role !== 'tool' || others.length === 0) return body
  return {
    ...body,
    parts: [...body.parts, ...others.map((callId): Part => ({ type: 'tool_result', callId, status: 'ok', content: [] }))],
  }
}

/** Steps by the answers that they tell of: in order where there is one for each, else by what was answered. */
function pairSteps(history: readonly FileRecord[], steps: readonly FileRecord[]) {
  const answers = history.filter(({ fields }) => fields.role === 'assistant' && fields.is_demo !== true)
  const stepOf = new Map<FileRecord, FileRecord>()
  const unpaired: FileRecord[] = []
  let from = 0
  for (const [index, step] of steps.entries()) {
    const found =
      answers.length === steps.length
        ? index
        : answers.findIndex(({ fields }, at) => at >= from && textOf(fields.content) === asString(step.fields.response))
    const answer = answers[found]
    if (answer === undefined || step.unread !== undefined) unpaired.push(step)
    else {
      stepOf.set(answer, step)
      from = found + 1
    }
  }
  return { stepOf, unpaired }
}

function textOf(content: Json | undefined): string | undefined {
  return (
    asString(content) ??
    asList(content)
      ?.map((block) => asString(asObject(block)?.text) ?? '')
      .join('')
  )
}

function seconds(value: Json | undefined): number | undefined {
  const time = asDuration(value)
  return time === undefined ? undefined : Math.round(time * 1000)
}

/** Of all calls together: single ones are not counted. */
function usageOf(stats: JsonObject | undefined): Usage | undefined {
  const [input, output] = [asCount(stats?.tokens_sent) ?? 0, asCount(stats?.tokens_received) ?? 0]
  const dollars = asDuration(stats?.instance_cost) ?? 0
  const costMicros = asCount(Math.round(dollars * 1_000_000)) ?? 0
  if (stats === undefined || input + output + costMicros === 0) return undefined
  return {
    input,
    output,
    cacheRead: 0,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
    reasoning: 0,
    ...(costMicros > 0 && { costMicros }),
    raw: stats,
  }
}
