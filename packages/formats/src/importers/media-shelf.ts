import { type Json, type JsonObject, type Media, type Sha256, toHex } from '@colloquy/core'
import { decodeBase64 } from '../base64.ts'

/** Takes media out of records: bytes are kept once, by hash, and never inside an action. */
export interface MediaShelf {
  /** Undefined when the text is not canonical base64: then it must stay where it is. */
  readonly put: (mediaType: string, base64: string) => { readonly hash: string; readonly bytes: number } | undefined
  /** The same for a `data:` URL, which says its media type itself. */
  readonly putUrl: (url: string) => { readonly mediaType: string; readonly hash: string; readonly bytes: number } | undefined
  /** A copy of `value` in which every base64 file is `{"$media": hash, "bytes": n}`, and a `data:` URL has its `mediaType` there too. */
  readonly replaceIn: <T extends Json>(value: T) => T
  readonly all: () => readonly Media[]
}

export function mediaShelf(sha256: Sha256): MediaShelf {
  const byHash = new Map<string, Media>()

  const put: MediaShelf['put'] = (mediaType, base64) => {
    const bytes = decodeBase64(base64)
    if (bytes === undefined) return undefined
    const hash = toHex(sha256(bytes))
    if (!byHash.has(hash)) byHash.set(hash, { hash, mediaType, bytes })
    return { hash, bytes: bytes.length }
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
    if (Array.isArray(value)) return value.map(replace)
    const fields = Object.entries(value as JsonObject).map(([key, field]): [string, Json] => [key, replace(field)])
    const copy = Object.fromEntries(fields)
    const file = fileIn(value as JsonObject)
    const stored = file && put(file.mediaType, file.base64)
    if (file && stored) copy[file.key] = { $media: stored.hash, bytes: stored.bytes }
    return copy
  }

  return { put, putUrl, replaceIn: (value) => replace(value) as typeof value, all: () => [...byHash.values()] }
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
