import { type Json, type JsonObject, type Media, type Sha256, toHex, toUtf8 } from '@colloquy/core'
import { decodeBase64 } from '../base64.ts'

/** Takes media out of records: bytes are kept once, by hash, and never inside an action. */
export interface MediaShelf {
  /** Undefined when the text is not canonical base64: then it must stay where it is. */
  readonly put: (mediaType: string, base64: string) => { readonly hash: string; readonly bytes: number } | undefined
  /** The same for a `data:` URL, which says its media type itself. */
  readonly putUrl: (url: string) => { readonly mediaType: string; readonly hash: string; readonly bytes: number } | undefined
  /** A long text as a file, `{"$media": hash, "bytes": n, "isText": true}`. Undefined when UTF-8 cannot hold it. */
  readonly putText: (text: string) => { readonly $media: string; readonly bytes: number; readonly isText: true } | undefined
  /** `value`, or a copy in which every base64 file is `{"$media": hash, "bytes": n}`, and a `data:` URL has its `mediaType` there too. */
  readonly replaceIn: <T extends Json>(value: T) => T
  readonly all: () => readonly Media[]
  /** Those that came since the last time, of which only the hash is remembered from now on. */
  readonly take: () => readonly Media[]
}

export function mediaShelf(sha256: Sha256): MediaShelf {
  const byHash = new Map<string, Media | undefined>()
  let added: Media[] = []

  const keep = (mediaType: string, bytes: Uint8Array) => {
    const hash = toHex(sha256(bytes))
    if (!byHash.has(hash)) {
      added.push({ hash, mediaType, bytes })
      byHash.set(hash, added.at(-1))
    }
    return { hash, bytes: bytes.length }
  }

  const put: MediaShelf['put'] = (mediaType, base64) => {
    const bytes = decodeBase64(base64)
    return bytes && keep(mediaType, bytes)
  }

  const putText: MediaShelf['putText'] = (text) => {
    if (!text.isWellFormed()) return undefined
    const { hash, bytes } = keep('text/plain', toUtf8(text))
    return { $media: hash, bytes, isText: true }
  }

  const putUrl: MediaShelf['putUrl'] = (url) => {
    const mediaType = url.startsWith('data:') ? dataUrlHead.exec(url)?.[1] : undefined
    const stored = mediaType === undefined ? undefined : put(mediaType, url.slice(url.indexOf(',') + 1))
    return mediaType !== undefined && stored ? { mediaType, ...stored } : undefined
  }

  const replace = (value: Json): Json => {
    if (typeof value === 'string') {
      const stored = putUrl(value)
      return stored ? { $media: stored.hash, bytes: stored.bytes, mediaType: stored.mediaType } : value
    }
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return kept(value as readonly Json[], (value as readonly Json[]).map(replace))
    const keys = Object.keys(value)
    const fields = keys.map((key) => replace((value as JsonObject)[key] as Json))
    const file = fileIn(value as JsonObject)
    const stored = file && put(file.mediaType, file.base64)
    if (stored === undefined && fields.every((field, n) => field === (value as JsonObject)[keys[n] as string])) return value
    const copy = Object.fromEntries(keys.map((key, n): [string, Json] => [key, fields[n] as Json]))
    if (file && stored) copy[file.key] = { $media: stored.hash, bytes: stored.bytes }
    return copy
  }

  return {
    put,
    putUrl,
    putText,
    replaceIn: (value) => replace(value) as typeof value,
    all: () => [...byHash.values()].filter((media) => media !== undefined),
    take() {
      const taken = added
      added = []
      for (const { hash } of taken) byHash.set(hash, undefined)
      return taken
    },
  }
}

/** The list that was there, where nothing in it is another: records are large, and most hold no file. */
function kept(list: readonly Json[], copy: readonly Json[]): readonly Json[] {
  return copy.every((item, n) => item === list[n]) ? list : copy
}

/** Without parameters: a URL with them would not come back as it was. */
const dataUrlHead = /^data:([\w.+-]+\/[\w.+-]+);base64,/

/** The shapes in which files are written: the API's source, `{data, mimeType}` of MCP and Gemini, and `{base64, type}` of tool results. */
function fileIn(value: JsonObject): { key: string; base64: string; mediaType: string } | undefined {
  const { type, data, media_type: mediaType, mimeType, base64 } = value
  if (typeof data === 'string' && typeof mimeType === 'string') return { key: 'data', base64: data, mediaType: mimeType }
  if (type === 'base64' && typeof data === 'string' && typeof mediaType === 'string')
    return { key: 'data', base64: data, mediaType }
  if (typeof base64 === 'string') {
    return { key: 'base64', base64, mediaType: typeof type === 'string' ? type : 'application/octet-stream' }
  }
  return undefined
}
