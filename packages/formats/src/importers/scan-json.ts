/**
 * Where a JSON value ends in a text, and what of it would be lost in parsing. `JSON.parse` silently rounds integers beyond 2^53,
 * turns 1e400 into Infinity and lets the last of two equal keys win; parsers recurse, this does not. It is no validator:
 * what it lets pass is still parsed.
 */
import type { Limits } from '@colloquy/core'

/** Something in a JSON text that the log could not give back as it was. */
export interface JsonProblem {
  readonly path: string
  readonly problem: string
  /** The key of the outermost object under which it lies; undefined when it concerns the whole value. */
  readonly member: string | undefined
}

export interface ScannedJson {
  /** Where the value ends in the text. */
  readonly end: number
  /** At most one for each member, and one for the whole. */
  readonly problems: readonly JsonProblem[]
  /** Where the values of the outermost object lie. */
  readonly members: ReadonlyMap<string, readonly [from: number, to: number]>
  /** A key is written with an escape: `JSON.parse` may read another one (see core's `parseJson`). */
  readonly hasEscapedKey: boolean
}

/** An object or array that is open at the moment; `entries` are those begun. */
interface Container {
  readonly keys: Set<string> | undefined
  entries: number
  key: string
  expectsKey: boolean
}

const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const word = /[^\s,:{}[\]"]+/y

/** Scans the value that begins at `from`. Undefined: the text ends before the value does. */
export function scanJson(text: string, from: number, limits: Pick<Limits, 'depth' | 'keys'>): ScannedJson | undefined {
  const stack: Container[] = []
  const problems: JsonProblem[] = []
  const members = new Map<string, readonly [number, number]>()
  const reported = new Set<string | undefined>()
  let memberFrom = -1
  let hasEscapedKey = false

  const reportFor = (member: string | undefined, problem: string): void => {
    // The first of a member is enough to set it aside; a hostile text has millions.
    if (reported.has(member)) return
    reported.add(member)
    problems.push({ path: pathOf(stack), problem, member })
  }
  const report = (problem: string): void => reportFor(stack[0]?.keys && stack[0].key, problem)
  /** About the innermost container: when that is the outermost, no member of it can be set aside alone. */
  const reportContainer = (problem: string): void => (stack.length > 1 ? report(problem) : reportFor(undefined, problem))
  const openEntry = (container: Container): void => {
    container.entries += 1
    if (container.entries === limits.keys + 1) reportContainer(`more than ${limits.keys} entries`)
  }
  const takeKey = (container: Container, quoted: string): void => {
    const isEscaped = quoted.includes('\\')
    if (isEscaped) hasEscapedKey = true
    container.key = isEscaped ? unescaped(quoted) : quoted.slice(1, -1)
    container.expectsKey = false
    openEntry(container)
    if (container.keys?.has(container.key)) reportContainer('the same key twice')
    container.keys?.add(container.key)
    if (container.key === '__proto__') reportContainer('the key __proto__')
  }
  const closeMember = (end: number): void => {
    if (stack.length !== 1 || memberFrom < 0) return
    members.set(stack[0]?.key ?? '', [memberFrom, end])
    memberFrom = -1
  }

  let top: Container | undefined
  for (let i = from; i < text.length; ) {
    switch (text.charCodeAt(i)) {
      case 0x20 /* space */:
      case 0x09 /* tab */:
      case 0x0a /* line feed */:
      case 0x0d /* carriage return */:
        i += 1
        break
      case 0x3a /* : */:
        i += 1
        if (stack.length === 1) memberFrom = i
        break
      case 0x2c /* , */:
        closeMember(i)
        if (top?.keys) top.expectsKey = true
        i += 1
        break
      case 0x7d /* } */:
      case 0x5d /* ] */:
        closeMember(i)
        stack.pop()
        i += 1
        if (stack.length === 0) return { end: i, problems, members, hasEscapedKey }
        top = stack.at(-1)
        break
      case 0x7b /* { */:
      case 0x5b /* [ */:
        {
          if (top && !top.keys) openEntry(top)
          const isObject = text.charCodeAt(i) === 0x7b
          top = { keys: isObject ? new Set() : undefined, entries: 0, key: '', expectsKey: isObject }
          stack.push(top)
          if (stack.length > limits.depth) report(`nested deeper than ${limits.depth} levels`)
          i += 1
          break
        }
      case 0x22 /* " */:
        {
          const end = endOfString(text, i)
          if (end < 0) return undefined
          if (top?.keys && top.expectsKey) takeKey(top, text.slice(i, end))
          else if (top && !top.keys) openEntry(top)
          i = end
          if (top === undefined) return { end, problems, members, hasEscapedKey }
          break
        }
      default: {
        if (top && !top.keys) openEntry(top)
        const end = endOfToken(text, i)
        const problem = numberProblem(text.slice(i, end))
        if (problem !== undefined) report(problem)
        i = end
        if (top === undefined) return { end, problems, members, hasEscapedKey }
      }
    }
  }
  return undefined
}

/** Why a number of a JSON text would come out as another one; fractions are read as IEEE doubles, as everywhere in JavaScript. */
export function numberProblem(token: string): string | undefined {
  number.lastIndex = 0
  if (!number.test(token) || number.lastIndex !== token.length) return undefined
  const value = Number(token)
  // Nearly all of them.
  if (Number.isSafeInteger(value) && value !== 0) return undefined
  const isChanged =
    !Number.isFinite(value) ||
    Object.is(value, -0) ||
    (Number.isInteger(value) && !Number.isSafeInteger(value)) ||
    (value === 0 && /[1-9]/.test(token.replace(/[eE].*/, '')))
  return isChanged ? `the number ${token.length > 40 ? `${token.slice(0, 40)}…` : token}` : undefined
}

/** As JSON has it: no others. */
export const isWhitespace = (char: string): boolean => char === ' ' || char === '\t' || char === '\n' || char === '\r'

/** The place after the closing quote; -1 when there is none. */
function endOfString(text: string, from: number): number {
  for (let i = text.indexOf('"', from + 1); i >= 0; i = text.indexOf('"', i + 1)) {
    let backslashes = 0
    while (text[i - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return i + 1
  }
  return -1
}

function endOfToken(text: string, from: number): number {
  word.lastIndex = from
  return word.test(text) ? word.lastIndex : from + 1
}

/** `"a"` and `"\u0061"` are one key. */
function unescaped(quoted: string): string {
  try {
    return JSON.parse(quoted) as string
  } catch {
    return quoted
  }
}

function pathOf(stack: readonly Container[]): string {
  return `$${stack
    .filter((container) => container.entries > 0)
    .map((container) => (container.keys ? `.${container.key}` : `[${container.entries - 1}]`))
    .join('')}`
}
