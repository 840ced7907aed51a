import { setTimeout } from 'node:timers/promises'
import {
  type BudgetAmounts,
  budgetReserved,
  budgetSettled,
  ColloquyError,
  type EventLog,
  toolStarted,
  usageRecorded,
} from '@colloquy/core'
import { createEngine, openMemoryLog, uuidv7 } from '@colloquy/engine'
import { describe, expect, test } from 'vitest'
import { given, say, storedIn } from '../../../../test/support/given.ts'
import { budget } from './budget.ts'
import { reserve } from './reserve.ts'
import { ledgerIdOf, openTenantBudget, type TenantBudget, type TenantGrant } from './tenant-budget.ts'

const ledgerId = ledgerIdOf('tenant')
const call: BudgetAmounts = { modelCalls: 1 }

/** Calls until it is refused. @returns how many calls were allowed */
async function callUntilRefused(ledger: TenantBudget, amounts = call): Promise<number> {
  for (let count = 0; ; count++) {
    try {
      const grant = await ledger.reserve(amounts)
      await setTimeout(0)
      grant.settle()
    } catch (error) {
      expect(error).toMatchObject({ code: 'budget_exceeded', details: { scope: 'tenant' } })
      return count
    }
  }
}

const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0)
const open = (log: EventLog, options = {}) => openTenantBudget({ log, chunkMs: 20, ...options })

describe('a tenant budget', () => {
  test('lets 64 callers with ledgers of their own pass exactly 100 times together', async () => {
    const log = openMemoryLog()
    await using first = await open(log)
    await first.set({ modelCalls: 100 })
    const ledgers = await Promise.all([1, 2, 3].map(() => open(log)))
    const all = [first, ...ledgers]
    const counts = await Promise.all(all.flatMap((ledger) => Array.from({ length: 16 }, () => callUntilRefused(ledger))))
    expect(sum(counts)).toBe(100)
    await Promise.all(ledgers.map((ledger) => ledger.close()))
    const { used, reservations, refusals } = await first.refresh()
    expect({ calls: used.modelCalls, reservations, refusals }).toEqual({ calls: 100, reservations: [], refusals: 64 })
  })

  test('far from the limit takes chunks, not one append for each call', async () => {
    const log = openMemoryLog()
    await using ledger = await open(log)
    await ledger.set({ modelCalls: 100_000, costMicros: { soft: 1, hard: 10_000_000 } })
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        for (let i = 0; i < 50; i++) (await ledger.reserve({ modelCalls: 1, costMicros: 50 })).settle({ costMicros: 20 })
      }),
    )
    const { used, reservations } = await ledger.refresh()
    await ledger.close()
    const stored = await storedIn(log, ledgerId)
    expect(stored.length).toBeLessThan(100)
    expect(used.modelCalls + sum(reservations.map(({ amounts }) => amounts.modelCalls ?? 0))).toBeGreaterThanOrEqual(3_200)
    await using again = await open(log)
    expect(again.getState().used).toMatchObject({ modelCalls: 3_200, costMicros: 64_000 })
    expect(again.getState().reservations).toEqual([])
  })

  test('gets back what another process holds and does not need, before anybody is refused', async () => {
    const log = openMemoryLog()
    await using idle = await open(log)
    await idle.set({ modelCalls: 100 })
    await using busy = await open(log)
    // Its chunks are larger than what it asks for.
    for (let i = 0; i < 12; i++) (await idle.reserve(call)).settle()
    expect(idle.getState().reservations.some(({ purpose }) => purpose === 'chunk')).toBe(true)
    await expect(busy.reserve({ modelCalls: 88 })).resolves.toBeDefined()
  })

  test('is waited for once with a holder that does not answer, and not again', async () => {
    const inner = openMemoryLog()
    let looks = 0
    const log = Object.assign(Object.create(inner) as EventLog, {
      head: (key: Parameters<EventLog['head']>[0]) => {
        looks += 1
        return inner.head(key)
      },
    })
    await using hanging = await open(inner, { chunkMs: 60_000 })
    await hanging.set({ modelCalls: 50 })
    for (let i = 0; i < 4; i++) await hanging.reserve(call)
    await using other = await open(log, { waitMs: 500 })
    const refusal = { code: 'budget_exceeded' }
    await expect(other.reserve({ modelCalls: 46 })).rejects.toMatchObject(refusal)
    const first = looks
    expect(first).toBeGreaterThan(3)
    await expect(other.reserve({ modelCalls: 46 })).rejects.toMatchObject(refusal)
    expect(looks - first).toBeLessThan(3)
  })

  test('gives what is free in one chunk to a request of another shape', async () => {
    await using ledger = await open(openMemoryLog(), { chunkMs: 60_000 })
    await ledger.set({ modelCalls: 20 })
    for (let i = 0; i < 3; i++) (await ledger.reserve(call)).settle()
    expect(await callUntilRefused(ledger, { modelCalls: 1, inputTokens: 7 })).toBe(17)
  })

  test('near the limit reserves an eighth of the room more than was asked for at most', async () => {
    const log = openMemoryLog()
    await using ledger = await open(log, { chunkMs: 60_000 })
    await ledger.set({ modelCalls: 1_000 })
    const grants: TenantGrant[] = []
    for (let i = 0; i < 100; i++) grants.push(await ledger.reserve(call))
    for (const grant of grants) grant.release()
    await ledger.refresh()
    await ledger.set({ modelCalls: 17 })
    await ledger.reserve(call)
    const stored = await storedIn(log, ledgerId)
    const sizes = stored.flatMap(({ action }) => (budgetReserved.match(action) ? (action.payload.amounts.modelCalls ?? 0) : []))
    expect(Math.max(...sizes)).toBeGreaterThan(20)
    expect(sizes.at(-1)).toBe(3)
  })

  test('is not waited for when nobody has anything to give back', async () => {
    const log = openMemoryLog()
    await using ledger = await open(log, { chunkMs: 60_000 })
    await ledger.set({ modelCalls: 1 })
    await ledger.reserve(call)
    await using other = await open(log, { chunkMs: 60_000 })
    await expect(other.reserve(call)).rejects.toMatchObject({
      code: 'budget_exceeded',
      details: { scope: 'tenant', kind: 'modelCalls', limit: 1, used: 0, reserved: 1, requested: 1 },
    })
    expect((await storedIn(log, ledgerId)).at(-1)).toMatchObject({ type: 'budgetRefused' })
  })

  test('holds once for one key, also when that was spent, and anew when it was settled or released', async () => {
    await using ledger = await open(openMemoryLog())
    await ledger.set({ modelCalls: 3 })
    await Promise.all([ledger.reserve(call, { key: 'k' }), ledger.reserve(call, { key: 'k' })])
    ledger.spend('k')
    await ledger.reserve(call, { key: 'k' })
    ledger.spend('k')
    await ledger.reserve(call, { key: 'l' })
    ledger.release('l')
    await ledger.reserve(call, { key: 'l' })
    ledger.settle('l')
    expect((await ledger.refresh()).used.modelCalls).toBe(2)
    await ledger.reserve(call, { key: 'l' })
    await expect(ledger.reserve(call)).rejects.toMatchObject({ code: 'budget_exceeded', details: { used: 2, reserved: 1 } })
  })

  test('counts what a call took, more than was reserved too; what is released counts nothing', async () => {
    const log = openMemoryLog()
    const ledger = await open(log)
    await ledger.set({ tokens: 1_000 })
    const amounts = { modelCalls: 1, inputTokens: 100, outputTokens: 100 }
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => ledger.reserve(amounts)))
    one?.settle({ inputTokens: 150, outputTokens: 10 })
    two?.release()
    three?.settle()
    three?.settle({ inputTokens: 999 })
    await ledger.close()
    await using again = await open(log)
    expect(again.getState().used).toMatchObject({ modelCalls: 2, inputTokens: 250, outputTokens: 110 })
  })

  test('refuses a call that does not say what it may cost where cost is limited, also out of a chunk', async () => {
    await using ledger = await open(openMemoryLog())
    await ledger.set({ costMicros: 1_000_000 })
    for (let i = 0; i < 4; i++) await ledger.reserve({ modelCalls: 1, costMicros: 10 })
    await expect(ledger.reserve(call)).rejects.toMatchObject({ code: 'budget_unavailable' })
    await expect(ledger.reserve({ toolCalls: 1 })).resolves.toBeDefined()
  })

  test('says of each request why it is refused, and stores each refusal', async () => {
    await using ledger = await open(openMemoryLog())
    await ledger.set({ costMicros: 1_000 })
    const results = await Promise.allSettled([ledger.reserve(call), ledger.reserve({ modelCalls: 1, costMicros: 2_000 })])
    expect(results).toMatchObject([
      { reason: { code: 'budget_unavailable', details: { problem: expect.stringContaining('does not say how many') } } },
      { reason: { code: 'budget_exceeded', details: { requested: 2_000 } } },
    ])
    expect(await ledger.refresh()).toMatchObject({ refusals: 2, lastRefusal: { kind: 'costMicros' } })
  })

  test.each([Number.NaN, -1_000, 0.5, Number.POSITIVE_INFINITY])(
    'takes no amount that is none (%s), and its limit holds after that',
    async (amount) => {
      await using ledger = await open(openMemoryLog())
      await ledger.set({ modelCalls: 10 })
      const first = await ledger.reserve(call)
      await expect(ledger.reserve({ modelCalls: amount })).rejects.toMatchObject({ code: 'action_invalid' })
      expect(() => first.settle({ modelCalls: amount })).toThrow(expect.objectContaining({ code: 'action_invalid' }))
      first.settle()
      expect(await callUntilRefused(ledger)).toBe(9)
      expect((await ledger.refresh()).used.modelCalls).toBe(10)
    },
  )

  test('allows nothing when the log cannot be reached, but for what it holds already', async () => {
    const inner = openMemoryLog()
    let isDown = false
    const log = new Proxy(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          if (isDown) return Promise.reject(new ColloquyError('database_unreachable', { target: 'here', problem: 'it is off' }))
          return value.apply(target, given) as unknown
        }
      },
    })
    await using ledger = await open(log, { chunkMs: 60_000 })
    await ledger.set({ modelCalls: 1_000 })
    for (let i = 0; i < 3; i++) (await ledger.reserve(call)).settle()
    isDown = true
    const results: unknown[] = []
    for (let i = 0; i < 10; i++) results.push(await ledger.reserve(call).catch((error: unknown) => error))
    const refused = results.filter((each) => each instanceof ColloquyError)
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.length).toBeLessThan(10)
    for (const each of refused)
      expect(each).toMatchObject({ code: 'budget_unavailable', retryable: true, cause: { code: 'database_unreachable' } })
    isDown = false
    await expect(ledger.reserve(call)).resolves.toBeDefined()
  })

  test('counts once what it wrote down twice, because the first answer was lost', async () => {
    const inner = openMemoryLog()
    let isLost = false
    const log = Object.assign(Object.create(inner) as EventLog, {
      append: async (requests: Parameters<EventLog['append']>[0]) => {
        const outcomes = await inner.append(requests)
        if (isLost) throw new ColloquyError('append_outcome_unknown', { conversationId: ledgerId, position: 3, hash: '00' })
        return outcomes
      },
    })
    await using ledger = await open(log, { chunkMs: 60_000 })
    const [one] = await Promise.all([ledger.reserve(call), ledger.reserve(call)])
    one?.settle()
    isLost = true
    await expect(ledger.refresh()).rejects.toMatchObject({ code: 'append_outcome_unknown' })
    isLost = false
    const { used, reservations } = await ledger.refresh()
    expect(used.modelCalls).toBe(1)
    expect(reservations).toMatchObject([{ amounts: call }])
  })

  test('of a process that died counts its chunk as spent from its expiry on, until somebody gives it back', async () => {
    let now = 1_767_225_600_000_000
    const clock = () => now
    const log = openMemoryLog()
    const dead = await open(log, { clock, chunkMs: 60_000, expiresInMs: 1_000, holder: 'dead' })
    await dead.set({ modelCalls: 3 })
    await Promise.all([dead.reserve(call), dead.reserve(call), dead.reserve(call)])
    await using other = await open(log, { clock })
    await expect(other.reserve(call)).rejects.toMatchObject({ details: { used: 0, reserved: 3 } })
    now += 2_000_000
    await expect(other.reserve(call)).rejects.toMatchObject({ details: { used: 3, reserved: 0 } })
    const [left] = other.getState().reservations
    expect(left).toMatchObject({ holder: 'dead', amounts: { modelCalls: 3 } })
    await other.giveBack(left?.reservationId ?? '', 'its host is gone')
    await expect(other.reserve(call)).resolves.toBeDefined()
  })

  test('lies in a stream of its own, which no list shows and no engine opens', async () => {
    const log = openMemoryLog()
    await using ledger = await open(log, { scope: 'team-a' })
    await ledger.set({ modelCalls: 5 })
    expect(await log.conversations({ tenant: 'default', limit: 10 })).toEqual([])
    await using engine = createEngine({ log })
    await expect(engine.open(ledgerIdOf('team-a'))).rejects.toMatchObject({ code: 'id_invalid' })
    await expect(open(log, { scope: 'a~b' })).rejects.toMatchObject({ code: 'id_invalid' })
    await using other = await open(log, { scope: 'team-b' })
    expect(other.getState().limits.conversation).toEqual({})
  })
})

describe('the budget middleware over a tenant budget', () => {
  test('refuses in any conversation what the tenant has no more of, and stores the refusal there', async () => {
    const log = openMemoryLog()
    await using tenant = await open(log)
    await tenant.set({ messageTokens: 10, modelCalls: 1 })
    const { engine, dispatch, stored, conversation } = await given([], { log, middleware: [budget({ tenant })] })
    await dispatch(say('m1', 'x', 6))
    const other = await engine.open('d')
    await expect(other.dispatch(say('m2', 'x', 6))).rejects.toMatchObject({
      code: 'budget_exceeded',
      details: { scope: 'tenant', kind: 'messageTokens', limit: 10, used: 6, requested: 6 },
    })
    expect((await storedIn(log, 'd')).map(({ type, action }) => [type, action.payload])).toEqual([
      ['budgetRefused', expect.objectContaining({ scope: 'tenant', actionType: 'messageAdded', requested: 6 })],
    ])

    const reservation = await reserve(conversation, call)
    await expect(reserve(other, call)).rejects.toMatchObject({ code: 'budget_exceeded', details: { scope: 'tenant' } })
    await reservation.release()
    const second = await reserve(other, call)
    await second.settle()
    await expect(reserve(conversation, call)).rejects.toMatchObject({
      code: 'budget_exceeded',
      details: { used: 1, reserved: 0 },
    })
    expect((await stored()).map(({ type }) => type)).toEqual([
      'messageAdded',
      'budgetReserved',
      'budgetReleased',
      'budgetRefused',
    ])
  })

  test('holds for a reservation under an id that was settled before, and nothing for one that a guard refuses', async () => {
    const log = openMemoryLog()
    await using tenant = await open(log)
    await tenant.set({ modelCalls: 2 })
    const { conversation } = await given([], { log, middleware: [budget({ tenant })] })
    await reserve(conversation, call, { reservationId: 'r' })
    await expect(reserve(conversation, call, { reservationId: 'r' })).rejects.toMatchObject({ code: 'reservation_already_open' })
    expect((await tenant.refresh()).reservations).toMatchObject([{ amounts: call }])
    await conversation.dispatch(budgetSettled({ reservationId: 'r', amounts: {} }))
    await reserve(conversation, call, { reservationId: 'r' })
    await expect(reserve(conversation, call)).rejects.toMatchObject({ details: { scope: 'tenant', used: 1, reserved: 1 } })
  })

  test('never counts less than what many at once stored; what a conflict refused behind its hold counts as spent', async () => {
    const log = openMemoryLog()
    await using tenant = await open(log)
    const one = await given([], { log, ids: uuidv7, middleware: [budget({ tenant, conversation: { messages: 7 } })] })
    const two = await given([], { log, ids: uuidv7, middleware: [budget({ tenant, conversation: { messages: 7 } })] })
    const results = await Promise.allSettled(
      [one, two].flatMap(({ dispatch }, process) =>
        Array.from({ length: 10 }, (_, i) => dispatch([say(`a${process}.${i}`, 'x', 2)])),
      ),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(7)
    const { used } = await tenant.refresh()
    expect(used.messages).toBeGreaterThanOrEqual(7)
    expect(used.messages).toBeLessThanOrEqual(14)
    expect(used.messageTokens).toBe(2 * used.messages)
  })

  test('holds once for an action whose chain runs again because another process came first', async () => {
    const log = openMemoryLog()
    await using tenant = await open(log)
    const first = await given([], { log, middleware: [budget({ tenant })] })
    const second = await given([], { log, middleware: [budget({ tenant })], ids: uuidv7 })
    await first.dispatch(say('m1', 'x', 5))
    await second.dispatch([say('m2', 'x', 5), say('m3', 'x', 5)])
    expect((await tenant.refresh()).used).toMatchObject({ messages: 3, messageTokens: 15 })
  })

  test('holds nothing for an action that a guard refuses', async () => {
    const log = openMemoryLog()
    await using tenant = await open(log)
    const { dispatch } = await given([], { log, middleware: [budget({ tenant })] })
    await expect(dispatch(toolStarted({ messageId: 'm', callId: 'c' }))).rejects.toMatchObject({ code: 'tool_not_open' })
    const { used, reservations } = await tenant.refresh()
    expect({ calls: used.toolCalls, reservations }).toEqual({ calls: 0, reservations: [] })
  })

  test('counts as spent all of a reservation that is settled in parts', async () => {
    const log = openMemoryLog()
    await using tenant = await open(log)
    const { conversation } = await given([], { log, middleware: [budget({ tenant })] })
    await reserve(conversation, { modelCalls: 4 }, { reservationId: 'r' })
    await conversation.dispatch(budgetSettled({ reservationId: 'r', amounts: { modelCalls: 1 }, held: { modelCalls: 2 } }))
    await conversation.dispatch(budgetSettled({ reservationId: 'r', amounts: {} }))
    expect((await tenant.refresh()).used.modelCalls).toBe(4)
  })

  test('counts usage that nobody reserved, and refuses none of it', async () => {
    const log = openMemoryLog()
    const tenant = await open(log)
    await tenant.set({ costMicros: 10 })
    const { dispatch } = await given([], {
      log,
      middleware: [budget({ tenant, prices: { m: { input: 3, output: 15 } } })],
    })
    const usage = { input: 5, output: 2, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 }
    await dispatch(usageRecorded({ usage, model: { provider: 'p', id: 'm' } }))
    await tenant.close()
    await using again = await open(log)
    expect(again.getState().used).toMatchObject({ modelCalls: 1, costMicros: 45 })
    await expect(again.reserve({ modelCalls: 1, costMicros: 1 })).rejects.toMatchObject({ details: { used: 45 } })
  })
})
