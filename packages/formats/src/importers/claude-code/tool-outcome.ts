import type { Json, JsonObject, Part } from '@colloquy/core'
import { asDuration, asObject } from '../fields.ts'
import { resultText } from './parts.ts'

type ToolResult = Extract<Part, { type: 'tool_result' }>

/** Files know errors only as `is_error`; that a person refused the call, or stopped it, is in the words that the model was told. */
const refused =
  /^The user doesn't want to (proceed with this tool use|take this action right now)|^Permission to use .* has been denied/
const stopped = /^\[Request interrupted by user/

export function statusOf(block: JsonObject, details: Json | undefined): ToolResult['status'] {
  const text = resultText(block)
  if (stopped.test(text) || asObject(details)?.interrupted === true) return 'interrupted'
  if (block.is_error !== true) return 'ok'
  return refused.test(text) || details === 'User rejected tool use' ? 'denied' : 'error'
}

/** How long the tool ran, from the richer copy beside its result. */
export function durationOf(details: Json | undefined): number | undefined {
  const fields = asObject(details)
  return asDuration(fields?.durationMs) ?? asDuration(fields?.totalDurationMs)
}
