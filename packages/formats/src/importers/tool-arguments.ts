import { defaultLimits, type Json, type Part, parseJson } from '@colloquy/core'
import { scanJson } from './scan-json.ts'

type Arguments = Extract<Part, { type: 'tool_call' }>['args']

/** Levels that the action puts around the arguments: payload, message, parts, [n], args, json. */
const levelsAround = 7
const limits = { depth: defaultLimits.depth - levelsAround, keys: defaultLimits.keys }

/** Arguments as text, as the model wrote them. The parsed value is there when the log can hold it without changing it. */
export function argumentsFromText(raw: string): Arguments {
  try {
    // Text that is no JSON is legal: tools may take plain text, and models are cut off.
    const json = parseJson(raw)
    const start = raw.length - raw.trimStart().length
    const scanned = scanJson(raw, start, limits)
    return scanned?.problems.length === 0 ? { raw, json, valid: true } : { raw, valid: true }
  } catch {
    return { raw, valid: false }
  }
}

/** Arguments that a file holds as a value: their text is gone, so one is made. */
export function argumentsFromValue(value: Json | undefined): Arguments {
  if (value === undefined) return { raw: '', valid: false }
  const raw = JSON.stringify(value)
  const isWhole = scanJson(raw, 0, limits)?.problems.length === 0
  return isWhole ? { raw, json: value, valid: true } : { raw, valid: true }
}
