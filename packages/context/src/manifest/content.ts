/** What a manifest names: pieces of content, each by the SHA-256 of its JSON. */
import { type Media, type Message, plainMessage, toHex, toUtf8 } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'

export interface Content {
  /** SHA-256 in hex, of the UTF-8 of the JSON. */
  readonly hash: string
  readonly bytes: number
}

/** Of messages that are frozen, which those of a state are: hashing a long working set for every call would cost more than the call. */
const known = new WeakMap<object, Content>()

/** @throws TypeError for what is not JSON */
export function contentOf(value: unknown): Content {
  const bytes = toUtf8(JSON.stringify(value))
  return { hash: toHex(sha256(bytes)), bytes: bytes.length }
}

export function contentOfMessage(message: Message): Content {
  const found = known.get(message)
  if (found !== undefined) return found
  const content = contentOf(plainMessage(message))
  if (Object.isFrozen(message)) known.set(message, content)
  return content
}

/** The content as it is kept in the log, under its hash. */
export function mediaOf(value: unknown): Media {
  const bytes = toUtf8(JSON.stringify(value))
  return { hash: toHex(sha256(bytes)), mediaType: 'application/json', bytes }
}

/** Hashes of the files that messages name. */
export function mediaHashesOf(messages: readonly Message[]): ReadonlySet<string> {
  const hashes = new Set<string>()
  const look = (part: { readonly type: string; readonly source?: unknown; readonly content?: unknown }): void => {
    const source = part.source as { readonly kind: string; readonly hash: string } | undefined
    if (part.type === 'media' && source?.kind === 'hash') hashes.add(source.hash)
    if (part.type === 'tool_result') for (const inner of part.content as readonly Message['parts'][number][]) look(inner)
  }
  for (const { parts } of messages) for (const part of parts) look(part)
  return hashes
}
