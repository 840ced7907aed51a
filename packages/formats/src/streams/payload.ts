import { defaultLimits, type Json } from '@colloquy/core'
import { isWhitespace, type JsonProblem, type ScannedJson, scanJson } from '../importers/scan-json.ts'

/** What the data of one event holds: usually one JSON value. */
export type Payload =
  | { readonly type: 'json'; readonly value: Json }
  | { readonly type: 'done' }
  | { readonly type: 'unreadable'; readonly text: string; readonly problem: string }

/** Levels that an action puts around the part of a message in which a payload is kept. */
const levelsAround = 12
const limits = { depth: defaultLimits.depth - levelsAround, keys: defaultLimits.keys }
const doneMark = '[DONE]'

/** Several values follow each other where a server leaves out the blank line between events. */
export function readPayloads(data: string): Payload[] {
  const payloads: Payload[] = []
  for (let from = 0; ; ) {
    while (from < data.length && isWhitespace(data[from] as string)) from++
    if (from >= data.length) return payloads
    if (data.startsWith(doneMark, from)) {
      payloads.push({ type: 'done' })
      from += doneMark.length
      continue
    }
    const scanned = scanJson(data, from, limits)
    if (scanned === undefined) return [...payloads, unreadable(data.slice(from), 'the JSON does not end')]
    const text = data.slice(from, scanned.end)
    const value = parse(text, scanned)
    if (value === undefined) return [...payloads, unreadable(data.slice(from), whyNot(scanned))]
    payloads.push({ type: 'json', value })
    from = scanned.end
  }
}

/** A JSON text whose value the log holds without changing it. Undefined for any other text. */
export function parseExactly(text: string): Json | undefined {
  const scanned = scanJson(text, 0, limits)
  if (scanned === undefined || scanned.problems.length > 0) return undefined
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

/** Numbers that would come out as others become `{"$text": "..."}`; keys that would be lost make the value unreadable. */
function parse(text: string, { problems }: ScannedJson): Json | undefined {
  if (!problems.every(isAboutNumber)) return undefined
  try {
    if (problems.length === 0) return JSON.parse(text) as Json
    return JSON.parse(text, (_key, value: Json, context?: { source?: string }) => {
      const source = typeof value === 'number' ? context?.source : undefined
      const isExact = source === undefined || scanJson(source, 0, limits)?.problems.length === 0
      return isExact ? value : { $text: source }
    }) as Json
  } catch {
    return undefined
  }
}

const isAboutNumber = ({ problem }: JsonProblem): boolean => problem.startsWith('the number ')

function whyNot({ problems }: ScannedJson): string {
  const first = problems.find((problem) => !isAboutNumber(problem))
  return first === undefined ? 'this is not JSON' : `${first.problem} at ${first.path}`
}

const unreadable = (text: string, problem: string): Payload => ({ type: 'unreadable', text, problem })
