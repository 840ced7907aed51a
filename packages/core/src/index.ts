// Actions and slices
export {
  type Action,
  type ActionCreator,
  type ActionDefinition,
  type ActionOf,
  checkAction,
  defineAction,
  type PositionRange,
  type StampedAction,
  type StampedActionOf,
  type Upcast,
} from './action.ts'
export { equalBytes, toHex } from './bytes.ts'
export { combineSlices, freezeState, type Reducer, type StateOf, type Unapplied } from './combine-slices.ts'
export {
  type BudgetLimit,
  type BudgetLimits,
  type BudgetReservation,
  type BudgetScope,
  type BudgetShortage,
  type BudgetState,
  budget as budgetSlice,
  budgetError,
  budgetRefused,
  budgetReleased,
  budgetReserved,
  budgetSet,
  budgetSettled,
  budgetShortage,
  budgetStanding,
  budgetWarned,
  openReservations,
  spentBy,
} from './conversation/budget.ts'
export {
  type AmountKind,
  addAmounts,
  amountKinds,
  amountOf,
  type BudgetAmounts,
  type BudgetKind,
  type BudgetTotals,
  budgetKinds,
  isUnknown,
} from './conversation/budget-amounts.ts'
export { budgetUnit } from './conversation/budget-unit.ts'
export { compactionFailed, compactionUndone, contextCompacted } from './conversation/compaction.ts'
export { callsInFlight } from './conversation/compaction-guard.ts'
export type { ContextState } from './conversation/context.ts'
// The conversation
export {
  type ConversationAction,
  type ConversationState,
  conversationReducer,
  conversationSlices,
  reduceConversation,
} from './conversation/conversation.ts'
export { circuitClosed, circuitOpened, degraded, errorRecorded, type HealthState, recovered } from './conversation/health.ts'
export {
  conversationArchived,
  conversationCleared,
  conversationForked,
  conversationStarted,
  conversationTitled,
  type LifecycleState,
} from './conversation/lifecycle.ts'
export { foreignRecordKept, type LineageState } from './conversation/lineage.ts'
export { type Manifest, type ManifestEntry, type ManifestState, type ManifestStep, modelCalled } from './conversation/manifest.ts'
export {
  addUsage,
  type Message,
  message,
  type Part,
  part,
  plainMessage,
  textMessage,
  type Usage,
  usage,
  type WorkingMessage,
} from './conversation/message.ts'
export { messageAdded, messagePinned, messageRedacted, messageUnpinned } from './conversation/messages.ts'
export { metadataChanged } from './conversation/metadata.ts'
export { type Participant, participantJoined, participantLeft } from './conversation/participants.ts'
export { preferencesChanged } from './conversation/preferences.ts'
export {
  type AnsweredToolCall,
  approvalDecided,
  approvalRequested,
  type OpenToolCall,
  type ToolArguments,
  type ToolResultPart,
  type ToolsState,
  toolCancelled,
  toolEndedLate,
  toolFailed,
  toolProgressed,
  toolRequested,
  toolStarted,
  toolSucceeded,
} from './conversation/tools.ts'
export { type TurnState, turnEnded, turnInterrupted, turnResumed, turnStarted } from './conversation/turn.ts'
export { type UsageState, usageRecorded } from './conversation/usage.ts'
export {
  actionOf,
  canonicalInput,
  deepestBody,
  type Envelope,
  type EnvelopeHeader,
  encodeBody,
  envelopeProblem,
  forkHash,
  genesisHash,
  isSameInput,
  type OpenedEnvelope,
  openEnvelope,
  type StoredAction,
  type StoredEnvelope,
  stamp,
} from './envelope.ts'
export { ColloquyError, type ErrorCode, type ErrorDetails, errorCodes, isColloquyError } from './errors.ts'
export {
  type CursorLog,
  cursorCovers,
  cursorOf,
  decodeCursor,
  encodeCursor,
  type FeedCursor,
  positionsCover,
} from './feed/feed-cursor.ts'
export { feedPageByPage, readFeedPage } from './feed/feed-page.ts'
export { type FollowedFeed, type FollowedPage, type FollowOptions, followFeed } from './feed/follow-feed.ts'
export { defaultSweepMs, type GrowthWatch, type GrowthWatcher, watchGrowth } from './feed/watch-growth.ts'
export { assertForkOf, type Segment, segmentsOf, sharedPosition } from './fork.ts'
export {
  assertConversationId,
  assertForkId,
  assertId,
  assertOwnStreamId,
  type ConversationKey,
  defaultTenant,
  forkIdOf,
  isForkId,
  rootIdOf,
} from './ids.ts'
export type {
  HeldConversation,
  ImportedCommand,
  ImportedConversation,
  ImportedFile,
  ImportedFork,
  ImportRemark,
  SkippedRecord,
} from './import.ts'
export { defaultLimits, type Json, type JsonObject, jsonDepth, type Limits, ownJson } from './json.ts'
export { parseJson } from './parse-json.ts'
export { partitionHashName, partitionOf } from './partition.ts'
// Ports
export { assertAppend } from './ports/assert-append.ts'
export type { Clock } from './ports/clock.ts'
export {
  type AppendFate,
  type AppendOutcome,
  type AppendRequest,
  type ConversationSummary,
  type EventLog,
  type FeedFilter,
  type FeedPage,
  type ForkOutcome,
  type ForkPoint,
  type ForkRequest,
  type Head,
  type Media,
  type Snapshot,
} from './ports/event-log.ts'
export type { Ids } from './ports/ids.ts'
export {
  type FoundInteraction,
  type IndexedInteraction,
  type InteractionMessage,
  type MemoryIndex,
  type MemoryQuery,
  memoryRanking,
} from './ports/memory-index.ts'
export { actionPageSize, isFullPage, pageBytes, pageOf, pageSize } from './ports/page.ts'
export type { Random } from './ports/random.ts'
export type { Sha256 } from './ports/sha256.ts'
export type { Cancellation, Summariser, Summary, SummaryRequest } from './ports/summariser.ts'
export type { Timer } from './ports/timer.ts'
export {
  actionsIn,
  type Folded,
  type ReplayEnd,
  type Replayed,
  type Resolver,
  readAction,
  replay,
  resolveAction,
  resolverOf,
  startFold,
} from './replay.ts'
export { type SearchTerms, searchTerms, searchWords } from './search-words.ts'
export { type AnyActionCreator, type Draft, defineSlice, type Slice } from './slice.ts'
export { decodeState, encodeState } from './snapshot.ts'
export { canonicalJson, stateHash } from './state-hash.ts'
export { fromUtf8, toUtf8 } from './utf8.ts'
export { Vector } from './vector.ts'
