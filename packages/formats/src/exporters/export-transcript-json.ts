import type { OpenedEnvelope } from '@colloquy/core'
import { formatIsoTime } from '../iso-time.ts'
import { transcriptOf } from './transcript.ts'

/**
 * The transcript as one JSON text, for programs that want the words and not the log: messages in our model, compactions, errors
 * and interruptions with position and ISO time. What was redacted or erased is marked and has no content.
 */
export function exportTranscriptJson(envelopes: Iterable<OpenedEnvelope>): string {
  const { first, last, entries, ...about } = transcriptOf(envelopes)
  return JSON.stringify(
    {
      format: 'colloquy-transcript@1',
      ...about,
      positions: first && last ? [first.position, last.position] : null,
      startedAt: first ? formatIsoTime(first.occurredAt) : null,
      endedAt: last ? formatIsoTime(last.occurredAt) : null,
      entries: entries.map(({ occurredAt, ...entry }) => ({ ...entry, at: formatIsoTime(occurredAt) })),
    },
    null,
    2,
  )
}
