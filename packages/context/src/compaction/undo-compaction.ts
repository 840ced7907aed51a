/** Compactions taken back, made again, or made in another way. Nothing is copied: messages come back out of the log. */
import {
  type Action,
  ColloquyError,
  type ConversationState,
  compactionUndone,
  contextCompacted,
  messageRedacted,
  type PositionRange,
  readAction,
  resolveAction,
  resolverOf,
  type StampedAction,
} from '@colloquy/core'
import { type Conversation, type Engine, uuidv7 } from '@colloquy/engine'
import { type CompactOptions, type CompactResult, compact } from './compact.ts'
import { sizeAfter, tokensOf } from './plan-compaction.ts'
import { type LogReader, storedAction } from './stored-action.ts'

type Compaction = StampedAction<'contextCompacted', Parameters<typeof contextCompacted>[0]>
type Undo = ReturnType<typeof compactionUndone>

/** An engine whose conversations have our state, and perhaps more. */
export type CompactionEngine = LogReader & Pick<Engine<ConversationState>, 'open' | 'replay'>

export interface UndoneCompaction {
  /** Of the undo. */
  readonly position: number
  readonly compactionPosition: number
  readonly restoredMessages: number
  readonly restoredTokens: number
}

/**
 * The messages that a compaction covers come back to their places, as the log has them now, and its summary goes.
 * @param at position of the compaction; default the youngest that stands
 * @throws `compaction_not_found` also for one that was undone, or that a younger compaction covers
 */
export async function undoCompaction(
  engine: CompactionEngine,
  conversationId: string,
  options: { readonly at?: number; readonly commandId?: string } = {},
): Promise<UndoneCompaction> {
  const conversation = await openExisting(engine, conversationId)
  const { compaction, undo } = await undoOf(engine, conversation, options.at)
  const { position } = await conversation.dispatch(undo, commandOf(options))
  const { messageIds, tokens } = compaction.payload.covered
  return {
    position,
    compactionPosition: compaction.position,
    restoredMessages: messageIds.length,
    restoredTokens: tokens,
  }
}

/**
 * Makes a compaction that was undone once more, with the summary that it had: no summariser is asked.
 * @returns its position
 * @throws `compaction_stale` when what it covers is not there as it was, `compaction_not_found`
 */
export async function redoCompaction(
  engine: CompactionEngine,
  conversationId: string,
  options: { readonly at: number; readonly commandId?: string },
): Promise<{ readonly position: number }> {
  const conversation = await openExisting(engine, conversationId)
  const { payload, derivedFrom } = await compactionAt(engine, conversationId, options.at)
  const { messages, context } = conversation.getState()
  const ids = new Set(payload.covered.messageIds)
  const covered = messages.slice().filter((m) => ids.has(m.id))
  const before = { messages: messages.length, tokens: context.usedTokens }
  const { summary, summarised, standsAt: _, ...rest } = payload
  const standsAt = covered[0]?.standsAt
  const { usage: _usage, model: _model, ...asked } = summarised ?? {}
  const action = contextCompacted(
    {
      ...rest,
      covered: { ...payload.covered, tokens: tokensOf(covered) },
      // Another message than the one that left: ids of messages are not used twice.
      ...(summary && { summary: { ...summary, message: { ...summary.message, id: `summary:${uuidv7()}` } } }),
      ...(standsAt !== undefined && { standsAt }),
      ...(summarised && { summarised: asked as typeof summarised }),
      trigger: 'manual',
      before,
      after: sizeAfter(before, covered, summary?.tokenCount ?? null),
      redoes: options.at,
    },
    { derivedFrom: [...(derivedFrom ?? []), [options.at, options.at]] },
  )
  const { position } = await conversation.dispatch(action, commandOf(options))
  return { position }
}

/**
 * Compacts anew, in another way, what a compaction covers and what came since: undo and compaction are one command, so that nothing
 * is undone when the other way comes to nothing.
 * @param at position of the compaction; default the youngest that stands
 * @throws `compaction_not_found`, and as `compact`
 */
export async function recompact(
  engine: CompactionEngine,
  conversationId: string,
  options: CompactOptions & { readonly at?: number },
): Promise<CompactResult> {
  const conversation = await openExisting(engine, conversationId)
  const { undo } = await undoOf(engine, conversation, options.at)
  const undone = await afterUndo(engine, conversation, undo)
  return compact(
    {
      getState: () => undone,
      // What is said of a failure is said of the conversation as it is, which nothing was undone in.
      dispatch: (actions, dispatchOptions) => {
        const list: readonly Action[] = Array.isArray(actions) ? (actions as readonly Action[]) : [actions as Action]
        const isCompaction = list.some((action) => contextCompacted.match(action))
        return conversation.dispatch(isCompaction ? [undo, ...list] : list, dispatchOptions)
      },
    },
    options,
  )
}

async function openExisting(engine: CompactionEngine, conversationId: string): Promise<Conversation<ConversationState>> {
  const head = await engine.log.head({ tenant: engine.tenant, conversationId })
  if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
  const conversation = await engine.open(conversationId)
  await conversation.refresh()
  return conversation
}

/** @throws `compaction_not_found` for a position that is none of a compaction */
async function compactionAt(engine: LogReader, conversationId: string, position: number): Promise<Compaction> {
  const action = await storedAction(engine, conversationId, position)
  if (!contextCompacted.match(action)) throw new ColloquyError('compaction_not_found', { position })
  return action
}

async function undoOf(
  engine: LogReader,
  conversation: Conversation<ConversationState>,
  at: number | undefined,
): Promise<{ readonly compaction: Compaction; readonly undo: Undo }> {
  const position = at ?? youngestCompaction(conversation.getState())
  if (position === undefined) throw new ColloquyError('compaction_not_found', { position: null })
  const compaction = await compactionAt(engine, conversation.id, position)
  const { covered, summary } = compaction.payload
  const first = Math.min(...covered.ranges.map(([from]) => from))
  const redactions = await redactionsOf(engine, conversation, new Set(covered.messageIds), first)
  const undo = compactionUndone(
    { compactionPosition: position, restored: covered, summaryTokens: summary?.tokenCount ?? 0, redactions },
    { derivedFrom: [[position, position], ...covered.ranges] },
  )
  return { compaction, undo }
}

/** Of the compactions that can be undone now. */
function youngestCompaction({ messages, context }: ConversationState): number | undefined {
  const summaries = messages
    .slice()
    .filter((m) => m.standsAt !== undefined)
    .map((m) => m.position)
  const positions = [...summaries, ...context.unseenCompactions]
  return positions.length === 0 ? undefined : Math.max(...positions)
}

/** Covered messages cannot be redacted any more by a dispatch; before they were covered, or by an import, they may have been. */
async function redactionsOf(
  engine: LogReader,
  { id: conversationId, position: to }: Conversation<ConversationState>,
  messageIds: ReadonlySet<string>,
  from: number,
): Promise<PositionRange[]> {
  const key = { tenant: engine.tenant, conversationId }
  const found: PositionRange[] = []
  for await (const page of engine.log.actions(key, { from, to })) {
    for (const stored of page) {
      const { type, position } = stored
      if (type !== messageRedacted.type) continue
      const action = await readAction(engine.reducer, stored, async () => [])
      if (messageRedacted.match(action) && messageIds.has(action.payload.messageId)) found.push([position, position])
    }
  }
  return found
}

/** The state as it would be after the undo. @throws `compaction_not_found` */
async function afterUndo(
  engine: CompactionEngine,
  conversation: Conversation<ConversationState>,
  undo: Undo,
): Promise<ConversationState> {
  const state = conversation.getState()
  const resolve = resolverOf(engine.log, { tenant: engine.tenant, conversationId: conversation.id }, engine.reducer)
  const stamped = { ...undo, position: conversation.position + 1, occurredAt: 0, actor: null }
  const resolved = await resolveAction(engine.reducer, stamped, resolve)
  engine.reducer.guard(state, resolved)
  return engine.reducer.reduce(state, resolved) as ConversationState
}

const commandOf = ({ commandId }: { readonly commandId?: string | undefined }) => (commandId === undefined ? {} : { commandId })
