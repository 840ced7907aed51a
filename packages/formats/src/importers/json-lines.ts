/**
 * Reads JSON lines as they are found in the wild: a line may hold several values, a file may begin with a byte order mark, end in
 * the middle of a value, or not be text at all.
 *
 * Nothing is changed in silence. What the log could not give back as it was (integers beyond 2^53, equal keys, `__proto__`, deep
 * nesting) is kept as its text: the member of the record under which it lies becomes `{"$text": "..."}`, or the whole record does,
 * and `problems` says so.
 */
import { ColloquyError, defaultLimits, fromUtf8, type Json } from '@colloquy/core'
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
 * @throws `import_refused` for a file that is empty, not UTF-8, or holds NUL bytes
 */
export function readText(source: string, content: string | Uint8Array): string {
  const decoded = typeof content === 'string' ? content : decode(source, content)
  const text = decoded.startsWith('\ufeff') ? decoded.slice(1) : decoded
  const nul = text.indexOf('\0')
  if (nul >= 0)
    throw refusal(source, lineAt(text, nul), 'there is a NUL byte, so this is no text. Give a transcript as its program wrote it')
  if (text.trim() === '') throw refusal(source, 1, 'the file is empty. Give a transcript with at least one record')
  return text
}

/** Every value of every line, and every line that is none. */
export function readJsonLines(text: string): JsonLines {
  const records: JsonRecord[] = []
  const bad: BadLine[] = []
  const lines = text.split('\n')
  const lastLine = lines.findLastIndex((line) => line.trim() !== '')
  for (const [index, line] of lines.entries()) readLine(line, index + 1, index === lastLine, records, bad)
  return { records, bad }
}

export function refusal(source: string, line: number, problem: string, cause?: unknown): ColloquyError<'import_refused'> {
  return new ColloquyError('import_refused', { source, line, problem }, cause === undefined ? undefined : { cause })
}

function readLine(text: string, line: number, isLast: boolean, records: JsonRecord[], bad: BadLine[]): void {
  let from = 0
  for (let ordinal = 1; ; ordinal++) {
    while (from < text.length && isWhitespace(text[from] as string)) from++
    if (from >= text.length) return
    const scanned = scanJson(text, from, limits)
    if (scanned === undefined) {
      bad.push({ line, ordinal, text: text.slice(from), problem: 'the JSON does not end', isTruncated: isLast })
      return
    }
    const value = parse(text, from, scanned)
    if (value === undefined) {
      // A word or number that is cut at the end of the file looks like any other bad word.
      bad.push({ line, ordinal, text: text.slice(from), problem: 'this is not JSON', isTruncated: false })
      return
    }
    records.push({ line, ordinal, value, problems: scanned.problems })
    from = scanned.end
  }
}

/** The value with what cannot be held as JSON kept as text. Undefined: it is no JSON. */
function parse(text: string, from: number, { end, problems, members }: ScannedJson): Json | undefined {
  const own = text.slice(from, end)
  try {
    if (problems.length === 0) return JSON.parse(own) as Json
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
    return JSON.parse(replaced + text.slice(at, end)) as Json
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
    throw refusal(
      source,
      firstBadLine(bytes),
      'the bytes are not UTF-8, so this is no text. Give a transcript as its program wrote it',
      cause,
    )
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

function lineAt(text: string, index: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i >= 0 && i < index; i = text.indexOf('\n', i + 1)) line++
  return line
}
