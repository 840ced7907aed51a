import { z } from 'zod'
import { defineAction, positionRanges } from '../action.ts'
import { id, message, tokenCount } from './message.ts'

const size = z.strictObject({ messages: z.int().nonnegative(), tokens: tokenCount })

/** Messages by id and by position, both in the order of the working set, and what they weigh. */
const named = z.strictObject({ messageIds: z.array(id).min(1), ranges: positionRanges, tokens: tokenCount })

/**
 * A summary, or nothing, stands for messages of the working set. The originals stay in the log; this names them, so the
 * compaction can be shown and undone.
 */
export const contextCompacted = defineAction(
  'contextCompacted',
  z.strictObject({
    covered: named,
    summary: z.strictObject({ message, tokenCount }).optional(),
    /** Of the first covered message, when that is a summary itself: what its compaction cannot say when it is read alone. */
    standsAt: z.int().positive().optional(),
    strategy: z.string(),
    trigger: z.enum(['auto', 'manual', 'overflow', 'imported']),
    before: size,
    after: size,
  }),
)

/**
 * The messages that a compaction covers are in the working set again, and its summary is not. The originals are not copied:
 * `restored.ranges` names their positions, with the redactions since, and they are read from the log as they stand now.
 */
export const compactionUndone = defineAction(
  'compactionUndone',
  z.strictObject({
    compactionPosition: z.int().positive(),
    restored: named,
    /** Tokens of the summary that leaves. */
    summaryTokens: tokenCount,
    /** Positions of the `messageRedacted` actions that touch what is restored. */
    redactions: positionRanges,
  }),
  { resolve: (payload) => [...payload.restored.ranges, ...payload.redactions] },
)
