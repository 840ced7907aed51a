/** What the records of one conversation are, in file order: an answer gathers its lines, a compaction its two records. */
import { answerIdOf, type SessionRecord } from './record.ts'
import type { Speech } from './record-facts.ts'

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

export const isSynthetic = (records: readonly SessionRecord[]): boolean => records[0]?.facts.isSynthetic === true
export const isApiErrorMessage = (records: readonly SessionRecord[]): boolean =>
  records.some(({ facts }) => facts.isApiErrorMessage)

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

export const isSummary = ({ facts }: SessionRecord): boolean => facts.isSummary

function unitOf(record: SessionRecord, uuids: ReadonlySet<string>): Unit {
  const records: [SessionRecord] = [record]
  const { type, facts, unread } = record
  if (unread !== undefined) return { kind: 'foreign', reason: unread, records }
  switch (type) {
    case 'assistant':
      if (facts.hasBlocks) return { kind: 'answer', answerId: answerIdOf(record), records }
      break
    case 'user':
      if (facts.hasBlocks && facts.isSummary) return { kind: 'compaction', records }
      if (facts.hasBlocks) return { kind: 'user', speech: facts.speech, records }
      break
    case 'system/compact_boundary':
      return { kind: 'compaction', records }
    case 'system/api_error':
      return { kind: 'apiError', records }
    case 'summary':
      if (facts.leafUuid !== undefined && uuids.has(facts.leafUuid)) return { kind: 'title', records }
      break
    default:
  }
  return { kind: 'foreign', reason: foreignReason(type), records }
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
