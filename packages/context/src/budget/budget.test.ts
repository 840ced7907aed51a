import { budgetSet, turnEnded, turnStarted } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import { describe, expect, test } from 'vitest'
import { given, say } from '../../../../test/support/given.ts'
import { budget } from './budget.ts'
import { reservation, reserve } from './reserve.ts'

const limitTokens = (hard: number | null) =>
  budgetSet({ scope: 'conversation', limits: { messageTokens: hard === null ? null : { soft: null, hard } } })

describe('budget', () => {
  test('stores the refusal, not the refused action', async () => {
    const { dispatch, stored } = await given([say('m1', 'hi', 1)], { middleware: [budget({ limitTokens: 2 })] })
    await expect(dispatch(say('m2', 'too much', 3))).rejects.toMatchObject({
      code: 'budget_exceeded',
      details: { scope: 'conversation', kind: 'messageTokens', limit: 2, used: 1, reserved: 0, requested: 3 },
    })
    expect(await stored()).toMatchObject([
      { type: 'messageAdded' },
      {
        type: 'budgetRefused',
        action: { payload: { actionType: 'messageAdded', kind: 'messageTokens', limit: 2, used: 1, reserved: 0, requested: 3 } },
      },
    ])
  })

  test('is not overshot by dispatches at the same time', async () => {
    const { dispatch, conversation } = await given([], { middleware: [budget({ limitTokens: 10 })] })
    const results = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => dispatch(say(`m${i}`, 'x', 3))))
    expect(results.filter((r) => r.status === 'fulfilled')).toHaveLength(3)
    expect(conversation.getState().budget).toMatchObject({ used: { messageTokens: 9 }, refusals: 37 })
  })

  test('the lower of option and budgetSet holds; null lifts the one that was set', async () => {
    const { dispatch } = await given([limitTokens(5)], { middleware: [budget({ limitTokens: 100 })] })
    await expect(dispatch(say('m1', 'x', 6))).rejects.toMatchObject({ details: { limit: 5 } })
    await dispatch(limitTokens(null))
    await dispatch(say('m1', 'x', 6))
    await expect(dispatch(say('m2', 'x', 95))).rejects.toMatchObject({ details: { limit: 100, used: 6 } })
  })

  test('warns once when the mark is passed', async () => {
    const { dispatch, conversation, stored } = await given([], { middleware: [budget({ limitTokens: 10, warnTokens: 5 })] })
    for (const id of ['m1', 'm2', 'm3']) await dispatch(say(id, 'x', 3))
    expect(conversation.getState().budget.warnings).toBe(1)
    expect((await stored()).map((e) => e.type)).toEqual(['messageAdded', 'messageAdded', 'budgetWarned', 'messageAdded'])
  })

  test('without a limit everything passes', async () => {
    const { dispatch } = await given([], { middleware: [budget()] })
    await expect(dispatch(say('m1', 'x', 1_000_000))).resolves.toMatchObject({ blocked: false })
  })

  test('refuses a message that is larger than a message may be, whatever is left', async () => {
    const { dispatch, conversation } = await given([], { middleware: [budget({ limitMessageTokens: 8 })] })
    await dispatch(say('m1', 'x', 8))
    await expect(dispatch(say('m2', 'x', 9))).rejects.toMatchObject({
      code: 'token_limit',
      details: { actionType: 'messageAdded', limitTokens: 8, requestedTokens: 9 },
    })
    expect(conversation.getState().budget).toMatchObject({ refusals: 1, lastRefusal: { scope: 'message', limit: 8 } })
  })

  test('judges messages, tokens and turns by the limits of each; at the limit is allowed', async () => {
    const { dispatch } = await given([], {
      middleware: [budget({ turn: { messages: 2 }, conversation: { messages: 3, messageTokens: 100 } })],
    })
    const refused = (details: object) => ({ code: 'budget_exceeded', details: expect.objectContaining(details) })
    for (const id of ['m1', 'm2']) await dispatch(say(id))
    await expect(dispatch(say('m3'))).rejects.toMatchObject(refused({ scope: 'turn', kind: 'messages', limit: 2, used: 2 }))
    await dispatch(turnStarted({ turnId: 't1' }))
    await expect(dispatch(say('m3', 'x', 99))).rejects.toMatchObject(refused({ kind: 'messageTokens', used: 2, requested: 99 }))
    await dispatch(say('m3', 'x', 98))
    await expect(dispatch(say('m4', 'x', 0))).rejects.toMatchObject(
      refused({ scope: 'conversation', kind: 'messages', limit: 3 }),
    )
  })

  test('starts no work when the time of a turn is up, and lets what is under way be told', async () => {
    let seconds = 0
    const clock = () => 1_767_225_600_000_000 + seconds * 1_000_000
    const { dispatch, conversation } = await given([], { clock, middleware: [budget({ clock, turn: { wallMs: 60_000 } })] })
    await dispatch(turnStarted({ turnId: 't1' }))
    seconds = 59
    const held = await reserve(conversation, { modelCalls: 1 }, { clock })
    seconds = 61
    await expect(reserve(conversation, { modelCalls: 1 }, { clock })).rejects.toMatchObject({
      code: 'budget_exceeded',
      details: { scope: 'turn', kind: 'wallMs', limit: 60_000, used: 61_000 },
    })
    await held.settle({}, [say('m1', 'the answer', 5, 'assistant')])
    await dispatch([turnEnded({ turnId: 't1' }), turnStarted({ turnId: 't2' })])
    await expect(reserve(conversation, { modelCalls: 1 }, { clock })).resolves.toBeDefined()
  })

  test('warns of the time of a turn with the first action behind it, once', async () => {
    let seconds = 0
    const clock = () => 1_767_225_600_000_000 + seconds * 1_000_000
    const { dispatch, stored } = await given([], {
      clock,
      middleware: [budget({ clock, turn: { wallMs: { soft: 5_000, hard: 60_000 } } })],
    })
    await dispatch(turnStarted({ turnId: 't1' }))
    for (const at of [4, 5, 6]) {
      seconds = at
      await dispatch(say(`m${at}`))
    }
    const warned = (await stored()).filter(({ type }) => type === 'budgetWarned')
    expect(warned.map(({ action }) => action.payload)).toEqual([
      { scope: 'turn', kind: 'wallMs', soft: 5_000, hard: 60_000, used: 5_000 },
    ])
  })

  test('warns of any kind whenever its mark is passed anew', async () => {
    const { dispatch, stored } = await given([], { middleware: [budget({ turn: { messages: { soft: 2 } } })] })
    for (const id of ['m1', 'm2', 'm3']) await dispatch(say(id))
    await dispatch(turnStarted({ turnId: 't1' }))
    for (const id of ['m4', 'm5']) await dispatch(say(id))
    const warned = (await stored()).filter(({ type }) => type === 'budgetWarned')
    expect(warned.map(({ position }) => position)).toEqual([3, 8])
    expect(warned[0]?.action.payload).toEqual({ scope: 'turn', kind: 'messages', soft: 2, hard: null, used: 2 })
  })
})

describe('a reservation', () => {
  test('ids that differ in their last character only are settled each for itself', async () => {
    const { conversation } = await given([])
    for (const last of ['a', 'b']) {
      const held = await reserve(conversation, { modelCalls: 1 }, { reservationId: 'x'.repeat(199) + last })
      await held.settle()
    }
    expect(conversation.getState().budget).toMatchObject({ used: { modelCalls: 2 }, reservations: [] })
  })

  test('is settled together with what the call brought, or not at all', async () => {
    const { conversation, stored } = await given([], { middleware: [budget({ limitTokens: 10 })] })
    const held = await reserve(conversation, { modelCalls: 1 })
    await expect(held.settle({}, [say('m1', 'long', 11)])).rejects.toMatchObject({ code: 'budget_exceeded' })
    expect(conversation.getState().budget.reservations).toHaveLength(1)
    await held.settle({ outputTokens: 4 }, [say('m1', 'short', 4)])
    expect((await stored()).map(({ type }) => type)).toEqual(['budgetReserved', 'budgetRefused', 'budgetSettled', 'messageAdded'])
  })

  test('is settled once, however often that is said, and not released behind it', async () => {
    const { conversation } = await given([], { middleware: [budget()] })
    const held = await reserve(conversation, { modelCalls: 1 })
    await held.settle({ outputTokens: 4 })
    expect(await held.settle({ outputTokens: 4 })).toMatchObject({ duplicate: true })
    await expect(held.release()).rejects.toMatchObject({ code: 'command_id_reused' })
    expect(conversation.getState().budget.used).toMatchObject({ modelCalls: 1, outputTokens: 4 })
  })

  test('is found by its id, in another engine too', async () => {
    const log = openMemoryLog()
    const first = await given([], { log })
    await reserve(first.conversation, { modelCalls: 1 }, { reservationId: 'mine' })
    const second = await given([], { log })
    await reservation(second.conversation, 'mine')?.settle()
    expect(reservation(second.conversation, 'mine')).toBeUndefined()
    expect(second.conversation.getState().budget.used.modelCalls).toBe(1)
  })
})
