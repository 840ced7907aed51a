import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { budgetRefused, budgetSet, budgetWarned } from './budget.ts'
import { messageAdded } from './messages.ts'

const say = (id: string, tokenCount: number) => messageAdded({ message: { v: 1, id, role: 'user', parts: [] }, tokenCount })

describe('the budget', () => {
  test('given messages before and after a limit is set, all of them count', () => {
    const { state } = given(say('m1', 10), budgetSet({ limitTokens: 100, warnTokens: 80 }), say('m2', 75))
    expect(state.budget).toEqual({ limitTokens: 100, warnTokens: 80, usedTokens: 85, warnings: 0, refusals: 0 })
  })

  test('given a limit, when it warns and refuses, both are counted and nothing is spent', () => {
    const { state } = given(
      budgetSet({ limitTokens: 100 }),
      budgetWarned({ limitTokens: 100, usedTokens: 85, warnTokens: 80 }),
      budgetRefused({ actionType: 'messageAdded', limitTokens: 100, usedTokens: 85, requestedTokens: 20 }),
    )
    expect(state.budget).toEqual({ limitTokens: 100, warnTokens: null, usedTokens: 0, warnings: 1, refusals: 1 })
  })

  test('given a limit, when it is set to null, there is none', () => {
    const { state } = given(budgetSet({ limitTokens: 100, warnTokens: 80 }), budgetSet({ limitTokens: null }))
    expect(state.budget).toMatchObject({ limitTokens: null, warnTokens: null })
  })
})
