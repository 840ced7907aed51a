/**
 * Sessions of Claude Code, as `~/.claude/projects/<project>/<session>.jsonl` holds them.
 *
 * File order is the order; timestamps run backwards in real files. One API answer is written as several lines, which become one
 * message at the place of the first: with parallel tools, results may stand between the lines, and a result must follow its call.
 * Sub-agents become conversations of their own. What is not conversation is kept raw (`foreignRecordKept`), what a message has
 * no place for is kept in `meta.records`, and what is left out is listed in `skipped`.
 *
 * Importing again: command ids come from the records (`claude-code:<uuid>`, `claude-code:message:<id>` for answers,
 * `claude-code:line:<n>` for records without either), so a file that has grown gives the commands it gave before, and then more.
 * One exception: of an answer or a compaction that was being written when the file was imported, the command holds fewer lines than
 * it does later, which the engine reports as `import_conflict` rather than change what is stored. Import a session between two
 * turns, or when it is over.
 */
import type { ImportedConversation, ImportedFile, ImportRemark, Json, SkippedRecord } from '@colloquy/core'
import { canonicalJson, defaultLimits, toHex, toUtf8 } from '@colloquy/core'
import { asId, asObject } from '../fields.ts'
import { readableRecords } from '../file-records.ts'
import { acceptBadLine, keptAsText } from '../file-values.ts'
import { refusal } from '../refusal.ts'
import { type HeldInput, openSource, type SourceFile, type TranscriptFormat } from '../source-file.ts'
import type { ImportNotes } from '../walked-conversation.ts'
import { splitBranches } from './branches.ts'
import { plainTextOf, type SessionRecord, sessionRecord, unreadRecord } from './record.ts'
import { type PromptingCall, writeBranch } from './write-branch.ts'

export const claudeCode: TranscriptFormat = {
  id: 'claude-code',
  describe: 'sessions of Claude Code',
  files: ['jsonl', 'json'],
  matches: (file) => isClaudeCode(readableRecords(file)),
  streams: true,
  importFile: importSession,
}

/** Whether records are those of a Claude Code session: one of them has what only such sessions write together. */
export function isClaudeCode(values: readonly Json[]): boolean {
  return values.some((value) => {
    const { type, uuid, sessionId, leafUuid, snapshot, messageId } = asObject(value) ?? {}
    if (typeof type !== 'string') return false
    if (type === 'summary') return typeof leafUuid === 'string'
    if (type === 'file-history-snapshot') return typeof messageId === 'string' && asObject(snapshot) !== undefined
    return typeof uuid === 'string' && typeof sessionId === 'string'
  })
}

/**
 * A session as conversations: the session itself first, then its sidechains in the order in which they begin.
 *
 * @throws `import_refused` with the line: a file that is empty, no text, or no session; a cut last line (unless
 * `allowTruncated`), a line that is no JSON (unless `keepBadLines`), a record too large for an envelope
 */
export function importClaudeCode(input: HeldInput): ImportedFile {
  const file = openSource(input)
  if (!claudeCode.matches(file)) {
    const bad = file.jsonLines().bad[0]
    throw refusal(file.source, bad?.line ?? 1, 'no record of a Claude Code session is in it. Give a session file of Claude Code')
  }
  // Of a file that is held all is held.
  return importSession(file) as ImportedFile
}

function importSession(file: SourceFile): ImportedFile<ImportedConversation> {
  const { source, sha256, options } = file
  const notes: ImportNotes = { skipped: [], remarks: [] }
  const { skipped, remarks } = notes
  const all: SessionRecord[] = []
  let count = 0
  for (const item of file.lines()) {
    count += 1
    if ('value' in item) {
      all.push(sessionRecord(item))
      for (const { path, problem } of item.problems) remarks.push(keptAsText(item.line, path, problem))
    } else if (acceptBadLine(item, file, skipped)) {
      const { line, ordinal, text, problem } = item
      all.push(sessionRecord({ line, ordinal, value: text, problems: [] }, `${problem}: kept as text`))
    }
  }
  const records = withoutRepeats(all, skipped)

  const uuids = new Set(records.flatMap(({ uuid }) => (uuid === undefined ? [] : [uuid])))
  const sessionId = firstSessionId(records)
  const conversationId =
    options.conversationId ?? sessionId ?? `claude-code-${toHex(sha256(toUtf8(canonicalJson(all[0]?.raw)))).slice(0, 16)}`
  const calls: PromptingCall[] = []
  const id = sessionId ?? conversationId
  const conversations: ImportedConversation[] = splitBranches(records).map((branch) => {
    const { sidechainId } = branch
    const parent = sidechainId === undefined ? undefined : parentOf(branch.records, conversationId, calls, remarks)
    return writeBranch(
      {
        source,
        conversationId: sidechainId === undefined ? conversationId : `${conversationId}:sidechain:${sidechainId}`,
        started: { source: { format: claudeCode.id, id }, ...(parent && { parent }) },
        records: branch.records,
        uuids,
        envelopeBytes: options.envelopeBytes ?? defaultLimits.envelopeBytes,
        file,
      },
      calls,
      notes,
    )
  })
  return {
    format: claudeCode.id,
    records: count,
    conversations,
    skipped: skipped.sort(byLine),
    remarks: remarks.sort(byLine),
  }
}

const byLine = (a: { readonly line: number }, b: { readonly line: number }): number => a.line - b.line

/** Resumed sessions repeat records. The first is taken; a later one under its uuid that says something else is kept raw. */
function withoutRepeats(records: readonly SessionRecord[], skipped: SkippedRecord[]): SessionRecord[] {
  const first = new Map<string, SessionRecord>()
  return records.flatMap((record) => {
    const earlier = record.uuid === undefined ? undefined : first.get(record.uuid)
    if (earlier === undefined) {
      if (record.uuid !== undefined) first.set(record.uuid, record)
      return [record]
    }
    if (sense(record) === sense(earlier)) {
      skipped.push({
        line: record.line,
        recordType: record.type,
        reason: `the record of line ${earlier.line} again (uuid ${record.uuid})`,
      })
      return []
    }
    return [unreadRecord(record, `line ${earlier.line} has its uuid and says something else`)]
  })
}

/** What makes two records say the same, whatever version and branch they were written under. */
function sense({ type, message, fields }: SessionRecord): string {
  return canonicalJson(message ? [type, message.id ?? null, message.content ?? null] : fields)
}

function firstSessionId(records: readonly SessionRecord[]): string | undefined {
  for (const { fields } of records) {
    const id = asId(fields.sessionId)
    // "~" and "colloquy:" begin what only we may name.
    if (id !== undefined && !id.includes('~') && !id.startsWith('colloquy:')) return id
  }
  return undefined
}

/** The call that began a sidechain. No id links them: the first record repeats the prompt of the call. */
function parentOf(
  records: readonly SessionRecord[],
  sessionConversationId: string,
  calls: PromptingCall[],
  remarks: ImportRemark[],
) {
  const root = records[0] as SessionRecord
  const prompt = plainTextOf(root)
  const index = calls.findIndex((call) => call.prompt === prompt && call.line < root.line)
  const call = index < 0 ? undefined : calls.splice(index, 1)[0]
  if (call === undefined) {
    remarks.push({ line: root.line, remark: 'no call with the prompt of this sidechain stands before it' })
    return { relation: 'sidechain' as const, conversationId: sessionConversationId }
  }
  const { conversationId, messageId, callId } = call
  return { relation: 'sidechain' as const, conversationId, messageId, callId }
}
