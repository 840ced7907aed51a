import { type JsonObject, type Sha256, toHex, toUtf8 } from '@colloquy/core'
import { asList, asObject, asString } from '../fields.ts'
import type { FileRecord } from '../file-records.ts'
import { roleOf, textsOf } from './items.ts'

/** Events that repeat an item of the rollout for the screen, and the lines of what they repeat. */
export type Repeats = ReadonlyMap<FileRecord, number>

const kinds: Readonly<Record<string, 'user' | 'assistant' | 'reasoning'>> = {
  user_message: 'user',
  agent_message: 'assistant',
  agent_reasoning: 'reasoning',
  agent_reasoning_raw_content: 'reasoning',
}

/** A text this long is not kept to compare it with others: its hash is, and its length. */
const longText = 200

/** Each event takes the first item of its kind that says the same and that no other event has taken. */
export function findRepeats(sha256: Sha256) {
  const lines = new Map<string, number[]>()
  const events: { readonly record: FileRecord; readonly key: string }[] = []
  const keyOf = (kind: string, text: string): string =>
    `${kind} ${text.length > longText ? `${text.length} ${toHex(sha256(toUtf8(text)))}` : text}`

  return {
    look(record: FileRecord): void {
      const payload = asObject(record.fields.payload)
      if (payload === undefined) return
      if (record.fields.type === 'response_item') {
        for (const [kind, text] of said(payload)) {
          const key = keyOf(kind, text)
          const known = lines.get(key)
          if (known) known.push(record.line)
          else lines.set(key, [record.line])
        }
      } else if (record.fields.type === 'event_msg') {
        const type = asString(payload.type) ?? ''
        const text = asString(payload.message) ?? asString(payload.text)
        if (Object.hasOwn(kinds, type) && text !== undefined) {
          events.push({ record, key: keyOf(kinds[type] as string, unmarked(text)) })
        }
      }
    },

    /** When all records were looked at: an item may stand after the event that repeats it. */
    repeats(): Repeats {
      const repeats = new Map<FileRecord, number>()
      for (const { record, key } of events) {
        const line = lines.get(key)?.shift()
        if (line !== undefined) repeats.set(record, line)
      }
      return repeats
    },
  }
}

function said(item: JsonObject): [string, string][] {
  if (item.type === 'reasoning') {
    const blocks = [...(asList(item.summary) ?? []), ...(asList(item.content) ?? [])]
    return blocks.flatMap((block): [string, string][] => {
      const text = asString(asObject(block)?.text)
      return text === undefined ? [] : [['reasoning', unmarked(text)]]
    })
  }
  const role = roleOf(item)
  const texts = role === undefined ? [] : textsOf(item)
  const whole = texts.length > 1 ? [texts.join('')] : []
  return role === undefined ? [] : [...texts, ...whole].map((text) => [role, unmarked(text)])
}

/** Published rollouts have marks for words, which name the field and then say of the words themselves only length and hash. */
const unmarked = (text: string): string => /^\[REDACTED_\w+ (len=\d+ sha=\w+)\]$/.exec(text)?.[1] ?? text
