import type { OpenedEnvelope } from '@colloquy/core'
import { anthropicMessages } from '../codecs/anthropic-messages.ts'
import type { ExportOptions } from './exporters.ts'
import { saidMessages } from './said-messages.ts'

/**
 * `{system, messages}` as the Messages API takes them, ready to be sent on: results follow their calls, users and assistant take
 * turns, signed thoughts stand where they were.
 *
 * Losses: what the codec has to change for the API (`losses` of its `encode`): thoughts of other providers, their tools, files
 * without bytes at hand; calls without a result get one that says so. Compactions of ours, errors, usage, turns and times are left
 * out; redacted and erased messages are too.
 */
export function exportAnthropicMessages(envelopes: Iterable<OpenedEnvelope>, { media }: ExportOptions = {}): string {
  const { body } = anthropicMessages.encode(saidMessages(envelopes).messages, { ...(media && { media }) })
  return `${JSON.stringify(body, null, 2)}\n`
}
