import type { Message, OpenedEnvelope } from '@colloquy/core'
import { type Transcript, transcriptOf } from './transcript.ts'

export interface SaidMessages {
  readonly transcript: Transcript
  /** All messages ever, also those that a compaction took out of the working set; those that must not be shown are left out. */
  readonly messages: readonly Message[]
}

export function saidMessages(envelopes: Iterable<OpenedEnvelope>): SaidMessages {
  const transcript = transcriptOf(envelopes)
  const messages = transcript.entries.flatMap((entry) => (entry.kind === 'message' && !entry.hidden ? [entry.message] : []))
  return { transcript, messages }
}
