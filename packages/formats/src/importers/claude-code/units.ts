/** What the records of one conversation are, in file order: an answer gathers its lines, a compaction its two records. */
import { asObject, asString } from '../fields.ts'
import { answerIdOf, blocksOf, plainTextOf, type SessionRecord } from './record.ts'

/** Who speaks in a user record: a person, a program that writes in the person's place, or the tools. */
type Speech = 'prompt' | 'context' | 'local_command' | 'interruption' | 'tool_results'

/** What a unit is made of, in file order. */
type Pieces = [SessionRecord, ...SessionRecord[]]

export type Unit =
  /** All lines of one API answer, at the place of the first: results of its calls come after it, wherever its last line is. */
  | { readonly kind: 'answer'; readonly answerId: string; readonly records: Pieces }
  | { readonly kind: 'user'; readonly speech: Speech; readonly records: [SessionRecord] }
  /** The boundary and the summary; either may be missing. */
  | { readonly kind: 'compaction'; readonly records: Pieces }
  | { readonly kind: 'apiError'; readonly records: [SessionRecord] }
  | { readonly kind: 'title'; readonly records: [SessionRecord] }
  | { readonly kind: 'foreign'; readonly reason: string; readonly records: [SessionRecord] }

export const isAnswer = (unit: Unit | undefined): unit is Extract<Unit, { kind: 'answer' }> => unit?.kind === 'answer'

/** Written by Claude Code itself in the model's place. */
export const isSynthetic = (records: readonly SessionRecord[]): boolean => records[0]?.message?.model === '<synthetic>'
export const isApiErrorMessage = (records: readonly SessionRecord[]): boolean =>
  records.some((record) => record.fields.isApiErrorMessage === true)

/** `uuids` are those of the whole file: a summary belongs to it when its leaf does. */
export function planUnits(records: readonly SessionRecord[], uuids: ReadonlySet<string>): Unit[] {
  const units: Unit[] = []
  const answers = new Map<string, Extract<Unit, { kind: 'answer' }>>()
  let boundary: Extract<Unit, { kind: 'compaction' }> | undefined
  for (const record of records) {
    const unit = unitOf(record, uuids)
    const known = unit.kind === 'answer' ? answers.get(unit.answerId) : undefined
    if (known) {
      known.records.push(record)
      continue
    }
    if (unit.kind === 'compaction' && isSummary(record) && boundary) {
      boundary.records.push(record)
      boundary = undefined
      continue
    }
    if (unit.kind === 'answer') answers.set(unit.answerId, unit)
    if (unit.kind === 'compaction' && !isSummary(record)) boundary = unit
    else if (unit.kind === 'user' || unit.kind === 'answer') boundary = undefined
    units.push(unit)
  }
  return units
}

export const isSummary = (record: SessionRecord): boolean => record.fields.isCompactSummary === true

function unitOf(record: SessionRecord, uuids: ReadonlySet<string>): Unit {
  const records: [SessionRecord] = [record]
  const { type, fields, unread } = record
  if (unread !== undefined) return { kind: 'foreign', reason: unread, records }
  switch (type) {
    case 'assistant':
      if (blocksOf(record)) return { kind: 'answer', answerId: answerIdOf(record), records }
      break
    case 'user':
      if (blocksOf(record) && isSummary(record)) return { kind: 'compaction', records }
      if (blocksOf(record)) return { kind: 'user', speech: speechOf(record), records }
      break
    case 'system/compact_boundary':
      return { kind: 'compaction', records }
    case 'system/api_error':
      return { kind: 'apiError', records }
    case 'summary':
      if (typeof fields.summary === 'string' && uuids.has(asString(fields.leafUuid) ?? '')) return { kind: 'title', records }
      break
    default:
  }
  return { kind: 'foreign', reason: foreignReason(type), records }
}

const interruption = '[Request interrupted by user'
/** What Claude Code writes as the user's text when a command of its own or of the shell was run; the model is not asked. */
const localCommand = /^<(command-name|local-command-(stdout|stderr|caveat)|bash-(input|stdout|stderr))>/

function speechOf(record: SessionRecord): Speech {
  if (blocksOf(record)?.some((block) => asObject(block)?.type === 'tool_result')) return 'tool_results'
  if (record.fields.isMeta === true) return 'context'
  const text = plainTextOf(record)?.trimStart() ?? ''
  // With words of the user's own beside it, it is the next prompt.
  if (interruptionIn(record) !== undefined && blocksOf(record)?.length === 1) return 'interruption'
  // Commands that prompt the model begin with <command-message>, those that do not with <command-name>.
  return localCommand.test(text) ? 'local_command' : 'prompt'
}

/** "[Request interrupted by user]", as the whole message or beside others: results of calls that were stopped, the next prompt. */
export function interruptionIn(record: SessionRecord): string | undefined {
  if (record.fields.isMeta === true) return undefined
  const texts = (blocksOf(record) ?? []).map((block) => asString(asObject(block)?.text)?.trim())
  return texts.find((text) => text?.startsWith(interruption))
}

function foreignReason(type: string): string {
  switch (type) {
    case 'summary':
      return 'the title of another session: its leaf is not in this file'
    case 'file-history-snapshot':
      return 'a backup of files, not of the conversation'
    case 'progress':
      return 'progress of a tool or hook, shown while it ran'
    case 'queue-operation':
      return 'the queue of typed input, not yet said'
    case 'system/turn_duration':
    case 'system/stop_hook_summary':
      return 'a note of the program about the turn'
    case 'user':
    case 'assistant':
      return 'a message without content that could be read'
    default:
      return 'a type of record that this version does not know'
  }
}
