/**
 * The budget: what a conversation, and its running turn, may take and took.
 *
 * What is in the log already counts by itself: messages, tool calls that were started, usage that was recorded, the time of turns. What
 * is about to happen is held by a reservation, which a settlement turns into what it really took:
 *
 *     budgetReserved --> budgetSettled (counts what it took) | budgetReleased (counts nothing)
 *
 * Used and reserved together are held against a limit. A reservation that expired counts as spent until somebody settles or releases
 * it: whoever made it may have called, and died. A ledger of a tenant is a stream of these same actions.
 */
import { z } from 'zod'
import { defineAction } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { type Draft, defineSlice } from '../slice.ts'
import {
  addAmounts,
  amountOf,
  type BudgetAmounts,
  type BudgetKind,
  type BudgetTotals,
  budgetAmounts,
  budgetKinds,
  isUnknown,
  noAmounts,
} from './budget-amounts.ts'
import { conversationForked } from './lifecycle.ts'
import { id, tokenCount } from './message.ts'
import { messageAdded } from './messages.ts'
import { toolStarted } from './tools.ts'
import { turnEnded, turnInterrupted, turnStarted } from './turn.ts'
import { usageRecorded } from './usage.ts'

const limit = z.strictObject({
  /** From here on it warns. */
  soft: tokenCount.nullable(),
  /** Up to here, and not past it. */
  hard: tokenCount.nullable(),
})
/** Warns from `soft` on and refuses past `hard`; null: does not. In the unit of its kind. */
export type BudgetLimit = z.infer<typeof limit>

const limitOrNone = limit.nullable().optional()
const limitsByKind = z.strictObject({
  tokens: limitOrNone,
  messages: limitOrNone,
  messageTokens: limitOrNone,
  modelCalls: limitOrNone,
  toolCalls: limitOrNone,
  inputTokens: limitOrNone,
  outputTokens: limitOrNone,
  cacheReadTokens: limitOrNone,
  cacheWriteTokens: limitOrNone,
  toolTokens: limitOrNone,
  costMicros: limitOrNone,
  wallMs: limitOrNone,
} satisfies Record<BudgetKind, typeof limitOrNone>)

const scopeSchema = z.enum(['conversation', 'turn'])
/** What a limit is for: the whole conversation, or what happened since the last turn began. */
export type BudgetScope = z.infer<typeof scopeSchema>

const kind = z.enum(budgetKinds)

/** Limits by kind. Kinds that are not named keep theirs; null takes one away. */
export const budgetSet = defineAction('budgetSet', z.strictObject({ scope: scopeSchema, limits: limitsByKind }), {
  upcasts: [
    ({ limitTokens = null, warnTokens = null }): JsonObject => ({
      scope: 'conversation',
      limits: { messageTokens: { soft: warnTokens, hard: limitTokens } },
    }),
  ],
})

const reservationId = id

/** Something is about to happen, and may take so much. @throws by its guard `budget_exceeded`, `budget_unavailable`, `reservation_already_open` */
export const budgetReserved = defineAction(
  'budgetReserved',
  z.strictObject({
    reservationId,
    amounts: budgetAmounts,
    /** Microseconds since 1970. From then on the amounts count as spent, until the reservation is settled or released. */
    expiresAt: z.int().nonnegative(),
    /** `chunk`: more than is needed now, to be given out by its holder without asking the log. */
    purpose: z.enum(['model_call', 'tool_call', 'chunk']).optional(),
    /** Who has it, for whoever must find out whether they live. */
    holder: z.string().max(200).optional(),
  }),
)

/** What was reserved happened. Kinds of which `amounts` says nothing count as they were reserved. @throws by its guard `reservation_not_open` */
export const budgetSettled = defineAction(
  'budgetSettled',
  z.strictObject({
    reservationId,
    amounts: budgetAmounts,
    /**
     * The rest that is still to be settled, at most what was reserved: the reservation stays open with it, as no chunk any more, and
     * only what `amounts` says counts now.
     */
    held: budgetAmounts.optional(),
  }),
)

/** What was reserved did not happen. @throws by its guard `reservation_not_open` */
export const budgetReleased = defineAction('budgetReleased', z.strictObject({ reservationId, reason: z.string().optional() }))

/** A soft limit was reached. */
export const budgetWarned = defineAction(
  'budgetWarned',
  z.strictObject({ scope: scopeSchema, kind, soft: tokenCount, hard: tokenCount.nullable(), used: tokenCount }),
  {
    upcasts: [
      ({ limitTokens = null, usedTokens = 0, warnTokens = 0 }): JsonObject => ({
        scope: 'conversation',
        kind: 'messageTokens',
        soft: warnTokens,
        hard: limitTokens,
        used: usedTokens,
      }),
    ],
  },
)

/** An action was refused for what it takes. The action is not stored, this is. */
export const budgetRefused = defineAction(
  'budgetRefused',
  z.strictObject({
    actionType: z.string(),
    /** `message`: one message is larger than a message may be. */
    scope: z.enum(['conversation', 'turn', 'tenant', 'message']),
    kind,
    limit: tokenCount,
    used: tokenCount,
    reserved: tokenCount,
    /** null: nobody said how much, so it could not be judged. */
    requested: tokenCount.nullable(),
  }),
  {
    upcasts: [
      ({ actionType = '', limitTokens = 0, usedTokens = 0, requestedTokens = 0 }): JsonObject => ({
        actionType,
        scope: 'conversation',
        kind: 'messageTokens',
        limit: limitTokens,
        used: usedTokens,
        reserved: 0,
        requested: requestedTokens,
      }),
    ],
  },
)
type Refusal = Parameters<typeof budgetRefused>[0]

/** An amount that is held. Of one that has expired the amounts count as spent. */
export interface BudgetReservation {
  readonly reservationId: string
  readonly amounts: BudgetAmounts
  readonly purpose: 'model_call' | 'tool_call' | 'chunk' | null
  readonly holder: string | null
  /** Microseconds since 1970. */
  readonly expiresAt: number
  readonly position: number
  /** `BudgetState.turn.number` when it was made. */
  readonly turnNumber: number
}

/** Limits by kind; a kind without one is not limited. */
export type BudgetLimits = { readonly [K in BudgetKind]?: BudgetLimit }

/** Limits, what was spent, and what is held. */
export interface BudgetState {
  readonly limits: { readonly [S in BudgetScope]: BudgetLimits }
  /** Over the whole conversation. Compacting or redacting a message gives nothing back. */
  readonly used: BudgetTotals
  readonly turn: {
    /** How many turns were started. */
    readonly number: number
    /** Microseconds since 1970 when one runs. */
    readonly runningSince: number | null
    readonly turnId: string | null
    /** Since the last turn was started, or from the beginning. */
    readonly used: BudgetTotals
  }
  /** Neither settled nor released, oldest first; at most `openReservations` of them. */
  readonly reservations: readonly BudgetReservation[]
  readonly warnings: number
  readonly refusals: number
  readonly lastRefusal: (Refusal & { readonly position: number }) | null
}

/** Open reservations at most. Beyond, the one that expired first is spent for good. */
export const openReservations = 1_000

/** What the conversation may take, took, and holds. */
export const budget = defineSlice({
  name: 'budget',
  version: 2,
  replay: 'bare',
  initial: (): BudgetState => ({
    limits: { conversation: {}, turn: {} },
    used: noAmounts(),
    turn: { number: 0, runningSince: null, turnId: null, used: noAmounts() },
    reservations: [],
    warnings: 0,
    refusals: 0,
    lastRefusal: null,
  }),
  actions: [
    budgetSet,
    budgetReserved,
    budgetSettled,
    budgetReleased,
    budgetWarned,
    budgetRefused,
    messageAdded,
    toolStarted,
    usageRecorded,
    turnStarted,
    turnEnded,
    turnInterrupted,
    conversationForked,
  ],
  guard(state, action) {
    switch (action.type) {
      case 'budgetReserved':
        guardReservation(state.budget, action.payload, action.occurredAt)
        return
      case 'budgetSettled':
      case 'budgetReleased': {
        const { reservations } = state.budget
        const { reservationId } = action.payload
        if (!reservations.some((open) => open.reservationId === reservationId))
          throw new ColloquyError('reservation_not_open', { reservationId, openReservations: reservations.length })
        return
      }
      default:
        return
    }
  },
  reduce(draft, action) {
    switch (action.type) {
      case 'budgetSet': {
        const { scope, limits } = action.payload
        draft.limits[scope] = changedLimits(draft.limits[scope], limits)
        return
      }
      case 'budgetReserved': {
        const { reservationId, amounts, expiresAt, purpose = null, holder = null } = action.payload
        if (draft.reservations.some((open) => open.reservationId === reservationId)) return
        if (draft.reservations.length >= openReservations) spendOne(draft, action.occurredAt)
        draft.reservations.push({
          reservationId,
          amounts: heldIn(draft, amounts),
          purpose,
          holder,
          expiresAt,
          position: action.position,
          turnNumber: draft.turn.number,
        })
        return
      }
      case 'budgetSettled': {
        const { reservationId, amounts, held } = action.payload
        const index = draft.reservations.findIndex((open) => open.reservationId === reservationId)
        const open = draft.reservations[index]
        if (open === undefined) return
        if (held === undefined) {
          draft.reservations.splice(index, 1)
          spend(draft, { ...open.amounts, ...amounts }, open.turnNumber)
        } else {
          open.amounts = smaller(held, open.amounts)
          open.purpose = open.purpose === 'chunk' ? null : open.purpose
          spend(draft, amounts, open.turnNumber)
        }
        return
      }
      case 'budgetReleased': {
        const index = draft.reservations.findIndex((open) => open.reservationId === action.payload.reservationId)
        if (index >= 0) draft.reservations.splice(index, 1)
        return
      }
      case 'budgetWarned':
        draft.warnings += 1
        return
      case 'budgetRefused':
        draft.refusals += 1
        draft.lastRefusal = { ...action.payload, position: action.position }
        return
      case 'messageAdded':
        draft.used.messages += 1
        draft.turn.used.messages += 1
        addTokens(draft.used, action.payload.tokenCount)
        addTokens(draft.turn.used, action.payload.tokenCount)
        return
      case 'toolStarted':
      case 'usageRecorded':
        spend(draft, spentBy(action), draft.turn.number)
        return
      case 'turnStarted':
        endTurn(draft, action.occurredAt)
        draft.turn = {
          number: draft.turn.number + 1,
          runningSince: action.occurredAt,
          turnId: action.payload.turnId,
          used: noAmounts(),
        }
        return
      case 'turnEnded':
      case 'turnInterrupted':
        if (draft.turn.turnId === action.payload.turnId) endTurn(draft, action.occurredAt)
        return
      case 'conversationForked':
        // They are the parent's, which settles them there.
        draft.reservations = []
        return
      default:
        action satisfies never
    }
  },
})

/** Where a limit does not allow what is asked for: the numbers of the refusal. */
export interface BudgetShortage {
  readonly scope: BudgetScope
  readonly kind: BudgetKind
  readonly limit: number
  /** With what expired reservations hold. */
  readonly used: number
  readonly reserved: number
  /** null: how much is asked for is not known, and there is a limit for it. */
  readonly requested: number | null
}

/**
 * The first hard limit that `amounts` would pass on top of what is used and reserved, the turn's first; undefined when all allow it.
 * A call that does not say how much it takes of something limited is short of it. Work begins only before the time is up.
 */
export function budgetShortage(
  state: BudgetState,
  amounts: BudgetAmounts,
  options: {
    /** Microseconds since 1970: which reservations have expired, and how long the turn has run. */
    readonly now: number
    /** Default those of the state. */
    readonly limits?: BudgetState['limits']
    /** It starts something that takes time. */
    readonly isWork?: boolean
  },
): BudgetShortage | undefined {
  const limits = options.limits ?? state.limits
  for (const scope of ['turn', 'conversation'] as const) {
    // Not `Object.entries`: this is on the way of every message, and most kinds have no limit.
    for (const kind in limits[scope]) {
      const hard = limits[scope][kind as BudgetKind]?.hard
      if (hard === undefined || hard === null) continue
      const shortage = shortageOf(state, amounts, { ...options, scope, kind: kind as BudgetKind, hard })
      if (shortage !== undefined) return shortage
    }
  }
  return undefined
}

function shortageOf(
  state: BudgetState,
  amounts: BudgetAmounts,
  at: {
    readonly scope: BudgetScope
    readonly kind: BudgetKind
    readonly hard: number
    readonly now: number
    readonly isWork?: boolean
  },
): BudgetShortage | undefined {
  const { scope, kind, hard, now, isWork = false } = at
  const isOpen = isUnknown(amounts, kind)
  const asked = amountOf(amounts, kind) ?? 0
  const requested = kind === 'wallMs' && isWork ? Math.max(asked, 1) : asked
  if (requested === 0 && !isOpen) return undefined
  const { used, reserved } = budgetStanding(state, scope, kind, now)
  if (!isOpen && used + reserved + requested <= hard) return undefined
  return { scope, kind, limit: hard, used, reserved, requested: isOpen ? null : requested }
}

/** A shortage as an error: `budget_exceeded`, or `budget_unavailable` where it is not known how much is asked for. */
export function budgetError(shortage: Omit<BudgetShortage, 'scope'> & { readonly scope: string }): ColloquyError {
  const { scope, kind, limit, used, reserved, requested } = shortage
  if (requested !== null) return new ColloquyError('budget_exceeded', { scope, kind, limit, used, reserved, requested })
  const problem = `it is limited to ${limit} ${kind}, and a call does not say how many it may take`
  return new ColloquyError('budget_unavailable', { scope, problem })
}

/** What stands against a limit at `now` (microseconds since 1970): an expired reservation is used, one that runs is reserved. */
export function budgetStanding(
  state: BudgetState,
  scope: BudgetScope,
  kind: BudgetKind,
  now: number,
): { readonly used: number; readonly reserved: number } {
  const { turn } = state
  let used = amountOf(scope === 'turn' ? turn.used : state.used, kind) ?? 0
  if (kind === 'wallMs') used += elapsedMs(state, now)
  let reserved = 0
  for (const open of state.reservations) {
    if (scope === 'turn' && open.turnNumber !== turn.number) continue
    const amount = amountOf(open.amounts, kind) ?? 0
    if (open.expiresAt <= now) used += amount
    else reserved += amount
  }
  return { used, reserved }
}

/** What an action that is stored counts at once. One that names its reservation is counted by the settlement. */
export function spentBy(action: { readonly type: string; readonly payload?: unknown }): BudgetAmounts {
  if (messageAdded.match(action)) return { messages: 1, messageTokens: action.payload.tokenCount }
  if (toolStarted.match(action)) return action.payload.reservationId === undefined ? { toolCalls: 1 } : {}
  if (!usageRecorded.match(action) || action.payload.reservationId !== undefined) return {}
  const { input, output, cacheRead, cacheWrite, costMicros = 0 } = action.payload.usage
  return {
    modelCalls: 1,
    inputTokens: input,
    outputTokens: output,
    cacheReadTokens: cacheRead,
    cacheWriteTokens: cacheWrite.ttl5m + cacheWrite.ttl1h + cacheWrite.other,
    costMicros,
  }
}

function guardReservation(state: BudgetState, payload: Parameters<typeof budgetReserved>[0], occurredAt: number): void {
  const { reservationId, amounts } = payload
  const open = state.reservations.find((each) => each.reservationId === reservationId)
  if (open) throw new ColloquyError('reservation_already_open', { reservationId, position: open.position })
  if (state.reservations.length >= openReservations && !state.reservations.some((each) => each.expiresAt <= occurredAt)) {
    const problem = `${state.reservations.length} reservations are open, and none has expired`
    throw new ColloquyError('budget_unavailable', { scope: 'conversation', problem })
  }
  const shortage = budgetShortage(state, amounts, { now: occurredAt, isWork: true })
  if (shortage !== undefined) throw budgetError(shortage)
}

type State = Draft<BudgetState>

function changedLimits(limits: BudgetLimits, changes: Parameters<typeof budgetSet>[0]['limits']): BudgetLimits {
  const changed: { [K in BudgetKind]?: BudgetLimit } = { ...limits }
  for (const each of budgetKinds) {
    const change = changes[each]
    if (change === null) delete changed[each]
    else if (change !== undefined) changed[each] = { soft: change.soft, hard: change.hard }
  }
  return changed
}

function spend(draft: State, amounts: BudgetAmounts, turnNumber: number): void {
  addAmounts(draft.used, amounts)
  if (turnNumber === draft.turn.number) addAmounts(draft.turn.used, amounts)
}

function addTokens(totals: Draft<BudgetTotals>, count: number): void {
  totals.messageTokens = Math.min(totals.messageTokens + count, Number.MAX_SAFE_INTEGER)
}

/** A copy. The time of a call inside a turn is the turn's already. */
function heldIn(draft: State, amounts: BudgetAmounts): Draft<BudgetAmounts> {
  const { wallMs, ...held } = amounts
  return draft.turn.runningSince === null && wallMs !== undefined ? { ...held, wallMs } : held
}

function smaller(held: BudgetAmounts, most: BudgetAmounts): Draft<BudgetAmounts> {
  const result: Draft<BudgetAmounts> = {}
  for (const kind of Object.keys(held) as (keyof BudgetAmounts)[]) result[kind] = Math.min(held[kind] ?? 0, most[kind] ?? 0)
  return result
}

/** Makes room: the reservation that expired first, or else the oldest, is spent for good. */
function spendOne(draft: State, now: number): void {
  let index = 0
  for (const [i, { expiresAt }] of draft.reservations.entries()) {
    if (expiresAt <= now && expiresAt < (draft.reservations[index]?.expiresAt ?? 0)) index = i
  }
  const [spent] = draft.reservations.splice(index, 1)
  if (spent) spend(draft, spent.amounts, spent.turnNumber)
}

function endTurn(draft: State, now: number): void {
  const wallMs = elapsedMs(draft, now)
  draft.turn.runningSince = null
  spend(draft, { wallMs }, draft.turn.number)
}

function elapsedMs({ turn }: { readonly turn: Pick<BudgetState['turn'], 'runningSince'> }, now: number): number {
  return turn.runningSince === null ? 0 : Math.max(0, Math.floor((now - turn.runningSince) / 1_000))
}
