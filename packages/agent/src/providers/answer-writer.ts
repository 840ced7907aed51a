/** Answers that come as values and not as bytes, told as the decoders tell theirs. */
import { sha256 } from '@colloquy/engine'
import { type Answer, createSession, type OpenPart, type Session, type StreamEvent } from '@colloquy/formats'

export interface AnswerWriter {
  readonly session: Session
  readonly answer: Answer
  /** The events since the last time. */
  readonly drain: () => StreamEvent[]
}

export function openAnswer(
  source: { readonly provider: string; readonly api: string; readonly model: string },
  ids?: (answer: { readonly number: number }) => string,
): AnswerWriter {
  let events: StreamEvent[] = []
  const { provider, api, model } = source
  const session = createSession({ provider, api }, { sha256, ...(ids && { ids }) }, (event) => events.push(event))
  const answer = session.openAnswer({ responseId: undefined, model })
  return {
    session,
    answer,
    drain: () => {
      const drained = events
      events = []
      return drained
    },
  }
}

/** Appends to a part that is open; empty texts say nothing. */
export function append(part: OpenPart, kind: 'text' | 'reasoning' | 'arguments', text: string): void {
  if (text !== '') part.append({ kind, text })
}
