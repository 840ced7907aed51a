/** Parts of ours as every codec looks at them: arguments, results, and what is sent instead of a part that has no block there. */
import { type Json, type JsonObject, jsonDepth, type Message, ownJson, type Part } from '@colloquy/core'
import { asObject, asString } from './fields.ts'
import type { Report } from './loss.ts'

export type ToolCall = Extract<Part, { type: 'tool_call' }>
export type ToolResult = Extract<Part, { type: 'tool_result' }>
export type Media = Extract<Part, { type: 'media' }>
export type Text = Extract<Part, { type: 'text' }>
export type Reasoning = Extract<Part, { type: 'reasoning' }>
export type Custom = Extract<Part, { type: 'custom' }>
export type Approval = Extract<Part, { type: 'approval' }>
export type ResultPart = ToolResult['content'][number]

/** A part and where it stands. `index` is absent for what was added. */
export interface Entry<P extends Part = Part> {
  readonly part: P
  readonly message: Message
  readonly index?: number
  /** Of a result or an approval: the call that it is about. */
  readonly call?: Entry<ToolCall>
}

/** Any JSON that a tool gave back; every format writes it its own way. */
const jsonKind = 'colloquy.json'

export const jsonPart = (payload: Json): Custom => ({ type: 'custom', kind: jsonKind, payload })
export const isJsonPart = (part: Part): boolean => part.type === 'custom' && part.kind === jsonKind
export const isCall = (entry: Entry): entry is Entry<ToolCall> => entry.part.type === 'tool_call'
export const isApproval = (entry: Entry): entry is Entry<Approval> => entry.part.type === 'approval'
export const isResult = (entry: Entry): entry is Entry<ToolResult> => entry.part.type === 'tool_result'

export function textPart(text: string): Text {
  return { type: 'text', text }
}

/** What a codec cannot read stays whole. */
export function customPart(provider: string, block: Json): Custom {
  const type = asString(asObject(block)?.type) ?? 'unknown'
  return { type: 'custom', kind: `${provider}.${type}`, payload: block }
}

/** Arguments deeper than this would not fit, inside a message, into an action. */
const deepestArguments = 40

/** Argument text as the model wrote it, with the value it parses to when it does. */
export function argumentText(raw: string): ToolCall['args'] {
  if (jsonDepth(raw) > deepestArguments) return { raw, valid: false }
  try {
    return { raw, json: ownJson(JSON.parse(raw)), valid: true }
  } catch {
    // Not JSON, or JSON that would be changed: the text is what counts.
    return { raw, valid: false }
  }
}

/** Arguments that came as a value. */
export function argumentValue(json: Json | undefined): ToolCall['args'] {
  return json === undefined ? { raw: '', valid: false } : { raw: JSON.stringify(json), json, valid: true }
}

/** The arguments as an object, for targets that take nothing else. */
export function argumentObject(entry: Entry<ToolCall>, report: Report): JsonObject {
  const { raw, json } = entry.part.args
  const fields = asObject(json)
  if (fields !== undefined) return fields
  if (json === undefined && raw.trim() === '') return {}
  report('arguments_changed', entry)
  return { arguments: json ?? raw }
}

export const isBlank = (text: string): boolean => text.trim() === ''

/** The kind of media that a media type says. */
export function mediaKindOf(mediaType: string): Media['kind'] {
  const [family] = mediaType.split('/')
  if (family === 'image' || family === 'audio' || family === 'video') return family
  return mediaType === 'application/pdf' || family === 'text' ? 'document' : 'file'
}

export function mediaLine(part: Media): string {
  const name = part.filename === undefined ? '' : ` ${part.filename}`
  return `[${part.kind}${name} (${part.mediaType}), not sent]`
}

/** The words of a part that is only words to the target; what else the part says is reported. */
export function wordsOf(entry: Entry<Text>, report: Report): string {
  const { text, citations, cacheHint } = entry.part
  if (citations !== undefined && citations.length > 0) report('citations_dropped', entry)
  if (cacheHint !== undefined) report('cache_hint_dropped', entry)
  return text
}

/** Text in the place of a part that the target has no block for; undefined: nothing is sent. */
export function textInstead(entry: Entry, report: Report): string | undefined {
  const { part } = entry
  switch (part.type) {
    case 'text':
      return wordsOf(entry as Entry<Text>, report)
    case 'refusal':
      report('converted_to_text', entry)
      return part.text
    case 'media':
      report('media_replaced', entry)
      return mediaLine(part)
    case 'compaction':
      if (part.content === undefined) break
      report('converted_to_text', entry)
      if (part.opaque !== undefined) report('opaque_dropped', entry)
      return part.content
    case 'custom':
      if (part.kind === 'colloquy.redacted') {
        report('converted_to_text', entry)
        return '[redacted]'
      }
      return isJsonPart(part) ? JSON.stringify(part.payload) : drop(entry, report)
    default:
  }
  return drop(entry, report)
}

function drop(entry: Entry, report: Report): undefined {
  switch (entry.part.type) {
    case 'reasoning':
      report('reasoning_dropped', entry)
      return
    case 'compaction':
      report('opaque_dropped', entry)
      return
    case 'approval':
      report('approval_dropped', entry)
      return
    case 'citation_source':
      report('citations_dropped', entry)
      return
    default:
      report('part_dropped', entry)
  }
}

/** What a result holds, each piece as an entry of the result's place. */
export function resultEntries(entry: Entry<ToolResult>): Entry<ResultPart>[] {
  return entry.part.content.map((part) => ({ ...entry, part }))
}

/** Text of a piece of a result, for targets whose results are text. Blocks that only their provider knows are shown as JSON. */
export function resultPieceText(piece: Entry<ResultPart>, report: Report): string {
  const { part } = piece
  if (part.type === 'custom' && !isJsonPart(part) && part.kind !== 'colloquy.redacted') {
    report('converted_to_text', piece)
    return JSON.stringify(part.payload)
  }
  return textInstead(piece, report) ?? ''
}

export function resultText(entry: Entry<ToolResult>, report: Report): string {
  return resultEntries(entry)
    .map((piece) => resultPieceText(piece, report))
    .join('\n')
}

/** For targets without a place for it: only `ok` goes without saying. What was added to close a call is reported as that. */
export function reportStatus(entry: Entry<ToolResult>, report: Report): void {
  if (entry.part.status !== 'ok' && entry.index !== undefined) report('status_dropped', entry)
}

/** For targets without a place for it. */
export function reportAuthor(message: Message, report: Report): void {
  if (message.author !== undefined) report('author_dropped', { message })
}

/** What reasoning says in words, for targets that take the words of others. Signatures and encrypted content are not among them. */
export function reasoningWords(entry: Entry<Reasoning>, report: Report): string | undefined {
  const { text, summary, signature, encrypted } = entry.part
  const words = text ?? (summary !== undefined && summary.length > 0 ? summary.join('\n') : undefined)
  if (words !== undefined && (signature !== undefined || encrypted !== undefined)) report('opaque_dropped', entry)
  return words
}

/**
 * The name of the tool that a result is of, for formats that write it there: the call's. In a transcript the one that it came with,
 * which is under `key` in its metadata.
 */
export function toolNameOf({ part, call }: Entry<ToolResult>, key: string, isRequest: boolean): string {
  const own = asString(asObject(part.providerMetadata?.[key])?.name)
  return (isRequest ? undefined : own) ?? call?.part.name ?? own ?? 'unnamed'
}
