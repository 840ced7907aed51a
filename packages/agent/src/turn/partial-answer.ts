import type { Media, Message, Part, Usage } from '@colloquy/core'
import type { StreamEvent } from '@colloquy/formats'

/**
 * An answer as far as it is known, for the case that the model never ends it: its stream hangs when it is aborted, or breaks without a
 * word. The decoders' own end is the better one, where it comes.
 */
export interface PartialAnswer {
  take(event: StreamEvent): void
  /** What has arrived, as an interrupted message; parts that were open are kept when they are text. */
  message(): Message
}

export function partialAnswer(start: Extract<StreamEvent, { type: 'answerStarted' }>): PartialAnswer {
  const parts = new Map<number, Part | undefined>()
  let usage: Usage | undefined
  return {
    take: (event) => {
      if (event.type === 'partStarted') parts.set(event.part, undefined)
      else if (event.type === 'partDone') parts.set(event.part, event.value)
      else if (event.type === 'usageReported') usage = event.usage
      else if (event.type === 'partDelta') {
        const { delta } = event
        const before = parts.get(event.part)
        if (delta.kind !== 'text' && delta.kind !== 'reasoning') return
        const text = (before !== undefined && 'text' in before ? (before.text ?? '') : '') + delta.text
        const open =
          delta.kind === 'text' ? { type: 'text' as const, text } : { type: 'reasoning' as const, text, redacted: false }
        parts.set(event.part, open)
      }
    },
    message: () => ({
      v: 1,
      id: start.messageId,
      role: 'assistant',
      parts: [...parts.values()].filter((part) => part !== undefined),
      model: {
        provider: start.provider,
        api: start.api,
        id: start.model ?? 'unknown',
        ...(start.responseId !== undefined && { responseId: start.responseId }),
        stop: { unified: 'interrupted', raw: null },
        ...(usage !== undefined && { usage }),
      },
    }),
  }
}

export interface EndedAnswer {
  readonly message: Message
  readonly media: readonly Media[]
  readonly isInterrupted: boolean
}
