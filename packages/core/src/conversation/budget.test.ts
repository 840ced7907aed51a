import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { given, stampedAt, timeAt } from '../../../../test/support/core-log.ts'
import type { StampedAction } from '../action.ts'
import { startFold } from '../replay.ts'
import {
  type BudgetState,
  budgetRefused,
  budgetReleased,
  budgetReserved,
  budgetSet,
  budgetSettled,
  budgetShortage,
  budgetStanding,
  budgetWarned,
  openReservations,
} from './budget.ts'
import { amountKinds, amountOf, type BudgetAmounts, noAmounts } from './budget-amounts.ts'
import { conversationReducer } from './conversation.ts'
import { conversationForked } from './lifecycle.ts'
import { messageAdded } from './messages.ts'
import { toolRequested, toolStarted } from './tools.ts'
import { turnEnded, turnStarted } from './turn.ts'
import { usageRecorded } from './usage.ts'

const say = (id: string, tokenCount: number) => messageAdded({ message: { v: 1, id, role: 'user', parts: [] }, tokenCount })
const hard = (limits: { readonly [kind: string]: number }) =>
  budgetSet({
    scope: 'conversation',
    limits: Object.fromEntries(Object.entries(limits).map(([kind, limit]) => [kind, { soft: null, hard: limit }])),
  })
/** Positions are seconds: it expires when `atPosition` is stored. */
const reserve = (reservationId: string, amounts: BudgetAmounts, atPosition = 1_000_000) =>
  budgetReserved({ reservationId, amounts, expiresAt: timeAt(atPosition) })
const settle = (reservationId: string, amounts: BudgetAmounts = {}) => budgetSettled({ reservationId, amounts })
const release = (reservationId: string) => budgetReleased({ reservationId })
const usage = {
  input: 100,
  output: 20,
  cacheRead: 7,
  cacheWrite: { ttl5m: 1, ttl1h: 2, other: 3 },
  reasoning: 5,
  costMicros: 900,
}

describe('the budget', () => {
  test('given messages before and after a limit is set, all of them count', () => {
    const { state } = given(
      say('m1', 10),
      budgetSet({ scope: 'conversation', limits: { messageTokens: { soft: 80, hard: 100 } } }),
      say('m2', 75),
    )
    expect(state.budget.limits).toEqual({ conversation: { messageTokens: { soft: 80, hard: 100 } }, turn: {} })
    expect(state.budget.used).toEqual({ ...noAmounts(), messages: 2, messageTokens: 85 })
  })

  test('given limits, when some are set anew or to null, the others stay', () => {
    const { state } = given(
      hard({ tokens: 9, modelCalls: 3 }),
      budgetSet({ scope: 'turn', limits: { toolCalls: { soft: null, hard: 2 } } }),
      budgetSet({ scope: 'conversation', limits: { tokens: null, costMicros: { soft: 5, hard: null } } }),
    )
    expect(state.budget.limits).toEqual({
      conversation: { modelCalls: { soft: null, hard: 3 }, costMicros: { soft: 5, hard: null } },
      turn: { toolCalls: { soft: null, hard: 2 } },
    })
  })

  test('given a limit, when it warns and refuses, both are counted and nothing is spent', () => {
    const refusal = {
      actionType: 'messageAdded',
      scope: 'conversation',
      kind: 'messageTokens',
      limit: 100,
      used: 85,
      reserved: 0,
      requested: 20,
    } as const
    const { state } = given(
      hard({ messageTokens: 100 }),
      budgetWarned({ scope: 'conversation', kind: 'messageTokens', soft: 80, hard: 100, used: 85 }),
      budgetRefused(refusal),
    )
    expect(state.budget).toMatchObject({ warnings: 1, refusals: 1, lastRefusal: { ...refusal, position: 3 } })
    expect(state.budget.used).toEqual(noAmounts())
  })

  test('usage that is recorded counts its kinds apart; where it names its reservation the settlement counts it', () => {
    const { state } = given(usageRecorded({ usage }), usageRecorded({ usage, reservationId: 'r1' }))
    expect(state.budget.used).toEqual({
      ...noAmounts(),
      modelCalls: 1,
      inputTokens: 100,
      outputTokens: 20,
      cacheReadTokens: 7,
      cacheWriteTokens: 6,
      costMicros: 900,
    })
    expect(amountOf(state.budget.used, 'tokens')).toBe(133)
  })

  test('a tool call counts when it is started, each time', () => {
    const call = { messageId: 'm1', callId: 'c1' }
    const { state } = given(
      toolRequested({ ...call, name: 'ls' }),
      toolStarted(call),
      toolStarted({ ...call, attempt: 2 }),
      toolStarted({ ...call, attempt: 3, reservationId: 'r1' }),
    )
    expect(state.budget.used.toolCalls).toBe(2)
  })
})

describe('a reservation', () => {
  test('is held until it is settled, and then counts what it took, and as reserved what the settlement leaves out', () => {
    const past = given(hard({ modelCalls: 5 }), reserve('r1', { modelCalls: 1, inputTokens: 500, costMicros: 40 }))
    expect(budgetStanding(past.state.budget, 'conversation', 'inputTokens', timeAt(3))).toEqual({ used: 0, reserved: 500 })
    const { budget } = past.when(settle('r1', { inputTokens: 420, outputTokens: 30 })).state
    expect(budget.reservations).toEqual([])
    expect(budget.used).toEqual({ ...noAmounts(), modelCalls: 1, inputTokens: 420, outputTokens: 30, costMicros: 40 })
  })

  test('that is released counts nothing', () => {
    const { state } = given(reserve('r1', { modelCalls: 1 }), release('r1'))
    expect(state.budget).toMatchObject({ reservations: [], used: noAmounts() })
  })

  test('that expires counts as spent, and may still be settled or released', () => {
    const past = given(hard({ modelCalls: 1 }), reserve('r1', { modelCalls: 1 }, 3))
    expect(budgetStanding(past.state.budget, 'conversation', 'modelCalls', timeAt(2))).toEqual({ used: 0, reserved: 1 })
    expect(budgetStanding(past.state.budget, 'conversation', 'modelCalls', timeAt(3))).toEqual({ used: 1, reserved: 0 })
    expect(() => past.guard(reserve('r2', { modelCalls: 1 }))).toThrow(/needs 1 model calls, but 1 of 1 are used\./)
    past.when(release('r1')).guard(reserve('r2', { modelCalls: 1 }))
    expect(past.when(settle('r1')).state.budget.used.modelCalls).toBe(1)
  })

  test('may be settled in parts: what is held on is never more than what was held', () => {
    const { state } = given(
      budgetReserved({ reservationId: 'r1', amounts: { modelCalls: 8 }, expiresAt: timeAt(99), purpose: 'chunk' }),
      budgetSettled({ reservationId: 'r1', amounts: { modelCalls: 3 }, held: { modelCalls: 9, toolCalls: 4 } }),
      budgetSettled({ reservationId: 'r1', amounts: {}, held: { modelCalls: 2 } }),
    )
    expect(state.budget.used.modelCalls).toBe(3)
    expect(state.budget.reservations).toMatchObject([{ amounts: { modelCalls: 2 }, purpose: null }])
  })

  test('is refused past a hard limit, at the limit it is not; the turn is asked first', () => {
    const past = given(
      hard({ modelCalls: 2 }),
      budgetSet({ scope: 'turn', limits: { modelCalls: { soft: null, hard: 1 } } }),
      reserve('r1', { modelCalls: 1 }),
    )
    expect(() => past.guard(reserve('r2', { modelCalls: 1 }))).toThrow(
      expect.objectContaining({
        code: 'budget_exceeded',
        details: { scope: 'turn', kind: 'modelCalls', limit: 1, used: 0, reserved: 1, requested: 1 },
      }),
    )
    expect(() => past.guard(reserve('r2', { modelCalls: 5 }))).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ scope: 'turn' }) }),
    )
    const next = past.when(turnStarted({ turnId: 't2' }))
    next.guard(reserve('r2', { modelCalls: 1 }))
    const full = next.when(reserve('r2', { modelCalls: 1 }), turnStarted({ turnId: 't3' }))
    expect(() => full.guard(reserve('r3', { modelCalls: 1 }))).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ scope: 'conversation', limit: 2, reserved: 2 }) }),
    )
  })

  test('of a model call that does not say what it may cost is refused where cost is limited, and only there', () => {
    const call = { modelCalls: 1, inputTokens: 5, outputTokens: 5 }
    given(hard({ tokens: 10 })).guard(reserve('r1', call))
    expect(() => given(hard({ costMicros: 10 })).guard(reserve('r1', call))).toThrow(
      expect.objectContaining({ code: 'budget_unavailable' }),
    )
    expect(() => given(hard({ tokens: 10 })).guard(reserve('r1', { modelCalls: 1, inputTokens: 5 }))).toThrow(
      expect.objectContaining({ code: 'budget_unavailable' }),
    )
    given(hard({ costMicros: 10 })).guard(reserve('r1', { toolCalls: 1 }))
  })

  test('has an id of its own, and ends once', () => {
    const past = given(reserve('r1', { modelCalls: 1 }))
    expect(() => past.guard(reserve('r1', {}))).toThrow(expect.objectContaining({ code: 'reservation_already_open' }))
    for (const end of [settle('r2'), release('r2')]) {
      expect(() => past.guard(end)).toThrow(expect.objectContaining({ code: 'reservation_not_open' }))
      expect(past.when(end).state.budget).toEqual(past.state.budget)
    }
  })

  test('belongs to the turn in which it was made: settled in a later one, it counts for the conversation only', () => {
    const { state } = given(
      turnStarted({ turnId: 't1' }),
      reserve('r1', { modelCalls: 1 }),
      turnEnded({ turnId: 't1' }),
      turnStarted({ turnId: 't2' }),
      settle('r1'),
    )
    expect([state.budget.used.modelCalls, state.budget.turn.used.modelCalls]).toEqual([1, 0])
  })

  test('stays with the parent: a fork begins with none', () => {
    const { state } = given(reserve('r1', { modelCalls: 1 }), conversationForked({ parentId: 'c0', position: 1 }))
    expect(state.budget.reservations).toEqual([])
  })

  test(`is one of ${openReservations}: the next is refused while none has expired, and spends for good the one that expired first`, () => {
    const many = Array.from({ length: openReservations }, (_, i) => reserve(`r${i}`, { modelCalls: 1 }, i === 7 ? 5_000 : 6_000))
    const past = given(...many)
    expect(() => past.guard(reserve('one more', { modelCalls: 1 }))).toThrow(
      expect.objectContaining({ code: 'budget_unavailable' }),
    )
    const late = { ...stampedAt(7_000, reserve('one more', { modelCalls: 1 })) }
    conversationReducer.guard(past.state, late)
    const { budget } = conversationReducer.reduce(past.state, late)
    expect(budget.reservations).toHaveLength(openReservations)
    expect(budget.reservations.some(({ reservationId }) => reservationId === 'r7')).toBe(false)
    expect(budget.used.modelCalls).toBe(1)
  })
})

describe('the time of turns', () => {
  const timed = given(
    hard({ wallMs: 10_000 }),
    budgetSet({ scope: 'turn', limits: { wallMs: { soft: null, hard: 4_000 } } }),
    turnStarted({ turnId: 't1' }),
  )
  const shortage = (past: typeof timed, position: number) =>
    budgetShortage(past.state.budget, {}, { now: timeAt(position), isWork: true })

  test('runs while one does; work begins only before it is up', () => {
    expect(budgetStanding(timed.state.budget, 'turn', 'wallMs', timeAt(6))).toEqual({ used: 3_000, reserved: 0 })
    expect(shortage(timed, 6)).toBeUndefined()
    expect(shortage(timed, 7)).toEqual({ scope: 'turn', kind: 'wallMs', limit: 4_000, used: 4_000, reserved: 0, requested: 1 })
    expect(budgetShortage(timed.state.budget, { messages: 1 }, { now: timeAt(99) })).toBeUndefined()
  })

  test('is that of the turn which runs: the end of another one changes nothing', () => {
    expect(timed.when(turnEnded({ turnId: 't0' })).state.budget).toEqual(timed.state.budget)
  })

  test('adds up over the turns, and stands still between them', () => {
    const later = timed.when(turnEnded({ turnId: 't1' }), say('m', 1), turnStarted({ turnId: 't2' }))
    expect(later.state.budget.used.wallMs).toBe(1_000)
    expect(budgetStanding(later.state.budget, 'conversation', 'wallMs', timeAt(8))).toEqual({ used: 3_000, reserved: 0 })
  })

  test('contains that of its calls; a call outside of any turn brings its own', () => {
    const inside = timed.when(reserve('r1', { modelCalls: 1, wallMs: 700 }), settle('r1'), turnEnded({ turnId: 't1' }))
    expect(inside.state.budget.used.wallMs).toBe(3_000)
    const outside = given(reserve('r1', { modelCalls: 1, wallMs: 700 }), settle('r1'))
    expect(outside.state.budget.used.wallMs).toBe(700)
  })
})

/** What may happen to a few reservations under a limit, and the passing of time. */
const step = fc.oneof(
  fc.record({
    kind: fc.constant('reserve' as const),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    amount: fc.nat({ max: 12 }),
    lasts: fc.nat({ max: 6 }),
  }),
  fc.record({ kind: fc.constant('settle' as const), id: fc.constantFrom('a', 'b', 'c', 'd'), amount: fc.nat({ max: 12 }) }),
  fc.record({
    kind: fc.constant('part' as const),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    amount: fc.nat({ max: 4 }),
    held: fc.nat({ max: 12 }),
  }),
  fc.record({ kind: fc.constant('release' as const), id: fc.constantFrom('a', 'b', 'c', 'd') }),
  fc.record({ kind: fc.constant('limit' as const), limit: fc.nat({ max: 60 }) }),
  fc.record({ kind: fc.constant('turn' as const) }),
)

test('property: in any interleaving of reserving, settling, releasing and expiring, nothing is granted past the limit, the sums add up, and replay agrees', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let past = given(hard({ modelCalls: 30 }))
      // A model of its own: what is held, and what was spent.
      const held = new Map<string, number>()
      let spent = 0
      let limit = 30
      for (const each of steps) {
        const now = timeAt(past.log.length + 1)
        const action =
          each.kind === 'reserve'
            ? reserve(each.id, { modelCalls: each.amount }, past.log.length + 1 + each.lasts)
            : each.kind === 'settle'
              ? settle(each.id, { modelCalls: each.amount })
              : each.kind === 'part'
                ? budgetSettled({ reservationId: each.id, amounts: { modelCalls: each.amount }, held: { modelCalls: each.held } })
                : each.kind === 'release'
                  ? release(each.id)
                  : each.kind === 'limit'
                    ? hard({ modelCalls: each.limit })
                    : turnStarted({ turnId: `t${past.log.length}` })
        const total = () => spent + [...held.values()].reduce((sum, amount) => sum + amount, 0)
        const isAllowed =
          each.kind === 'reserve'
            ? !held.has(each.id) && (each.amount === 0 || total() + each.amount <= limit)
            : each.kind === 'limit' || each.kind === 'turn' || held.has(each.id)
        // A turn that runs is no concern of this model.
        if (each.kind !== 'turn') {
          if (isAllowed) past.guard(action)
          else {
            expect(() => past.guard(action)).toThrow(/reservation|needs/i)
            // The reducer is total: what a guard would refuse leaves the totals as they are, or is history.
            if (each.kind !== 'reserve') expect(past.when(action).state.budget).toEqual(past.state.budget)
            continue
          }
        }
        past = past.when(action)
        if (each.kind === 'reserve') held.set(each.id, each.amount)
        else if (each.kind === 'settle') {
          spent += each.amount
          held.delete(each.id)
        } else if (each.kind === 'part') {
          spent += each.amount
          held.set(each.id, Math.min(each.held, held.get(each.id) ?? 0))
        } else if (each.kind === 'release') held.delete(each.id)
        else if (each.kind === 'limit') limit = each.limit

        const standing = budgetStanding(past.state.budget, 'conversation', 'modelCalls', now)
        expect(standing.used + standing.reserved).toBe(total())
        expect(past.state.budget.used.modelCalls).toBe(spent)
        if (each.kind === 'reserve' && each.amount > 0) expect(total()).toBeLessThanOrEqual(limit)
      }
      expect(replayed(past.log)).toEqual(past.state.budget)
    }),
    { numRuns: 500 },
  )
})

/** The other way to the same state: bare, on one owned object. */
function replayed(log: readonly StampedAction[]): BudgetState {
  const fold = startFold(conversationReducer)
  for (const action of log) fold.apply(structuredClone(action))
  return fold.finish().state.budget
}

test('totals stop at what a number can hold', () => {
  const most = Number.MAX_SAFE_INTEGER
  const { state } = given(say('m1', most), say('m2', most), reserve('r', { inputTokens: most, outputTokens: most }), settle('r'))
  for (const kind of amountKinds) expect(Number.isSafeInteger(state.budget.used[kind])).toBe(true)
  expect(amountOf(state.budget.used, 'tokens')).toBe(most)
})
