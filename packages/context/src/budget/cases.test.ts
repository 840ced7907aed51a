/** What users of others ran into, and what others promise, each named by its source. */
import { toolFailed, toolRequested, toolStarted, toolSucceeded, turnEnded, turnStarted, usageRecorded } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import { describe, expect, test } from 'vitest'
import { given, say } from '../../../../test/support/given.ts'
import { budget } from './budget.ts'
import { amountsOfEstimate, amountsOfUsage } from './prices.ts'
import { reserve } from './reserve.ts'
import { openTenantBudget } from './tenant-budget.ts'

const call = (callId: string) => ({ messageId: 'm1', callId })
const exceeded = (details: object) => ({ code: 'budget_exceeded', details: expect.objectContaining(details) })

/** Runs the calls of one answer, and closes those that the budget refuses, as a turn does. @returns how each ended */
async function runBatch(dispatch: Awaited<ReturnType<typeof given>>['dispatch'], ids: readonly string[]): Promise<string[]> {
  await dispatch(ids.map((id) => toolRequested({ ...call(id), name: 'search' })))
  return Promise.all(
    ids.map(async (id) => {
      try {
        await dispatch(toolStarted(call(id)))
      } catch (error) {
        expect(error).toMatchObject({ code: 'budget_exceeded' })
        await dispatch(toolFailed({ ...call(id), kind: 'denied', problem: (error as Error).message }))
        return 'denied'
      }
      await dispatch(toolSucceeded(call(id)))
      return 'ran'
    }),
  )
}

describe('tool call limits (langchain toolCallLimit.test.ts)', () => {
  test('at the limit is allowed, past it is blocked', async () => {
    const { dispatch } = await given([], { middleware: [budget({ conversation: { toolCalls: 2 } })] })
    expect(await runBatch(dispatch, ['a', 'b'])).toEqual(['ran', 'ran'])
    expect(await runBatch(dispatch, ['c'])).toEqual(['denied'])
  })

  test('a parallel batch that is partly blocked runs what fits, and each blocked call gets its own end', async () => {
    const { dispatch, conversation } = await given([], { middleware: [budget({ turn: { toolCalls: 3 } })] })
    await dispatch(turnStarted({ turnId: 't1' }))
    expect(await runBatch(dispatch, ['a', 'b', 'c', 'd', 'e'])).toEqual(['ran', 'ran', 'ran', 'denied', 'denied'])
    expect(conversation.getState().tools).toMatchObject({ open: [], succeeded: 3, failed: 2 })
    expect(conversation.getState().budget).toMatchObject({ refusals: 2, used: { toolCalls: 3 } })
  })

  test('the counter of a run begins anew with the next user turn, that of the thread goes on', async () => {
    const { dispatch } = await given([], {
      middleware: [budget({ turn: { toolCalls: 2 }, conversation: { toolCalls: 3 } })],
    })
    await dispatch(turnStarted({ turnId: 't1' }))
    expect(await runBatch(dispatch, ['a', 'b', 'c'])).toEqual(['ran', 'ran', 'denied'])
    await dispatch([turnEnded({ turnId: 't1' }), turnStarted({ turnId: 't2' })])
    expect(await runBatch(dispatch, ['d', 'e'])).toEqual(['ran', 'denied'])
    await expect(dispatch([toolRequested({ ...call('f'), name: 'search' }), toolStarted(call('f'))])).rejects.toMatchObject(
      exceeded({ scope: 'conversation', limit: 3, used: 3 }),
    )
  })

  test('the counter of the thread is the same after a restart', async () => {
    const log = openMemoryLog()
    const middleware = [budget({ conversation: { toolCalls: 2 } })]
    const first = await given([], { log, middleware })
    await runBatch(first.dispatch, ['a', 'b'])
    await first.engine.close()
    const again = await given([], { log, middleware })
    expect(await runBatch(again.dispatch, ['c'])).toEqual(['denied'])
  })
})

describe('budgets that were overshot or missing', () => {
  test('a limit of 100 is not used 300 by parallel workers (QuintinShaw/pi-dynamic-workflows#71)', async () => {
    const log = openMemoryLog()
    const workers = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(() => given([], { log, middleware: [budget({ conversation: { tokens: 100 } })] })),
    )
    const estimate = { modelCalls: 1, inputTokens: 40, outputTokens: 10 }
    const results = await Promise.allSettled(workers.map(({ conversation }) => reserve(conversation, estimate)))
    const held = results.filter((each) => each.status === 'fulfilled').map(({ value }) => value)
    expect(held).toHaveLength(2)
    for (const each of held) await each.settle({ inputTokens: 38, outputTokens: 12 })
    const state = await workers[0]?.conversation.refresh()
    expect(state?.budget.used).toMatchObject({ modelCalls: 2, inputTokens: 76, outputTokens: 24 })
  })

  test('an agent that works for hours on its own is stopped by what it took, each call by the next (hermes-agent#91713)', async () => {
    const { conversation } = await given([], {
      middleware: [budget({ conversation: { tokens: { soft: 80_000, hard: 100_000 } } })],
    })
    let calls = 0
    const loop = async () => {
      for (;;) {
        const held = await reserve(conversation, { modelCalls: 1, inputTokens: 9_000, outputTokens: 1_000 })
        calls += 1
        await held.settle({ inputTokens: 8_500, outputTokens: 300, cacheReadTokens: 0 })
      }
    }
    await expect(loop()).rejects.toMatchObject(exceeded({ kind: 'tokens', limit: 100_000 }))
    // 8,800 a call, and 10,000 must be free for the next one.
    expect(calls).toBe(11)
    expect(conversation.getState().budget).toMatchObject({ warnings: 1, refusals: 1 })
  })

  test('a tool loop is aborted within a turn, and a retry of the same dispatch is not counted twice (TradingAgents#515)', async () => {
    const { dispatch, conversation } = await given([], { middleware: [budget({ turn: { messageTokens: 50 } })] })
    await dispatch(turnStarted({ turnId: 't1' }))
    const message = say('m1', 'result', 40)
    await dispatch(message, { commandId: 'k' })
    await dispatch(message, { commandId: 'k' })
    expect(conversation.getState().budget.turn.used.messageTokens).toBe(40)
    await expect(dispatch(say('m2', 'result', 40))).rejects.toMatchObject(exceeded({ scope: 'turn', used: 40, requested: 40 }))
  })

  test('cost is judged before the request, by a price for each model, with a warning on the way (pydantic-ai-harness#46)', async () => {
    const model = { provider: 'p', id: 'm' }
    const prices = { m: { input: 2, output: 10, cacheRead: 0.2 } }
    const { conversation, stored } = await given([], {
      middleware: [budget({ prices, conversation: { costMicros: { soft: 4_000, hard: 9_000 } } })],
    })
    const estimate = amountsOfEstimate({ model, inputTokens: 1_000, maxOutputTokens: 300 }, prices)
    expect(estimate.costMicros).toBe(5_000)
    const held = await reserve(conversation, estimate)
    const usage = { input: 400, output: 100, cacheRead: 600, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 }
    await held.settle(amountsOfUsage(usage, { model, prices }), [
      usageRecorded({ usage, model, reservationId: held.reservationId }),
    ])
    expect(conversation.getState().budget.used).toMatchObject({ modelCalls: 1, costMicros: 1_920 })
    await (await reserve(conversation, estimate)).settle({ costMicros: 4_100 })
    await expect(reserve(conversation, estimate)).rejects.toMatchObject(
      exceeded({ kind: 'costMicros', limit: 9_000, used: 6_020, requested: 5_000 }),
    )
    // A model without a price could cost anything.
    const unpriced = amountsOfEstimate({ model: { provider: 'p', id: 'new' }, inputTokens: 1, maxOutputTokens: 1 }, prices)
    await expect(reserve(conversation, unpriced)).rejects.toMatchObject({ code: 'budget_unavailable' })
    const types = (await stored()).map(({ type }) => type)
    expect(types.filter((type) => type === 'budgetRefused')).toHaveLength(2)
    // By what was spent: what is reserved may come back.
    expect(types.filter((type) => type === 'budgetWarned')).toHaveLength(1)
  })

  test('a metric that cannot be read refuses, where others let pass (agent-state: CostGuard fails open)', async () => {
    const inner = openMemoryLog()
    let isDown = false
    const log = Object.assign(Object.create(inner) as typeof inner, {
      append: (requests: Parameters<typeof inner.append>[0]) =>
        isDown ? Promise.reject(new Error('unplugged')) : inner.append(requests),
    })
    await using tenant = await openTenantBudget({ log, onError: () => {} })
    await tenant.set({ modelCalls: 10 })
    const { conversation } = await given([], { middleware: [budget({ tenant })] })
    isDown = true
    await expect(reserve(conversation, { modelCalls: 1 })).rejects.toMatchObject({ code: 'budget_unavailable' })
    expect(conversation.position).toBe(0)
    isDown = false
    await expect(reserve(conversation, { modelCalls: 1 })).resolves.toBeDefined()
  })
})
