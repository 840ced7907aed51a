import {
  type Action,
  type BudgetKind,
  type BudgetScope,
  type BudgetShortage,
  type BudgetState,
  budgetError,
  budgetRefused,
  budgetReleased,
  budgetReserved,
  budgetSettled,
  budgetShortage,
  budgetStanding,
  budgetWarned,
  ColloquyError,
  type ConversationState,
  isColloquyError,
  messageAdded,
  spentBy,
  toolStarted,
  turnStarted,
  usageRecorded,
} from '@colloquy/core'
import { type Middleware, type MiddlewareApi, type Next, systemClock } from '@colloquy/engine'
import { type LimitOptions, limitsOf, lowerLimits } from './limits.ts'
import { costOf, type PriceTable } from './prices.ts'
import type { TenantBudget } from './tenant-budget.ts'

export interface BudgetOptions {
  /** Tokens that all messages of a conversation together may take: `conversation.messageTokens.hard`. */
  readonly limitTokens?: number
  /** From here on a `budgetWarned` is stored, once each time the mark is passed: `conversation.messageTokens.soft`. */
  readonly warnTokens?: number
  /** Limits over the whole conversation. A number is a hard one. */
  readonly conversation?: LimitOptions
  /** Limits over what happened since the last `turnStarted`. */
  readonly turn?: LimitOptions
  /** Tokens that one message may have. */
  readonly limitMessageTokens?: number
  /** The ledger of the tenant, whose limits hold beside the conversation's. */
  readonly tenant?: TenantBudget
  /** Gives `usageRecorded` its cost where it says none. */
  readonly prices?: PriceTable
  /** Microseconds since 1970: for the time of turns, and whether reservations have expired. Default the system's. */
  readonly clock?: () => number
}

/**
 * Refuses an action that would take more than a hard limit; the refusal itself is stored as `budgetRefused`, the action is not. Judged
 * are messages, tool calls that start, reservations, and, for time, turns; usage that is recorded afterwards counts, and is not
 * refused. A limit set by `budgetSet` counts beside the option: the lower one holds. Without either, everything passes.
 *
 * At the limit is allowed, past it is not. What cannot be judged is refused: a model call that does not say what it may cost where
 * cost is limited, or a tenant's ledger that cannot be reached. When a soft limit is passed a `budgetWarned` is stored behind.
 *
 * Dispatches of a conversation are judged one after the other, each on what the ones before added, so several at once cannot
 * overshoot; a conflict with another process judges again.
 *
 * @throws `budget_exceeded`, `budget_unavailable`, `token_limit`
 */
export const budget = (options: BudgetOptions = {}): Middleware<ConversationState> => {
  const { limitMessageTokens, tenant, prices, clock = systemClock } = options
  const own = ownLimits(options)
  return (api) => {
    const limitsNow = effectiveLimits(own)
    const warningsNow = softLimits(clock)
    const holdFor = tenant && tenantHolds(tenant, api)
    return (next) => async (given) => {
      const action = prices === undefined ? given : priced(given, prices)
      const state = api.getState().budget
      const limits = limitsNow(state.limits)

      if (limitMessageTokens !== undefined && messageAdded.match(action) && action.payload.tokenCount > limitMessageTokens) {
        const requested = action.payload.tokenCount
        const numbers = { kind: 'messageTokens', limit: limitMessageTokens, used: 0, reserved: 0, requested } as const
        await next(budgetRefused({ actionType: action.type, scope: 'message', ...numbers }))
        throw new ColloquyError('token_limit', {
          actionType: action.type,
          limitTokens: limitMessageTokens,
          requestedTokens: requested,
        })
      }
      const shortage = shortageOf(state, action, limits, clock)
      if (shortage !== undefined) {
        await next(budgetRefused({ actionType: action.type, ...shortage }))
        throw budgetError(shortage)
      }
      const taken = holdFor === undefined ? await next(action) : await holdFor(action, next)
      for (const warning of warningsNow(state, api.getState().budget, limits)) await next(budgetWarned(warning))
      return taken
    }
  }
}

type Limits = BudgetState['limits']

function ownLimits({ limitTokens, warnTokens, conversation, turn }: BudgetOptions): Limits {
  const short: LimitOptions =
    limitTokens === undefined && warnTokens === undefined
      ? {}
      : {
          messageTokens: {
            ...(limitTokens !== undefined && { hard: limitTokens }),
            ...(warnTokens !== undefined && { soft: warnTokens }),
          },
        }
  return lowerLimits({ conversation: limitsOf(short), turn: {} }, { conversation: limitsOf(conversation), turn: limitsOf(turn) })
}

/** Worked out anew only when the conversation's own limits change: this is on the way of every action. */
function effectiveLimits(own: Limits): (state: Limits) => Limits {
  let seen: Limits | undefined
  let limits = own
  return (state) => {
    if (state !== seen) {
      limits = lowerLimits(own, state)
      seen = state
    }
    return limits
  }
}

function shortageOf(state: BudgetState, action: Action, limits: Limits, clock: () => number): BudgetShortage | undefined {
  if (messageAdded.match(action)) return budgetShortage(state, spentBy(action), { now: clock(), limits })
  if (toolStarted.match(action)) return budgetShortage(state, spentBy(action), { now: clock(), limits, isWork: true })
  if (budgetReserved.match(action)) return budgetShortage(state, action.payload.amounts, { now: clock(), limits, isWork: true })
  if (!turnStarted.match(action)) return undefined
  // What the last turn took is no hindrance for a new one.
  return budgetShortage(state, {}, { now: clock(), limits: { conversation: limits.conversation, turn: {} }, isWork: true })
}

type Warning = Parameters<typeof budgetWarned>[0]

/**
 * Of each soft limit that is reached now and was not before, by what is spent: what is reserved may come back, and would warn again
 * and again. The time of a turn passes without an action, so it is looked at as of the action before.
 */
function softLimits(clock: () => number) {
  let seenAt: number | undefined
  return (before: BudgetState, after: BudgetState, limits: Limits): readonly Warning[] => {
    let warnings = nothing
    const seenBefore = seenAt
    for (const scope of ['turn', 'conversation'] as const satisfies readonly BudgetScope[]) {
      for (const each in limits[scope]) {
        const kind = each as BudgetKind
        const { soft = null, hard = null } = limits[scope][kind] ?? {}
        if (soft === null || (before === after && kind !== 'wallMs')) continue
        const now = clock()
        const { used } = budgetStanding(after, scope, kind, now)
        const usedBefore = budgetStanding(before, scope, kind, Math.min(seenBefore ?? now, now)).used
        if (used >= soft && usedBefore < soft) warnings = [...warnings, { scope, kind, soft, hard, used }]
        if (kind === 'wallMs') seenAt = now
      }
    }
    return warnings
  }
}

const nothing: readonly Warning[] = []

/**
 * The tenant's share of an action: held in its ledger before the action is taken in, so that no conflict, crash or lost answer lets the
 * tenant take more than it may. Held once for each action of a dispatch, however often the chain runs; what was held for an action that
 * is not stored in the end counts as spent when it expires.
 */
function tenantHolds(tenant: TenantBudget, api: MiddlewareApi<ConversationState>) {
  let run = ''
  let count = 0
  const keyOf = (action: Action): string => {
    if (budgetReserved.match(action) || budgetSettled.match(action) || budgetReleased.match(action))
      return `${api.conversationId}/${action.payload.reservationId}`
    const now = `${api.dispatchId}/${api.attempt}`
    count = run === now ? count + 1 : 0
    run = now
    return `${api.dispatchId}/${count}`
  }

  return async (action: Action, next: Next) => {
    if (budgetSettled.match(action) || budgetReleased.match(action)) {
      const taken = await next(action)
      const key = keyOf(action)
      if (!budgetSettled.match(action)) tenant.release(key)
      // Settled in parts, which no ledger follows: all of it counts as spent.
      else tenant.settle(key, action.payload.held === undefined ? action.payload.amounts : {})
      return taken
    }
    const isReserved = budgetReserved.match(action)
    const amounts = isReserved ? action.payload.amounts : spentBy(action)
    // One under an id that is open is refused by its guard: what the open one holds is not to be released for it.
    const isOpen =
      isReserved && api.getState().budget.reservations.some(({ reservationId }) => reservationId === action.payload.reservationId)
    if (isOpen || Object.keys(amounts).length === 0) return next(action)
    const key = keyOf(action)
    if (usageRecorded.match(action)) tenant.record(key, action)
    else {
      try {
        await tenant.reserve(amounts, { key })
      } catch (error) {
        if (isColloquyError(error, 'budget_exceeded')) {
          await next(budgetRefused({ actionType: action.type, ...(error.details as BudgetShortage), scope: 'tenant' }))
        }
        throw error
      }
    }
    try {
      const taken = await next(action)
      if (!isReserved) tenant.spend(key)
      return taken
    } catch (error) {
      tenant.release(key)
      throw error
    }
  }
}

/** Usage with what it cost, where the provider did not say it. */
function priced(action: Action, prices: PriceTable): Action {
  if (!usageRecorded.match(action)) return action
  const { usage, model } = action.payload
  const costMicros = usage.costMicros === undefined && model !== undefined ? costOf(usage, model, prices) : undefined
  if (costMicros === undefined) return action
  return { ...action, payload: { ...action.payload, usage: { ...usage, costMicros } } }
}
