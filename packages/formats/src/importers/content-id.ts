import { canonicalJson, type Json, type Sha256, toHex, toUtf8 } from '@colloquy/core'
import { asId } from './fields.ts'
import type { ImportOptions } from './source-file.ts'

/** Sixteen hex digits of the hash of a value: the same for the same content, whatever the order of its keys. */
export function contentId(value: Json, sha256: Sha256): string {
  return toHex(sha256(toUtf8(canonicalJson(value)))).slice(0, 16)
}

/** An id that a file gives a conversation, when a conversation of ours can have it: "~" and "colloquy:" begin what only we name. */
export function asConversationId(value: Json | undefined): string | undefined {
  const id = asId(value)
  return id === undefined || id.includes('~') || id.startsWith('colloquy:') ? undefined : id
}

/** Ids for the conversations of one file, no two the same. The one that the options give is that of the first. */
export function conversationIds({ conversationId }: ImportOptions): (wanted: string) => string {
  const taken = new Set<string>()
  return (wanted) => {
    const given =
      conversationId === undefined ? wanted : taken.size === 0 ? conversationId : `${conversationId}:${taken.size + 1}`
    let id = given
    for (let n = 2; taken.has(id); n++) id = `${given}#${n}`
    taken.add(id)
    return id
  }
}
