import type { Json } from './json.ts'

/**
 * The end of a key that holds an escape: its last one, the rest without quotes, then quote and colon. Only keys are followed by a colon,
 * so hardly anything else matches (`["\\",":"]` does), which would cost time and nothing else.
 */
const escapedKey = /\\.[^"\\]*"\s*:/

/**
 * `JSON.parse` without a bug of V8: once a process has parsed a key with a backslash in it, other keys with an escape at that place
 * can come out as that one (nodejs/node issue 63785; we found it in Node 24.21, and it is there in 26). What a stored key reads as
 * would depend on what else the process has read, so texts with an escaped key are read here.
 * @throws SyntaxError
 */
export function parseJson(text: string): Json {
  const parsed = JSON.parse(text) as Json
  if (!text.includes('\\') || !escapedKey.test(text)) return parsed
  // It is JSON, or `parse` would have thrown: no need to look for what else it might be.
  return readValue({ text, at: 0 })
}

interface Cursor {
  readonly text: string
  at: number
}

function readValue(cursor: Cursor): Json {
  switch (nextMark(cursor)) {
    case '{':
      return readObject(cursor)
    case '[':
      return readArray(cursor)
    case '"':
      return readString(cursor)
    default:
      return readScalar(cursor)
  }
}

function readObject(cursor: Cursor): Json {
  const entries: [string, Json][] = []
  cursor.at += 1
  while (nextMark(cursor) !== '}') {
    if (nextMark(cursor) === ',') cursor.at += 1
    nextMark(cursor)
    const key = readString(cursor)
    nextMark(cursor)
    cursor.at += 1
    entries.push([key, readValue(cursor)])
  }
  cursor.at += 1
  // Unlike assignment, this makes `__proto__` a key like any other, as JSON.parse does.
  return Object.fromEntries(entries)
}

function readArray(cursor: Cursor): Json {
  const items: Json[] = []
  cursor.at += 1
  while (nextMark(cursor) !== ']') {
    if (nextMark(cursor) === ',') cursor.at += 1
    items.push(readValue(cursor))
  }
  cursor.at += 1
  return items
}

/** A string alone is not touched by the bug. */
function readString(cursor: Cursor): string {
  const start = cursor.at
  let end = start + 1
  while (cursor.text[end] !== '"') end += cursor.text[end] === '\\' ? 2 : 1
  cursor.at = end + 1
  return JSON.parse(cursor.text.slice(start, cursor.at)) as string
}

function readScalar(cursor: Cursor): Json {
  const start = cursor.at
  while (cursor.at < cursor.text.length && !/[\s,\]}]/.test(cursor.text[cursor.at] as string)) cursor.at += 1
  return JSON.parse(cursor.text.slice(start, cursor.at)) as Json
}

/** The next character that is not white space; the cursor stands on it. */
function nextMark(cursor: Cursor): string | undefined {
  while (/\s/.test(cursor.text[cursor.at] ?? '')) cursor.at += 1
  return cursor.text[cursor.at]
}
