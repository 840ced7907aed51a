import { canonicalJson, defaultLimits, type Json, type JsonObject, type Message } from '@colloquy/core'

/** Shorter strings are not worth a pointer. */
const shortestWords = 40

/** Where each longer string of a message stands: a JSON pointer into it. */
export type Words = ReadonlyMap<string, string>

/**
 * Where the longer strings of a message stand, as JSON pointers into the message. With `of`, the id of the message goes before
 * the pointer, for records that other messages are made of too.
 */
export function wordsOf({ parts }: Pick<Message, 'parts'>, of = ''): Map<string, string> {
  const words = new Map<string, string>()
  const walk = (value: Json | undefined, pointer: string): void => {
    if (typeof value === 'string') {
      if (value.length >= shortestWords && !words.has(value)) words.set(value, pointer)
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) walk(item as Json, `${pointer}/${index}`)
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, field] of Object.entries(value)) walk(field, `${pointer}/${escaped(key)}`)
    }
  }
  for (const [index, part] of parts.entries()) walk(part as unknown as Json, `${of}/parts/${index}`)
  return words
}

/**
 * What `meta.records` keeps of a record: all of it, but with `{"$message": pointer}` for every string that stands in the message.
 * The record can be put together again from both, no text is stored twice, and one that is erased leaves nothing behind here.
 * A list or object wider than the log takes becomes `{"$text": its JSON}`. A record that has `$message` itself is kept as text.
 */
export function withoutWords(record: Json, words: Words): Json {
  if (words.size > 0 && holdsKey(record, '$message')) return { $text: canonicalJson(record) }
  return replaced(record, words)
}

/** The reverse of `withoutWords`, for a record of which all words stand in `message`. */
export function withWords(record: Json, message: Pick<Message, 'parts'>): Json {
  if (typeof record !== 'object' || record === null) return record
  if (Array.isArray(record)) return (record as readonly Json[]).map((item) => withWords(item, message))
  const { $message: pointer } = record as JsonObject
  if (typeof pointer === 'string') return at(message as unknown as Json, pointer) ?? null
  return Object.fromEntries(Object.entries(record).map(([key, field]) => [key, withWords(field, message)]))
}

function at(value: Json, pointer: string): Json | undefined {
  let found: Json | undefined = value
  for (const step of pointer.split('/').slice(1)) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined
    found = (found as JsonObject)[key]
  }
  return found
}

/** The value as the log can hold it: see `withoutWords`. */
export const storable = (value: Json): Json => replaced(value, noWords)
const noWords: Words = new Map()

function replaced(value: Json, words: Words): Json {
  if (typeof value === 'string') {
    const pointer = value.length >= shortestWords ? words.get(value) : undefined
    return pointer === undefined ? value : { $message: pointer }
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value as JsonObject)
  if (entries.length > defaultLimits.keys) return { $text: JSON.stringify(value) }
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => replaced(item, words))
  return Object.fromEntries(entries.map(([key, field]) => [key, replaced(field, words)]))
}

function holdsKey(value: Json, wanted: string): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return value.some((item: Json) => holdsKey(item, wanted))
  return Object.entries(value).some(([key, field]) => key === wanted || holdsKey(field, wanted))
}

const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1')
