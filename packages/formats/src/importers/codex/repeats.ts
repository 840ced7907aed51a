import type { JsonObject } from '@colloquy/core'
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

/** Each event takes the first item of its kind that says the same and that no other event has taken. */
export function repeatsIn(records: readonly FileRecord[]): Repeats {
  const lines = new Map<string, number[]>()
  for (const { fields, line } of records) {
    const item = fields.type === 'response_item' ? asObject(fields.payload) : undefined
    for (const [kind, text] of item ? said(item) : []) {
      const key = `${kind} ${text}`
      const known = lines.get(key)
      if (known) known.push(line)
      else lines.set(key, [line])
    }
  }
  const repeats = new Map<FileRecord, number>()
  for (const record of records) {
    const event = record.fields.type === 'event_msg' ? asObject(record.fields.payload) : undefined
    const type = asString(event?.type) ?? ''
    const text = asString(event?.message) ?? asString(event?.text)
    if (!Object.hasOwn(kinds, type) || text === undefined) continue
    const line = lines.get(`${kinds[type]} ${unmarked(text)}`)?.shift()
    if (line !== undefined) repeats.set(record, line)
  }
  return repeats
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
