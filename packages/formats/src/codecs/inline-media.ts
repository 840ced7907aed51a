/**
 * Files that are written into messages as base64 are taken out on the way in and put back on the way out.
 *
 * In between, `{"$media": hash, "bytes": n}` stands for the base64, with `before` for what a data URL has in front of it. A key
 * that looks like ours (`$media`, `$$media`, ...) is written with one more `$`, so nothing that somebody wrote can be mistaken for
 * a file, and `put back (take out (x))` is x for every x.
 */
import { type Json, type JsonObject, type Media, type Sha256, toHex } from '@colloquy/core'
import { decodeBase64 } from '../base64.ts'
import { asList, asObject, asString } from './fields.ts'

export interface MediaTaker {
  /** A copy of `value` without the files in it. */
  readonly takeOut: (value: Json) => Json
  readonly all: () => readonly Media[]
}

/** Where the bytes of media are found when something is encoded. */
export type MediaLookup = (hash: string) => Uint8Array | undefined

/** Arguments of tools are the model's words: they stay as they are, whatever they look like. */
const untouched: ReadonlySet<string> = new Set(['input', 'args', 'arguments'])
const ourKey = /^\$+media$/

export function mediaTaker(sha256: Sha256): MediaTaker {
  const byHash = new Map<string, Media>()

  const take = (value: Json, key?: string): Json => {
    if (typeof value === 'string') return (key !== undefined && takeDataUrl(key, value)) || value
    const list = asList(value)
    if (list !== undefined) return list.map((inner) => take(inner))
    const fields = asObject(value)
    if (fields === undefined) return value
    const file = fileIn(fields)
    return Object.fromEntries(
      Object.entries(fields).map(([name, inner]): [string, Json] => {
        const stored = name === file?.key ? store(file.mediaType, file.base64) : undefined
        const escaped = ourKey.test(name) ? `$${name}` : name
        return [escaped, untouched.has(name) ? inner : (stored ?? take(inner, name))]
      }),
    )
  }

  const store = (mediaType: string, base64: string, before?: string): Json | undefined => {
    const bytes = decodeBase64(base64)
    if (bytes === undefined) return undefined
    const hash = toHex(sha256(bytes))
    if (!byHash.has(hash)) byHash.set(hash, { hash, mediaType, bytes })
    return mediaMark(hash, bytes.length, before)
  }

  const takeDataUrl = (key: string, text: string): Json | undefined => {
    if (!dataUrlKeys.has(key)) return undefined
    const head = dataUrlHead.exec(text)
    return head?.[1] === undefined ? undefined : store(head[1], text.slice(head[0].length), head[0])
  }

  return { takeOut: (value) => take(value), all: () => [...byHash.values()] }
}

export interface MediaMark {
  readonly hash: string
  readonly bytes: number
  /** In front of the base64: the head of a data URL. */
  readonly before?: string
}

/** What stands for a file's base64. */
export function mediaMark(hash: string, bytes: number, before?: string): JsonObject {
  return { $media: hash, bytes, ...(before !== undefined && { before }) }
}

export function asMediaMark(value: Json | undefined): MediaMark | undefined {
  const fields = asObject(value)
  const [hash, bytes, before] = [asString(fields?.$media), fields?.bytes, asString(fields?.before)]
  if (hash === undefined || typeof bytes !== 'number') return undefined
  return { hash, bytes, ...(before !== undefined && { before }) }
}

/** The media type that a data URL says. */
export function mediaTypeOfUrl(mark: MediaMark): string | undefined {
  return mark.before === undefined ? undefined : dataUrlHead.exec(mark.before)?.[1]
}

/** A copy of `value` with its files in it again, and the keys as they were written. A file that is not found stays out. */
export function putBack(value: Json, lookup: MediaLookup): Json {
  const list = asList(value)
  if (list !== undefined) return list.map((inner) => putBack(inner, lookup))
  const fields = asObject(value)
  if (fields === undefined) return value
  const mark = asMediaMark(fields)
  const bytes = mark && lookup(mark.hash)
  if (mark && bytes) return `${mark.before ?? ''}${encodeBase64(bytes)}`
  return Object.fromEntries(
    Object.entries(fields).map(([name, inner]): [string, Json] => [
      ourKey.test(name) && name.startsWith('$$') ? name.slice(1) : name,
      untouched.has(name) ? inner : putBack(inner, lookup),
    ]),
  )
}

/** Whether every file in `value` is found. */
export function hasAllMedia(value: Json, lookup: MediaLookup): boolean {
  const list = asList(value)
  if (list !== undefined) return list.every((inner) => hasAllMedia(inner, lookup))
  const fields = asObject(value)
  if (fields === undefined) return true
  const mark = asMediaMark(fields)
  if (mark !== undefined) return lookup(mark.hash) !== undefined
  return Object.entries(fields).every(([name, inner]) => untouched.has(name) || hasAllMedia(inner, lookup))
}

const dataUrlKeys: ReadonlySet<string> = new Set(['url', 'image_url', 'file_data', 'file_url', 'data', 'image', 'uri', 'fileUri'])
const dataUrlHead = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=.+-]+)*;base64,/

/** The shapes in which formats write a file: base64 beside its media type, and two that leave the media type to be known. */
function fileIn(fields: JsonObject): { key: string; base64: string; mediaType: string } | undefined {
  if (fields.type === 'text') return undefined
  const mediaType = mediaTypeIn(fields)
  for (const key of ['data', 'base64', 'image', 'result']) {
    const base64 = asString(fields[key])
    if (base64 !== undefined && mediaType(key) !== undefined) return { key, base64, mediaType: mediaType(key) as string }
  }
  return undefined
}

function mediaTypeIn(fields: JsonObject): (key: string) => string | undefined {
  const said =
    asString(fields.media_type) ?? asString(fields.mediaType) ?? asString(fields.mimeType) ?? asString(fields.mime_type)
  return (key) => {
    if (key === 'result') return fields.type === 'image_generation_call' ? 'image/png' : undefined
    if (key === 'image') return fields.type === 'image' ? (said ?? 'image/*') : undefined
    if (typeof fields.format === 'string') return said ?? `audio/${fields.format}`
    return said ?? (fields.type === 'data' ? 'application/octet-stream' : undefined)
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
/** Characters put together at a time: one string per three bytes would be millions of them. */
const chunk = 8190

export function encodeBase64(bytes: Uint8Array): string {
  let text = ''
  for (let from = 0; from < bytes.length; from += chunk) {
    let piece = ''
    for (let i = from; i < Math.min(from + chunk, bytes.length); i += 3) {
      const [a = 0, b, c] = [bytes[i], bytes[i + 1], bytes[i + 2]]
      const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0)
      piece += alphabet.charAt(bits >> 18) + alphabet.charAt((bits >> 12) & 63)
      piece += (b === undefined ? '=' : alphabet.charAt((bits >> 6) & 63)) + (c === undefined ? '=' : alphabet.charAt(bits & 63))
    }
    text += piece
  }
  return text
}
