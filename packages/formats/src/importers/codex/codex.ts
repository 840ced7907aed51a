/**
 * Rollouts of the Codex CLI, as `~/.codex/sessions` holds them.
 *
 * The conversation is in the `response_item` records; `event_msg` tells the screen the same again, and only what it tells alone is
 * imported: where turns begin and end, counts of tokens, errors. The items of one answer become one message at the place of the
 * first, so that reasoning stays with what it led to. An answer ends at the next result, message or count.
 *
 * A `compacted` record says what the model is shown from then on. Messages that it repeats word for word stay; the others are
 * covered, and the summary stands where the first of them stood (Codex itself puts it after the messages that stay).
 *
 * Command ids are made from lines, which stay while a rollout grows. Of an answer that was being written when the file was
 * imported the command holds fewer items than later, which the engine reports as `import_conflict`.
 */
import {
  type ConversationAction,
  canonicalJson,
  defaultLimits,
  errorRecorded,
  type ImportedConversation,
  type ImportedFile,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
  type Part,
  type SkippedRecord,
  type Usage,
  usageRecorded,
} from '@colloquy/core'
import { parseIsoTime } from '../../iso-time.ts'
import { asConversationId, contentId, conversationIds } from '../content-id.ts'
import { asCount, asId, asList, asObject, asString } from '../fields.ts'
import {
  actionsEntry,
  createdAt,
  type FileRecord,
  fileRecords,
  foreignEntry,
  keptRecord,
  placeOf,
  readableRecords,
  saidEntry,
} from '../file-records.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { refusingAt } from '../refusal.ts'
import type { SourceFile, TranscriptFormat } from '../source-file.ts'
import { turnMarks } from '../turn-marks.ts'
import { withoutWords, wordsOf } from '../without-words.ts'
import { type ThreadCompaction, type ThreadEntry, type ThreadMessage, writeLongThread } from '../write-thread.ts'
import { answerParts, inputParts, isOfAnswer, outcomeIn, resultOf, roleOf, textsOf } from './items.ts'
import { findRepeats, type Repeats } from './repeats.ts'

const format = 'codex'

export const codex: TranscriptFormat = {
  id: format,
  describe: 'rollouts of the Codex CLI',
  files: ['jsonl', 'json'],
  matches: (file) => readableRecords(file).some(isRolloutRecord),
  streams: true,
  importFile,
}

const types = ['session_meta', 'response_item', 'event_msg', 'turn_context', 'compacted']

function isRolloutRecord(value: Json): boolean {
  const { type, payload, timestamp } = asObject(value) ?? {}
  return types.includes(asString(type) ?? '') && asObject(payload) !== undefined && typeof timestamp === 'string'
}

/** @throws `import_refused` with the line: one that is no JSON (see the options), or a record too large for an envelope */
function importFile(file: SourceFile): ImportedFile<ImportedConversation> {
  const found = findRepeats(file.sha256)
  let meta: FileRecord | undefined
  let startedAt: number | undefined
  const { records, count, skipped, remarks } = fileRecords(file, (record) => {
    found.look(record)
    startedAt ??= timeOf(record)
    if (record.fields.type === 'session_meta') meta ??= record
  })
  const id = asConversationId(asObject(meta?.fields.payload)?.id)
  const repeats = found.repeats()
  const conversation = writeLongThread(
    {
      source: file.source,
      format,
      conversationId: conversationIds(file.options)(
        id ?? `${format}-${contentId((meta ?? records[0])?.value ?? null, file.sha256)}`,
      ),
      started: { source: { format, ...(id !== undefined && { id }) } },
      startedAt,
      entriesFor: (media, notes) => entriesOf(records, { source: file.source, meta, repeats }, media, notes.skipped),
      file,
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
      turns: 'marked',
    },
    { skipped, remarks },
  )
  return { format, records: count, conversations: [conversation], skipped: skipped.sort((a, b) => a.line - b.line), remarks }
}

/** An answer gathers its items; it becomes a message when all of them are known. */
interface Answer {
  readonly kind: 'answer'
  readonly records: [FileRecord, ...FileRecord[]]
  readonly model: Message['model']
}

/** Something that is said more than once: the line where it was said first, and by what it is known again. */
interface Said {
  readonly line: number
  readonly key: string
}

const baseInstructions = 'base-instructions'

function* entriesOf(
  records: readonly FileRecord[],
  { source, meta, repeats }: { readonly source: string; readonly meta: FileRecord | undefined; readonly repeats: Repeats },
  media: MediaShelf,
  skipped: SkippedRecord[],
): Generator<ThreadEntry> {
  const prompts = new Set(repeats.values())
  const turns = turnMarks()
  const shown = shownItems()
  const metadata = new Map<string, string>()
  /** What waits for the answer before it to be whole. */
  let made: (ThreadEntry | Answer)[] = []
  const provider = asString(asObject(meta?.fields.payload)?.model_provider) || 'openai'
  let modelId: string | undefined
  let answer: Answer | undefined
  /** The last answer, and the last one whose tokens were not counted yet. */
  let last: Answer | undefined
  let uncounted: Answer | undefined
  let counted: Said | undefined
  let context: Said | undefined
  let compactedAt: number | undefined

  for (const record of records) {
    const payload = record.unread === undefined ? asObject(record.fields.payload) : undefined
    const unread = payload ? 'a type of record that this version does not know' : 'it says nothing'
    const entries = refusingAt(source, record.line, () => (payload && entriesFor(record, payload)) ?? [foreign(record, unread)])
    made.push(...entries)
    if (answer === undefined) yield* finished()
  }
  yield* finished()

  function finished(): ThreadEntry[] {
    const whole = made.map((entry) => (entry.kind === 'answer' ? answerEntry(entry, media) : entry))
    made = []
    return whole
  }

  /** Undefined: it is kept raw. */
  function entriesFor(record: FileRecord, payload: JsonObject): (ThreadEntry | Answer)[] | undefined {
    switch (record.fields.type) {
      case 'session_meta':
        return record === meta
          ? aboutSession(record, payload)
          : [foreign(record, 'the header of the rollout that this one goes on from')]
      case 'turn_context':
        return turnContext(record, payload)
      case 'response_item':
        return item(record, payload)
      case 'event_msg':
        return event(record, payload)
      case 'compacted':
        return compacted(record, payload)
      default:
        return undefined
    }
  }

  function aboutSession(record: FileRecord, payload: JsonObject): ThreadEntry[] {
    const text = asString(asObject(payload.base_instructions)?.text) || asString(payload.instructions)
    const message: ThreadMessage['message'] = {
      role: 'system',
      parts: [{ type: 'text', text: text ?? '' }],
      meta: { kind: 'base_instructions' },
    }
    const kept = withoutWords(media.replaceIn(keptRecord(record)), text ? wordsOf(message, baseInstructions) : new Map())
    const git = asObject(payload.git)
    const about = changed({
      cwd: payload.cwd,
      gitBranch: git?.branch,
      gitCommit: git?.commit_hash,
      codexVersion: payload.cli_version,
      originator: payload.originator,
    })
    return [
      { kind: 'actions', ...at(record), actions: [metadataChanged({ set: about }, { meta: { records: [kept] } })] },
      ...(text ? [{ kind: 'message' as const, ...at(record), id: baseInstructions, message, records: [] }] : []),
    ]
  }

  function turnContext(record: FileRecord, payload: JsonObject): ThreadEntry[] {
    const { turn_id: _, ...said } = payload
    const key = canonicalJson(said)
    if (context?.key === key) return repeated(record, `the context of line ${context.line} again`)
    context = { line: record.line, key }
    modelId = asString(payload.model) || modelId
    const sandbox = asObject(payload.sandbox_policy)
    const set = changed({
      cwd: payload.cwd,
      model: payload.model,
      effort: payload.effort,
      approvalPolicy: payload.approval_policy,
      sandbox: sandbox?.type ?? sandbox?.mode,
    })
    if (Object.keys(set).length === 0) return [foreign(record, 'the context of a turn, in which nothing changed that we know')]
    return [actionsEntry(at(record), metadataChanged({ set }, { meta: keptIn(record) }))]
  }

  function item(record: FileRecord, payload: JsonObject): (ThreadEntry | Answer)[] | undefined {
    if (isOfAnswer(payload)) {
      if (answer) {
        answer.records.push(record)
        return []
      }
      const model = modelId === undefined ? undefined : { provider, api: 'responses', id: modelId }
      answer = { kind: 'answer', records: [record], model }
      last = answer
      uncounted = answer
      shown.add(answer)
      return [answer]
    }
    const entry = resultEntry(record, payload) ?? inputEntry(record, payload)
    if (entry === undefined) return undefined
    answer = undefined
    shown.add(entry, () => record.fields.payload ?? null)
    return [entry]
  }

  function resultEntry(record: FileRecord, payload: JsonObject): ThreadMessage | undefined {
    const result = resultOf(payload, media)
    if (result === undefined) return undefined
    const [first] = result.content
    const { durationMs } = outcomeIn(first?.type === 'text' ? first.text : '')
    return { ...saidEntry(at(record), record, { role: 'tool', parts: [result] }), durationMs }
  }

  function inputEntry(record: FileRecord, payload: JsonObject): ThreadMessage | undefined {
    const role = roleOf(payload)
    if (role === undefined) return undefined
    const isPrompt = prompts.has(record.line)
    const message = { role, parts: inputParts(payload, media), meta: { kind: isPrompt ? 'prompt' : 'context' } }
    const isInjected = role === 'user' && !isPrompt
    return { ...saidEntry(at(record), record, message), ...(isInjected && { participant: { id: 'codex', kind: 'program' } }) }
  }

  function event(record: FileRecord, payload: JsonObject): ThreadEntry[] | undefined {
    const line = repeats.get(record)
    switch (payload.type) {
      case 'user_message':
        return line === undefined ? undefined : repeated(record, `the message of line ${line} again, for the screen`)
      case 'agent_message':
        return line === undefined ? undefined : repeated(record, `the answer of line ${line} again, for the screen`)
      case 'agent_reasoning':
      case 'agent_reasoning_raw_content':
        return line === undefined ? undefined : repeated(record, `the reasoning of line ${line} again, for the screen`)
      case 'context_compacted':
        return compactedAt === undefined
          ? undefined
          : repeated(record, `the compaction of line ${compactedAt} again, for the screen`)
      case 'token_count':
        return tokenCount(record, payload)
      case 'task_started':
      case 'turn_started':
        answer = undefined
        return [actionsEntry(at(record), ...started(record, payload))]
      case 'task_complete':
      case 'turn_complete':
        answer = undefined
        return ended(record, turns.end(undefined, { meta: keptIn(record) }))
      case 'turn_aborted':
        answer = undefined
        return ended(record, turns.interrupt(asString(payload.reason) || 'aborted', { meta: keptIn(record) }))
      case 'error':
      case 'stream_error':
        return [actionsEntry(at(record), failed(record, payload))]
      default:
        return undefined
    }
  }

  function started(record: FileRecord, payload: JsonObject): ConversationAction[] {
    const contextWindow = asCount(payload.model_context_window)
    const isNew = contextWindow !== undefined && metadata.get('contextWindow') !== String(contextWindow)
    if (isNew) metadata.set('contextWindow', String(contextWindow))
    return [
      ...turns.start(asId(payload.turn_id) ?? placeOf(record), { meta: keptIn(record) }),
      ...(isNew ? [metadataChanged({ set: { contextWindow } })] : []),
    ]
  }

  function ended(record: FileRecord, made: ConversationAction[]): ThreadEntry[] {
    return made.length > 0 ? [actionsEntry(at(record), ...made)] : [foreign(record, 'the end of a turn that does not run')]
  }

  function failed(record: FileRecord, payload: JsonObject): ConversationAction {
    const isRetried = payload.type === 'stream_error'
    const problem = asString(payload.message) || 'the record does not say what failed'
    const kind = isRetried ? 'stream_error' : 'codex_error'
    return errorRecorded({ kind, problem, ...(isRetried && { retryable: true }) }, { meta: keptIn(record) })
  }

  /** Totals come about twice each; what the last call took is told once. */
  function tokenCount(record: FileRecord, payload: JsonObject): ThreadEntry[] {
    const info = asObject(payload.info)
    const usage = usageOf(info?.last_token_usage)
    if (info === undefined || usage === undefined) return repeated(record, 'no count, only how much of the account is used')
    const key = canonicalJson(info.total_token_usage ?? null)
    if (counted?.key === key) return repeated(record, `the count of line ${counted.line} again`)
    counted = { line: record.line, key }
    const of = uncounted && placeOf(uncounted.records[0])
    answer = undefined
    uncounted = undefined
    const model = modelId !== undefined && { model: { provider, id: modelId } }
    return [
      actionsEntry(
        at(record),
        usageRecorded({ usage, ...(of !== undefined && { messageId: of }), ...model }, { meta: keptIn(record) }),
      ),
    ]
  }

  function compacted(record: FileRecord, payload: JsonObject): ThreadEntry[] {
    answer = undefined
    compactedAt = record.line
    const text = asString(payload.message) ?? ''
    const history = asList(payload.replacement_history)
    const { staying, added } = shown.compact(history)
    const summaryItem = added.findLast((one) => isSummary(one, text)) ?? added.at(-1)
    const summary = summaryItem === undefined ? textSummary(text) : summaryParts(summaryItem, media)
    const compaction: ThreadCompaction = {
      kind: 'compaction',
      ...at(record),
      keeps: (id) => id === baseInstructions || staying.has(id),
      summary: summary && { role: 'user', parts: summary, ...createdAt(at(record)), meta: { kind: 'compact_summary' } },
      records: [keptRecord(record)],
      otherwise: foreign(record, 'a compaction with nothing before it in the file').actions,
    }
    const others = added.filter((one) => one !== summaryItem)
    const placeIn = (one: JsonObject) => history?.indexOf(one) ?? -1
    return [compaction, ...others.map((one, index) => addedEntry(record, one, { number: index + 1, place: placeIn(one) }))]
  }

  /** A message that the new history holds and nothing before it: context that Codex puts in again, and the like. */
  function addedEntry(record: FileRecord, one: JsonObject, { number, place }: { number: number; place: number }): ThreadMessage {
    const role = roleOf(one)
    const parts = role === undefined ? [custom(one, media)] : inputParts(one, media)
    const entry: ThreadMessage = {
      kind: 'message',
      ...at(record),
      id: `${placeOf(record)}:history:${number}`,
      message: { role: role ?? 'developer', parts, ...createdAt(at(record)), meta: { kind: 'context' } },
      ...(role === 'user' && { participant: { id: 'codex', kind: 'program' } }),
      records: [],
    }
    shown.add(entry, () => asList(asObject(record.fields.payload)?.replacement_history)?.[place] ?? null)
    return entry
  }

  function repeated({ line, fields }: FileRecord, reason: string): ThreadEntry[] {
    const type = asString(asObject(fields.payload)?.type)
    skipped.push({ line, recordType: `${fields.type as string}${type === undefined ? '' : `/${type}`}`, reason })
    return []
  }

  function foreign(record: FileRecord, reason: string) {
    const type = asString(record.fields.type) ?? 'unknown'
    const inner = asString(asObject(record.fields.payload)?.type)
    const recordType = inner === undefined ? type : `${type}/${inner}`
    return foreignEntry({ format, record, recordType, reason, media, occurredAt: timeOf(record) })
  }

  /** The record for `meta`; what it repeats of the last answer is not said twice. */
  function keptIn(record: FileRecord): { records: Json[] } {
    const words = last ? wordsOf(answerEntry(last, media).message, placeOf(last.records[0])) : new Map<string, string>()
    return { records: [withoutWords(media.replaceIn(keptRecord(record)), words)] }
  }

  /** The texts among `values` that are not in the metadata as they are. */
  function changed(values: Readonly<Record<string, Json | undefined>>): Record<string, string> {
    const set: Record<string, string> = {}
    for (const [key, value] of Object.entries(values)) {
      if (typeof value !== 'string' || metadata.get(key) === value) continue
      metadata.set(key, value)
      set[key] = value
    }
    return set
  }
}

/** What the model is shown, as items, to find out what stays when a compaction gives a new history. */
function shownItems() {
  let all: { readonly id: string; readonly keys: () => string[]; readonly isInput: boolean }[] = []
  return {
    /** `item` is asked for it when there is something to compare with: a rollout need not fit into memory. */
    add(entry: ThreadMessage | Answer, item: () => Json = () => null): void {
      if (entry.kind === 'answer') all.push({ id: placeOf(entry.records[0]), keys: keysOf(entry.records), isInput: false })
      else all.push({ id: entry.id, keys: () => [canonicalJson(item())], isInput: entry.message.role !== 'tool' })
    },

    /** Without a new history, older versions kept what was sent to the model and was no result. */
    compact(history: readonly Json[] | undefined): {
      readonly staying: ReadonlySet<string>
      readonly added: readonly JsonObject[]
    } {
      const items = (history ?? []).map((value) => ({ key: canonicalJson(value), fields: asObject(value), isKnown: false }))
      let from = 0
      all = all.filter(({ keys, isInput }) => {
        if (history === undefined) return isInput
        const wanted = keys()
        const found = items.findIndex((_, index) => index >= from && wanted.every((key, n) => items[index + n]?.key === key))
        if (found < 0) return false
        for (let n = 0; n < wanted.length; n++) (items[found + n] as { isKnown: boolean }).isKnown = true
        from = found + wanted.length
        return true
      })
      const added = items.flatMap(({ fields, isKnown }) => (isKnown || fields === undefined ? [] : [fields]))
      return { staying: new Set(all.map(({ id }) => id)), added }
    },
  }
}

const keysOf = (records: readonly FileRecord[]) => () => records.map(({ fields }) => canonicalJson(fields.payload ?? null))

function answerEntry({ records, model }: Answer, media: MediaShelf): ThreadMessage {
  const [first] = records
  const parts = records.flatMap(({ fields, line }) => answerParts(asObject(fields.payload) ?? {}, line, media))
  return {
    kind: 'message',
    ...at(first),
    message: { role: 'assistant', parts, ...createdAt(at(first)), ...(model && { model }) },
    records: records.map((record) => keptRecord(record)),
  }
}

const isCompaction = (item: JsonObject): boolean => asString(item.type)?.startsWith('compaction') === true

const isSummary = (item: JsonObject, text: string): boolean =>
  isCompaction(item) || (text !== '' && textsOf(item).some((words) => words.includes(text)))

const textSummary = (text: string): Part[] | undefined => (text === '' ? undefined : [{ type: 'compaction', content: text }])

function summaryParts(item: JsonObject, media: MediaShelf): Part[] {
  if (isCompaction(item)) return answerParts({ ...item, type: 'compaction' }, 0, media)
  if (roleOf(item) === undefined) return [custom(item, media)]
  return inputParts(item, media).map((part) => (part.type === 'text' ? { type: 'compaction', content: part.text } : part))
}

function custom(item: JsonObject, media: MediaShelf): Part {
  return { type: 'custom', kind: `openai.${asString(item.type) ?? 'unknown'}`, payload: media.replaceIn(item) }
}

const timeOf = ({ fields }: FileRecord): number | undefined => parseIsoTime(fields.timestamp)

const at = (record: FileRecord) => ({ line: record.line, id: placeOf(record), occurredAt: timeOf(record) })

/** `input_tokens` holds what was read from the cache. */
function usageOf(value: Json | undefined): Usage | undefined {
  const raw = asObject(value)
  const [all, output] = [asCount(raw?.input_tokens), asCount(raw?.output_tokens)]
  if (raw === undefined || all === undefined || output === undefined) return undefined
  const cacheRead = Math.min(asCount(raw.cached_input_tokens) ?? 0, all)
  return {
    input: all - cacheRead,
    output,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
    reasoning: asCount(raw.reasoning_output_tokens) ?? 0,
    raw,
  }
}
