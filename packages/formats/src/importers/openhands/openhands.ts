/**
 * Conversations of OpenHands, in the three ways it has written them: the output of the resolver of 2024 (a line for each run, with a
 * history of actions and observations that have no ids), the events of 2025 (numbered, `cause` names what they answer), and those
 * of the SDK of 2026 (`kind`, `action_id`).
 *
 * Events of one answer of the model become one message at the place of the first. Times have no zone in these files: they are read
 * as UTC, and kept as they are beside the messages.
 */
import {
  conversationTitled,
  defaultLimits,
  errorRecorded,
  type HeldConversation,
  type ImportedFile,
  type Json,
  type JsonObject,
  metadataChanged,
  type SkippedRecord,
} from '@colloquy/core'
import { contentId, conversationIds } from '../content-id.ts'
import { asDuration, asList, asObject, asString } from '../fields.ts'
import { type FileRecord, fileRecord, fileRecords, keptMeta, readableRecords } from '../file-records.ts'
import { type MediaShelf, mediaShelf } from '../media-shelf.ts'
import { refusal, refusingAt } from '../refusal.ts'
import type { SourceFile, TranscriptFormat } from '../source-file.ts'
import { type ThreadEntry, writeThread } from '../write-thread.ts'
import { format } from './event-parts.ts'
import { eventEntries } from './events.ts'
import { sdkEntries } from './sdk-events.ts'

export const openHands: TranscriptFormat = {
  id: format,
  describe: 'histories and events of OpenHands',
  files: ['json', 'jsonl'],
  matches: (file) => readableRecords(file).some((value) => isRun(value) || isEvent(value) || isSdkEvent(value)),
  importFile,
}

/** A run of the resolver, or of an evaluation. */
function isRun(value: Json): boolean {
  const { history, instruction, git_patch: patch, metrics } = asObject(value) ?? {}
  return (
    history !== undefined && (typeof instruction === 'string' || typeof patch === 'string') && asObject(metrics) !== undefined
  )
}

function isEvent(value: Json): boolean {
  const { id, source, timestamp, action, observation } = asObject(value) ?? {}
  const isNumbered = typeof id === 'number' && typeof source === 'string' && typeof timestamp === 'string'
  return isNumbered && (typeof action === 'string' || typeof observation === 'string')
}

function isSdkEvent(value: Json): boolean {
  const { id, source, timestamp, kind } = asObject(value) ?? {}
  const isNamed = typeof id === 'string' && typeof source === 'string' && typeof timestamp === 'string'
  return isNamed && /^(?:\w+Event|\w*Condensation\w*|\w+Observation)$/.test(asString(kind) ?? '')
}

/** @throws `import_refused` with the line: one that is no JSON (see the options), or a record too large for an envelope */
function importFile(file: SourceFile): ImportedFile {
  const { records, count, skipped, remarks } = fileRecords(file)
  const nextId = conversationIds(file.options)
  const runs = records.filter(({ value }) => isRun(value))
  const conversations: HeldConversation[] = []
  const write = (first: FileRecord, media: MediaShelf, entries: readonly ThreadEntry[]): void => {
    const written = writeThread({
      source: file.source,
      format,
      conversationId: nextId(`${format}-${contentId(first.value, file.sha256)}`),
      started: { source: { format } },
      entries,
      media,
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
      turns: 'marked',
    })
    conversations.push(written.conversation)
    remarks.push(...written.remarks)
  }

  let inside = 0
  for (const run of runs) {
    const media = mediaShelf(file.sha256)
    const history = historyOf(file, run)
    inside += history.length
    const line = records.length === 1 ? undefined : run.line
    const list = { source: file.source, name: 'history', records: history, ...(line !== undefined && { line }) }
    write(run, media, [
      ...refusingAt(file.source, run.line, () => aboutRun(run, media)),
      ...eventEntries(list, media, skipped),
      ...outcomeOfRun(run),
    ])
  }
  const events = records.filter((record) => !runs.includes(record))
  const [first] = events
  if (first !== undefined) {
    const media = mediaShelf(file.sha256)
    const isSdk = events.some(({ value }) => isSdkEvent(value))
    write(
      first,
      media,
      isSdk
        ? sdkEntries(file.source, events, media, skipped)
        : eventEntries({ source: file.source, name: 'event', records: events }, media, skipped),
    )
  }
  return { format, records: count + inside, conversations, skipped: skipped.sort(byLine), remarks: remarks.sort(byLine) }
}

const byLine = (a: Pick<SkippedRecord, 'line'>, b: Pick<SkippedRecord, 'line'>): number => a.line - b.line

function historyOf(file: SourceFile, { fields, line }: FileRecord): FileRecord[] {
  const history = asList(fields.history)
  if (history === undefined) throw refusal(file.source, line, '$.history is not a list. Give a file as its program wrote it')
  return history.map((value, index) => fileRecord(index + 1, 1, value))
}

/** What a run was about, and all else that stands beside its history. */
function aboutRun(run: FileRecord, media: MediaShelf): ThreadEntry[] {
  const { history: _, ...fields } = run.fields
  const { accumulated_cost: cost } = asObject(fields.metrics) ?? {}
  const set: JsonObject = {
    ...(asDuration(cost) !== undefined && { accumulatedCostUsd: cost as number }),
    ...(typeof fields.success === 'boolean' && { success: fields.success }),
  }
  const about = metadataChanged({ set }, { meta: keptMeta(media, run, fields) })
  const title = asString(asObject(fields.issue)?.title)
  const actions = title ? [about, conversationTitled({ title })] : [about]
  return [{ kind: 'actions', line: run.line, id: 'run', actions }]
}

function outcomeOfRun({ fields, line }: FileRecord): ThreadEntry[] {
  const problem = asString(fields.error)
  return problem ? [{ kind: 'actions', line, id: 'run-failed', actions: [errorRecorded({ kind: 'run_failed', problem })] }] : []
}
