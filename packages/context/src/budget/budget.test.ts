import { budgetSet } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { given, say } from '../../../../test/support/given.ts'
import { budget } from './budget.ts'

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
})
