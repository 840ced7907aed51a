import { z } from 'zod'
import { defineAction, positionRanges } from '../action.ts'
import { id, message, tokenCount, usage } from './message.ts'

const size = z.strictObject({ messages: z.int().nonnegative(), tokens: tokenCount })

/** Messages by id and by position, both in the order of the working set, and what they weigh. */
const named = z.strictObject({ messageIds: z.array(id).min(1), ranges: positionRanges, tokens: tokenCount })

/** `auto`: the window was filling up. `overflow`: the model refused, or would have. `imported`: another program did it. */
const trigger = z.enum(['auto', 'manual', 'overflow', 'imported'])

/** Of the model call or calls that a summary took. */
const cost = { usage: usage.optional(), model: z.strictObject({ provider: z.string(), id: z.string() }).optional() }

/** Who wrote a summary, what it was asked, and what that cost. Positions of what it read are in the action's `derivedFrom`. */
const summarising = z.strictObject({
  /** `id@version`. */
  by: z.string(),
  /** Ids of the messages that it read, in order, where they are others than the covered ones. */
  readIds: z.array(id).optional(),
  maxTokens: tokenCount,
  instructions: z.string().optional(),
  /** SHA-256 of the canonical JSON of all it read, in hex: what is rebuilt from the log can be held against it. */
  requestHash: z.string().regex(/^[0-9a-f]{64}$/),
  /** As the `usageRecorded` of the same command says it. */
  ...cost,
})

/**
 * A summary, or nothing, stands for messages of the working set. The originals stay in the log; this names them, so the
 * compaction can be shown and undone.
 */
export const contextCompacted = defineAction(
  'contextCompacted',
  z.strictObject({
    covered: named,
    /** Those of the covered messages that were redacted when the summary was made. A redaction since makes it stale. */
    redactedIds: z.array(id).optional(),
    summary: z.strictObject({ message, tokenCount }).optional(),
    /** Of the first covered message, when that is a summary itself: what its compaction cannot say when it is read alone. */
    standsAt: z.int().positive().optional(),
    strategy: z.string(),
    trigger,
    /** The working set when it was planned, and what the plan made of it: what arrived since is in neither. */
    before: size,
    after: size,
    /** What the strategy saw to that is kept: identifiers, open questions, decisions. */
    preserved: z.array(z.string()).optional(),
    summarised: summarising.optional(),
    /** The compaction that was undone and is made again, word for word. */
    redoes: z.int().positive().optional(),
  }),
)

/**
 * A compaction came to nothing: the working set is what it was. `usage` and `model` say what was spent on it, as the `usageRecorded` of
 * the same command does.
 */
export const compactionFailed = defineAction(
  'compactionFailed',
  z.strictObject({
    strategy: z.string(),
    trigger,
    reason: z.enum([
      /** There was nothing to do it with, by the strategy. */
      'within_target',
      'too_few_messages',
      'nothing_removable',
      /** The summariser rejected, said nothing, or said more than it may. */
      'summariser_failed',
      'summary_empty',
      'summary_too_long',
      /** It would have freed next to nothing. */
      'no_progress',
      /** What it covers changed meanwhile, or a guard or middleware refused it. */
      'stale',
      'refused',
    ]),
    problem: z.string().optional(),
    /** `id@version`, when a summariser was asked. */
    by: z.string().optional(),
    ...cost,
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
