import {
  type ConversationAction,
  type Json,
  type JsonObject,
  type Part,
  toolCancelled,
  toolFailed,
  toolSucceeded,
} from '@colloquy/core'
import { resultText } from './parts.ts'
import { asDuration, asObject } from './record.ts'

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

/** The action that ends the call. */
export function toolEnded(
  { callId, status, content }: ToolResult,
  messageId: string,
  resultMessageId: string,
  details?: Json,
): ConversationAction {
  const durationMs = durationOf(details)
  const [first] = content
  const text = first?.type === 'text' ? first.text : ''
  const end = { messageId, callId, resultMessageId, ...(durationMs !== undefined && { durationMs }) }
  switch (status) {
    case 'ok':
      return toolSucceeded(end)
    case 'denied':
      return toolFailed({ ...end, kind: 'denied' })
    case 'interrupted':
      return toolCancelled({ ...end, reason: 'interrupted by the user' })
    case 'error':
      return toolFailed({ ...end, kind: 'error', ...(text !== '' && { problem: firstLine(text) }) })
    case 'unknown':
      return toolFailed({ ...end, kind: 'outcome_unknown' })
    default:
      return status satisfies never
  }
}

/** Enough of an error to tell it from others; the whole is in the result's message. */
function firstLine(text: string): string {
  const line = text.trimStart().split('\n', 1)[0] ?? ''
  return line.length > 200 ? `${line.slice(0, 200)}…` : line
}

function durationOf(details: Json | undefined): number | undefined {
  const fields = asObject(details)
  return asDuration(fields?.durationMs) ?? asDuration(fields?.totalDurationMs)
}
