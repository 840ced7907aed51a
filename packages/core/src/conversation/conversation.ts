/**
 * The conversation: all of our slices, the closed union of our actions, and the reducer over them.
 * A later concept adds its file to this folder and its slice to `conversationSlices`.
 */
import type { ActionOf, StampedAction } from '../action.ts'
import { combineSlices, type StateOf } from '../combine-slices.ts'
import {
  budget,
  type budgetRefused,
  type budgetReleased,
  type budgetReserved,
  type budgetSet,
  type budgetSettled,
  type budgetWarned,
} from './budget.ts'
import type { compactionFailed, compactionUndone, contextCompacted } from './compaction.ts'
import { context } from './context.ts'
import { type circuitClosed, type circuitOpened, type degraded, type errorRecorded, health, type recovered } from './health.ts'
import {
  type conversationArchived,
  type conversationCleared,
  type conversationForked,
  type conversationStarted,
  type conversationTitled,
  lifecycle,
} from './lifecycle.ts'
import { type foreignRecordKept, lineage } from './lineage.ts'
import { manifest, type modelCalled } from './manifest.ts'
import { type messageAdded, type messagePinned, type messageRedacted, messages, type messageUnpinned } from './messages.ts'
import { metadata, type metadataChanged } from './metadata.ts'
import { type participantJoined, type participantLeft, participants } from './participants.ts'
import { preferences, type preferencesChanged } from './preferences.ts'
import {
  type approvalDecided,
  type approvalRequested,
  type toolCancelled,
  type toolEndedLate,
  type toolFailed,
  type toolProgressed,
  type toolRequested,
  type toolStarted,
  type toolSucceeded,
  tools,
} from './tools.ts'
import { turn, type turnEnded, type turnInterrupted, type turnResumed, type turnStarted } from './turn.ts'
import { usage, type usageRecorded } from './usage.ts'

/** The slices that make up a conversation. */
export const conversationSlices = [
  lifecycle,
  lineage,
  participants,
  preferences,
  metadata,
  messages,
  context,
  tools,
  turn,
  usage,
  budget,
  manifest,
  health,
] as const

/** The state of a conversation, by concept. */
export type ConversationState = StateOf<typeof conversationSlices>

/** Every action of ours, closed: `switch (action.type)` is checked for completeness. */
export type ConversationAction = ActionOf<
  | typeof conversationStarted
  | typeof conversationTitled
  | typeof conversationArchived
  | typeof conversationCleared
  | typeof conversationForked
  | typeof foreignRecordKept
  | typeof participantJoined
  | typeof participantLeft
  | typeof preferencesChanged
  | typeof metadataChanged
  | typeof messageAdded
  | typeof messageRedacted
  | typeof messagePinned
  | typeof messageUnpinned
  | typeof contextCompacted
  | typeof compactionFailed
  | typeof compactionUndone
  | typeof toolRequested
  | typeof approvalRequested
  | typeof approvalDecided
  | typeof toolStarted
  | typeof toolProgressed
  | typeof toolSucceeded
  | typeof toolFailed
  | typeof toolCancelled
  | typeof toolEndedLate
  | typeof turnStarted
  | typeof turnResumed
  | typeof turnEnded
  | typeof turnInterrupted
  | typeof usageRecorded
  | typeof budgetSet
  | typeof budgetReserved
  | typeof budgetSettled
  | typeof budgetReleased
  | typeof budgetWarned
  | typeof budgetRefused
  | typeof modelCalled
  | typeof errorRecorded
  | typeof degraded
  | typeof recovered
  | typeof circuitOpened
  | typeof circuitClosed
>

/** Guard, reduce and replay over our slices. With slices of your own: `combineSlices([...conversationSlices, mine])`. */
export const conversationReducer = combineSlices(conversationSlices)

/** The next state of a conversation: pure, total, frozen; the same object when nothing changed. */
export const reduceConversation = (state: ConversationState, action: StampedAction): ConversationState =>
  conversationReducer.reduce(state, action)
