import { type ConversationAction, type Part, toolCancelled, toolFailed, toolSucceeded } from '@colloquy/core'

type ToolResult = Extract<Part, { type: 'tool_result' }>

/** The action that ends the call. */
export function toolEnded(
  { callId, status, content }: ToolResult,
  messageId: string,
  resultMessageId: string,
  durationMs?: number,
): ConversationAction {
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
