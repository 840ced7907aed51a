/**
 * Reads a file that is one JSON value. As in JSON lines, nothing is changed in silence: a number that would come out as another
 * one, an object whose keys repeat or hold `__proto__`, and what is nested too deep become `{"$text": "..."}`, exactly where they
 * stand, so that one odd number in an export of a thousand conversations touches nothing else.
 */
import { defaultLimits, type Json, parseJson } from '@colloquy/core'
import { lineAt } from './json-lines.ts'
import { isWhitespace, numberProblem, scanJson } from './scan-json.ts'

export interface JsonDocument {
  readonly value: Json
  /** What is kept as text, and where. */
  readonly problems: readonly DocumentProblem[]
}

interface DocumentProblem {
  /** `$[0].mapping.id` */
  readonly path: string
  readonly problem: string
}

/** Levels that our actions put around a record, and around one that holds the fields of the document itself. */
const levelsAround = 6
const depth = defaultLimits.depth - levelsAround
/** Lists of conversations and of messages are taken apart, so they may be of any length here; see `storable`. */
const noLimit = { depth: Number.POSITIVE_INFINITY, keys: Number.POSITIVE_INFINITY }

/** Undefined: the text is not one object or list. */
export function readJsonDocument(text: string): JsonDocument | undefined {
  const from = firstMark(text, 0)
  if (text[from] !== '{' && text[from] !== '[') return undefined
  const scanned = scanJson(text, from, { depth, keys: noLimit.keys })
  if (scanned === undefined || firstMark(text, scanned.end) < text.length) return undefined
  try {
    if (scanned.problems.length === 0) return { value: parseJson(text), problems: [] }
    JSON.parse(text)
    const problems: DocumentProblem[] = []
    return { value: readValue({ text, at: from, problems }, '$', 1), problems }
  } catch {
    return undefined
  }
}

/** The JSON of a value that was read out of a document, or of a part of it: what is kept as text stands there as it was. */
export function textOfDocument(value: Json, keptPaths: ReadonlySet<string>, path = '$'): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (keptPaths.has(path)) return (value as { readonly $text: string }).$text
  if (Array.isArray(value)) return `[${value.map((item: Json, n) => textOfDocument(item, keptPaths, `${path}[${n}]`)).join(',')}]`
  const fields = Object.entries(value).map(
    ([key, field]) => `${JSON.stringify(key)}:${textOfDocument(field, keptPaths, `${path}.${key}`)}`,
  )
  return `{${fields.join(',')}}`
}

/** What is wrong with a text that begins as one object or list, and where; undefined when it begins as none, or is one. */
export function damageOf(text: string): { readonly line: number; readonly problem: string } | undefined {
  const from = firstMark(text, 0)
  if (text[from] !== '{' && text[from] !== '[') return undefined
  const scanned = scanJson(text, from, noLimit)
  const began = `the JSON that begins in line ${lineAt(text, from)}`
  if (scanned === undefined) return { line: lineAt(text, text.length - 1), problem: `${began} does not end: the file was cut` }
  const rest = firstMark(text, scanned.end)
  if (rest < text.length) return { line: lineAt(text, rest), problem: `something follows behind the end of ${began}` }
  try {
    JSON.parse(text)
    return undefined
  } catch (error) {
    const line = /\(line (\d+) column \d+\)/.exec((error as Error).message)?.[1]
    return { line: Number(line ?? 1), problem: `${began} is not whole JSON` }
  }
}

interface Cursor {
  readonly text: string
  at: number
  readonly problems: DocumentProblem[]
}

/** Reads one value; only texts that `JSON.parse` takes come here. */
function readValue(cursor: Cursor, path: string, level: number): Json {
  const start = firstMark(cursor.text, cursor.at)
  const isContainer = cursor.text[start] === '{' || cursor.text[start] === '['
  if (isContainer && level > depth) return keepText(cursor, start, path, `nested deeper than ${depth} levels`)
  cursor.at = start
  if (cursor.text[start] === '{') return readObject(cursor, path, level)
  if (cursor.text[start] === '[') return readArray(cursor, path, level)
  const { end } = scanJson(cursor.text, start, noLimit) as { end: number }
  const token = cursor.text.slice(start, end)
  const problem = token.startsWith('"') ? undefined : numberProblem(token)
  if (problem !== undefined) return keepText(cursor, start, path, problem)
  cursor.at = end
  return JSON.parse(token) as Json
}

function readObject(cursor: Cursor, path: string, level: number): Json {
  const start = cursor.at
  const before = cursor.problems.length
  const fields = new Map<string, Json>()
  for (let mark = next(cursor); mark !== '}'; mark = next(cursor)) {
    const keyAt = firstMark(cursor.text, cursor.at)
    const { end } = scanJson(cursor.text, keyAt, noLimit) as { end: number }
    const key = JSON.parse(cursor.text.slice(keyAt, end)) as string
    const problem = fields.has(key) ? 'the same key twice' : key === '__proto__' ? 'the key __proto__' : undefined
    if (problem !== undefined) {
      cursor.problems.length = before
      return keepText(cursor, start, path, problem)
    }
    cursor.at = firstMark(cursor.text, end) + 1
    fields.set(key, readValue(cursor, `${path}.${key}`, level + 1))
  }
  cursor.at += 1
  return Object.fromEntries(fields)
}

function readArray(cursor: Cursor, path: string, level: number): Json {
  const items: Json[] = []
  for (let mark = next(cursor); mark !== ']'; mark = next(cursor)) {
    items.push(readValue(cursor, `${path}[${items.length}]`, level + 1))
  }
  cursor.at += 1
  return items
}

/** Steps over the bracket or comma; the mark after it, on which the cursor stands. A value there is read by the caller. */
function next(cursor: Cursor): string | undefined {
  const here = cursor.text[firstMark(cursor.text, cursor.at)]
  if (here === '{' || here === '[' || here === ',') cursor.at = firstMark(cursor.text, cursor.at) + 1
  cursor.at = firstMark(cursor.text, cursor.at)
  return cursor.text[cursor.at]
}

function keepText(cursor: Cursor, start: number, path: string, problem: string): Json {
  const { end } = scanJson(cursor.text, start, noLimit) as { end: number }
  cursor.at = end
  cursor.problems.push({ path, problem })
  return { $text: cursor.text.slice(start, end) }
}

function firstMark(text: string, from: number): number {
  let at = from
  while (at < text.length && isWhitespace(text[at] as string)) at++
  return at
}
