/**
 * Reads JSON lines as they are found in the wild: a line may hold several values, a file may begin with a byte order mark, end in
 * the middle of a value, or not be text at all.
 *
 * Nothing is changed in silence. What the log could not give back as it was (integers beyond 2^53, equal keys, `__proto__`, deep
 * nesting) is kept as its text: the member of the record under which it lies becomes `{"$text": "..."}`, or the whole record does,
 * and `problems` says so.
 */
import { defaultLimits, fromUtf8, type Json, parseJson } from '@colloquy/core'
import { refusal } from './refusal.ts'
import { isWhitespace, type JsonProblem, type ScannedJson, scanJson } from './scan-json.ts'

/** One value of a file. */
export interface JsonRecord {
  /** From 1; empty lines count. */
  readonly line: number
  /** From 1: a line may hold several values. */
  readonly ordinal: number
  readonly value: Json
  readonly problems: readonly JsonProblem[]
}

/** Text of a line, or its rest, that is no JSON. */
export interface BadLine {
  readonly line: number
  readonly ordinal: number
  readonly text: string
  readonly problem: string
  /** The last line, and its value does not end: the file was cut, or is still being written. */
  readonly isTruncated: boolean
}

export interface JsonLines {
  readonly records: readonly JsonRecord[]
  readonly bad: readonly BadLine[]
}

/** Levels that our actions put around a record, so that what is read can be stored: action, meta, records, [n]. */
const levelsAround = 4
const limits = { depth: defaultLimits.depth - levelsAround, keys: defaultLimits.keys }

/**
 * The text of a file without its byte order mark.
 * @throws `import_refused` for a file that is empty, compressed, not UTF-8, or holds NUL bytes
 */
export function readText(source: string, content: string | Uint8Array): string {
  if (typeof content !== 'string') {
    const wrapping = wrappings.find(([head]) => head.every((byte, index) => content[index] === byte))
    if (wrapping) throw refusal(source, 1, wrapping[1])
  }
  const decoded = typeof content === 'string' ? content : decode(source, content)
  const text = decoded.startsWith('\ufeff') ? decoded.slice(1) : decoded
  const nul = text.indexOf('\0')
  if (nul >= 0) throw nulByte(source, lineAt(text, nul))
  if (text.trim() === '') throw emptyFile(source)
  return text
}

export const nulByte = (source: string, line: number) =>
  refusal(source, line, 'there is a NUL byte, so this is no text. Give a transcript as its program wrote it')
export const notUtf8 = (source: string, line: number, cause: unknown) =>
  refusal(source, line, 'the bytes are not UTF-8, so this is no text. Give a transcript as its program wrote it', cause)

/** What files begin with that hold a transcript in another form, and what to do with them. */
const wrappings: readonly (readonly [head: readonly number[], problem: string])[] = [
  [[0x1f, 0x8b], 'the file is compressed with gzip. Unpack it'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'the file is compressed with zstd. Unpack it'],
  [[0x50, 0x4b, 0x03, 0x04], 'the file is a ZIP archive. Unpack it, and give the transcripts that are in it'],
  [[0xff, 0xfe], 'the text is UTF-16. Write it as UTF-8'],
  [[0xfe, 0xff], 'the text is UTF-16. Write it as UTF-8'],
]
export const emptyFile = (source: string) => refusal(source, 1, 'the file is empty. Give a transcript with at least one record')

/** Every value of every line, and every line that is none. */
export function readJsonLines(text: string): JsonLines {
  const records: JsonRecord[] = []
  const bad: BadLine[] = []
  const lines = text.split('\n')
  const lastLine = lines.findLastIndex((line) => line.trim() !== '')
  for (const [index, own] of lines.entries()) {
    const line = index + 1
    for (const found of readLine(own)) {
      if ('value' in found) records.push({ line, ordinal: found.ordinal, value: found.value, problems: found.problems })
      else bad.push({ line, ...found.bad, isTruncated: found.isOpen && index === lastLine })
    }
  }
  return { records, bad }
}

/** A value of a line, or its rest that is none. */
type LineValue =
  | {
      readonly ordinal: number
      readonly value: Json
      readonly problems: readonly JsonProblem[]
      /** `JSON.parse` of the whole line gives the value too. */
      readonly isWholeLine: boolean
    }
  /** `isOpen`: the text ends before the value does. */
  | { readonly bad: Pick<BadLine, 'ordinal' | 'text' | 'problem'>; readonly isOpen: boolean }

/** What a line holds, in order. */
export function readLine(text: string): LineValue[] {
  const values: LineValue[] = []
  let from = afterSpace(text, 0)
  for (let ordinal = 1; from < text.length; ordinal++) {
    const scanned = scanJson(text, from, limits)
    const value = scanned && parse(text, from, scanned)
    if (scanned === undefined || value === undefined) {
      // A word or number that is cut at the end of the file looks like any other bad word.
      const problem = scanned === undefined ? 'the JSON does not end' : 'this is not JSON'
      values.push({ bad: { ordinal, text: text.slice(from), problem }, isOpen: scanned === undefined })
      return values
    }
    const { problems, hasEscapedKey } = scanned
    from = afterSpace(text, scanned.end)
    const isWholeLine = ordinal === 1 && from >= text.length && problems.length === 0 && !hasEscapedKey
    values.push({ ordinal, value, problems, isWholeLine })
  }
  return values
}

function afterSpace(text: string, from: number): number {
  let at = from
  while (at < text.length && isWhitespace(text[at] as string)) at++
  return at
}

/** The value with what cannot be held as JSON kept as text. Undefined: it is no JSON. */
function parse(text: string, from: number, { end, problems, members, hasEscapedKey }: ScannedJson): Json | undefined {
  const own = text.slice(from, end)
  const parseOwn = hasEscapedKey ? parseJson : (json: string) => JSON.parse(json) as Json
  try {
    if (problems.length === 0) return parseOwn(own)
    const set = new Set(problems.map((problem) => problem.member))
    if (set.has(undefined)) return isJson(own) ? { $text: own } : undefined
    let replaced = ''
    let at = from
    for (const [key, [memberFrom, memberTo]] of members) {
      if (!set.has(key)) continue
      const memberText = text.slice(memberFrom, memberTo).trim()
      if (!isJson(memberText)) return undefined
      replaced += text.slice(at, memberFrom) + JSON.stringify({ $text: memberText })
      at = memberTo
    }
    return parseOwn(replaced + text.slice(at, end))
  } catch {
    return undefined
  }
}

/** Whether text that will be kept as text is JSON at all; text that is too deep to parse is taken at its word. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    return error instanceof RangeError
  }
}

function decode(source: string, bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    throw notUtf8(source, firstBadLine(bytes), cause)
  }
}

function firstBadLine(bytes: Uint8Array): number {
  let line = 1
  for (let from = 0; from < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, from)
    const to = newline < 0 ? bytes.length : newline
    try {
      fromUtf8(bytes.subarray(from, to))
    } catch {
      return line
    }
    from = to + 1
  }
  return 1
}

/** The line in which a place of a text is, from 1. */
export function lineAt(text: string, index: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i >= 0 && i < index; i = text.indexOf('\n', i + 1)) line++
  return line
}
