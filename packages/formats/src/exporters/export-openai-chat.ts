import type { OpenedEnvelope } from '@colloquy/core'
import { openaiChat } from '../codecs/openai-chat.ts'
import type { ExportOptions } from './exporters.ts'
import { saidMessages } from './said-messages.ts'

/**
 * `{messages}` as Chat Completions takes them, ready to be sent on: calls are paired with results, roles are in order.
 *
 * Losses: what the codec has to change for the API (`losses` of its `encode`): reasoning, citations, files without bytes at hand,
 * provider tools; calls without a result get one that says so. Compactions, errors, usage, turns and times are left out; redacted
 * and erased messages are too.
 */
export function exportOpenAiChat(envelopes: Iterable<OpenedEnvelope>, { media }: ExportOptions = {}): string {
  const { body } = openaiChat.encode(saidMessages(envelopes).messages, { ...(media && { media }) })
  return `${JSON.stringify(body, null, 2)}\n`
}
