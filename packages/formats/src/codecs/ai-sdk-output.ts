/** Results and files as the AI SDK writes them, in both kinds of its messages. */
import type { Json, JsonObject } from '@colloquy/core'
import type { Writing } from './codec.ts'
import { asList, asObject, asString, defined } from './fields.ts'
import { asMediaMark, mediaMark, mediaTypeOfUrl } from './inline-media.ts'
import {
  customPart,
  type Entry,
  isJsonPart,
  jsonPart,
  type Media,
  mediaKindOf,
  type ResultPart,
  resultEntries,
  resultPieceText,
  resultText,
  type ToolResult,
  textPart,
} from './parts.ts'

const provider = 'ai-sdk'

type Outcome = Pick<ToolResult, 'status' | 'content'>

/** The `output` of a `tool-result`. */
export function readOutput(output: Json | undefined): Outcome | undefined {
  const fields = asObject(output)
  const text = asString(fields?.value)
  const value = fields?.value
  switch (fields?.type) {
    case 'text':
    case 'error-text':
      return text === undefined ? undefined : { status: fields.type === 'text' ? 'ok' : 'error', content: [textPart(text)] }
    case 'json':
    case 'error-json':
      return value === undefined ? undefined : { status: fields.type === 'json' ? 'ok' : 'error', content: [jsonPart(value)] }
    case 'execution-denied': {
      const reason = asString(fields.reason)
      return { status: 'denied', content: reason === undefined ? [] : [textPart(reason)] }
    }
    case 'content': {
      const list = asList(value)
      return list && { status: 'ok', content: list.map(readPiece) }
    }
    default:
      return undefined
  }
}

export function writeOutput(entry: Entry<ToolResult>, { report, isRequest }: Writing): JsonObject {
  const { status, content } = entry.part
  const [only] = content
  if (status === 'denied') {
    const reason = content.length === 0 ? undefined : resultText(entry, report)
    return defined({ type: 'execution-denied', reason })
  }
  const isJson = only !== undefined && content.length === 1 && isJsonPart(only)
  if (isJson && only.type === 'custom' && (status === 'ok' || status === 'error')) {
    return { type: status === 'ok' ? 'json' : 'error-json', value: only.payload }
  }
  if (status !== 'ok') {
    if (status !== 'error' && entry.index !== undefined) report('status_dropped', entry)
    return { type: 'error-text', value: resultText(entry, report) }
  }
  if (content.length === 1 && only?.type === 'text' && only.raw === undefined) return { type: 'text', value: only.text }
  const value = resultEntries(entry).flatMap((piece) => writePiece(piece, { report, isRequest }))
  return { type: 'content', value }
}

/** A piece keeps its block when ours would not be the same. */
function readPiece(block: Json): ResultPart {
  const fields = asObject(block)
  const text = asString(fields?.text)
  if (fields?.type === 'text' && text !== undefined) {
    const part = textPart(text)
    return Object.keys(fields).length === 2 ? part : { ...part, origin: { provider, api: 'output' }, raw: block }
  }
  return customPart(provider, block)
}

function writePiece(piece: Entry<ResultPart>, { report }: Writing): Json[] {
  const { part } = piece
  if (part.raw !== undefined && part.origin?.api === 'output') return [part.raw]
  if (part.type === 'custom' && part.kind.startsWith(`${provider}.`)) return [part.payload]
  if (part.type === 'media') {
    const block = writePieceMedia(part)
    if (block !== undefined) return [block]
  }
  const text = resultPieceText(piece, report)
  return text === '' ? [] : [{ type: 'text', text }]
}

function writePieceMedia({ kind, mediaType, source, filename }: Media): JsonObject | undefined {
  const isImage = kind === 'image'
  if (source.kind === 'url') return { type: isImage ? 'image-url' : 'file-url', url: source.url }
  if (source.kind !== 'hash') return undefined
  const data = mediaMark(source.hash, source.bytes)
  return defined({ type: isImage ? 'image-data' : 'file-data', data, mediaType, filename: isImage ? undefined : filename })
}

/** A `file` or `image` part of a model message: its data is base64, a URL, or says which. */
export function readAiSdkFile(block: JsonObject): Media | undefined {
  const isImage = block.type === 'image'
  const key = isImage ? 'image' : 'data'
  const tagged = asObject(block[key])
  const mark = asMediaMark(block[key]) ?? asMediaMark(tagged?.data) ?? asMediaMark(tagged?.url)
  const url = asString(block[key]) ?? asString(tagged?.url)
  const text = asString(tagged?.text)
  const mediaType =
    asString(block.mediaType) ?? (mark && mediaTypeOfUrl(mark)) ?? (isImage ? 'image/*' : 'application/octet-stream')
  const filename = asString(block.filename)
  const about = { type: 'media' as const, kind: mediaKindOf(mediaType), mediaType, ...(filename !== undefined && { filename }) }
  if (mark) return { ...about, source: { kind: 'hash', hash: mark.hash, bytes: mark.bytes } }
  if (text !== undefined) return { ...about, source: { kind: 'text', text } }
  const references = Object.entries(asObject(tagged?.reference) ?? {})
  const [owner, fileId] = references[0] ?? []
  if (references.length === 1 && owner !== undefined && typeof fileId === 'string') {
    return { ...about, source: { kind: 'providerFile', provider: owner, fileId } }
  }
  return url === undefined ? undefined : { ...about, source: { kind: 'url', url } }
}

export function writeAiSdkFile({ mediaType, source, filename }: Media): JsonObject {
  const file = (data: Json): JsonObject => defined({ type: 'file', data, mediaType, filename })
  switch (source.kind) {
    case 'hash':
      return file(mediaMark(source.hash, source.bytes))
    case 'url':
      return file(source.url)
    case 'text':
      return file({ type: 'text', text: source.text })
    case 'providerFile':
      return file({ type: 'reference', reference: { [source.provider]: source.fileId } })
    default:
      return source satisfies never
  }
}
