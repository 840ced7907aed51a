import { conversationStarted } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { oldest, talk } from '../../../../test/support/compaction.ts'
import { given } from '../../../../test/support/core-log.ts'
import { namedStrategy } from '../compaction/strategies/named-strategy.ts'
import { nullStrategy } from '../compaction/strategies/null-strategy.ts'
import { defaultSettings, settings, strategyNames } from '../settings.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { contextWindow, windowOf } from './context-window.ts'

const emptyState = given().state

const window = contextWindow({ counter: charactersCounter, strategy: oldest })

test('a context window says how much there is, when it is compacted, and whether that is near', () => {
  const { state } = given(conversationStarted({ contextLimitTokens: 20_000 }), ...talk(1, 1, 17_000))
  expect(window.maxContextTokens(state)).toBe(20_000)
  expect(window.summaryThresholdTokens(state)).toBe(17_000)
  expect(window.isNearLimit(state)).toBe(false)
  const more = given(conversationStarted({ contextLimitTokens: 20_000 }), ...talk(1, 1, 17_001)).state
  expect(window.isNearLimit(more)).toBe(true)
  expect(window.targetTokens(more)).toBe(12_000)
  expect(window.compactionDue(more)).toMatchObject({ targetTokens: 12_000 })
  expect(window.strategyFor(more)).toBe(oldest)
})

test('by default it counts by estimate and goes by what the conversation is made of', () => {
  const { counter, settings, strategyFor } = contextWindow()
  expect(counter.id).toBe('estimate')
  expect(settings).toMatchObject({ maxContextTokens: 50_000, summaryThreshold: 0.85, targetRatio: 0.6, leastTokens: 10_000 })
  expect(strategyFor(given().state)?.name).toBe('adaptive')
})

test.each([null, nullStrategy])('without a strategy (%o) nothing is ever due, however near the limit is', (strategy) => {
  const none = contextWindow({ counter: charactersCounter, strategy })
  const { state } = given(...talk(1, 1, 49_000))
  expect(none.isNearLimit(state)).toBe(true)
  expect(none.compactionDue(state)).toBeNull()
  expect(none.strategyFor(state)).toBeNull()
})

test('settings that cannot be are refused', () => {
  expect(() => contextWindow({ counter: charactersCounter, strategy: oldest, settings: { summaryThreshold: 2 } })).toThrow(
    expect.objectContaining({ code: 'settings_invalid', details: expect.objectContaining({ field: 'summaryThreshold' }) }),
  )
})

describe('the window of settings', () => {
  test('has their budgets, thresholds and strategy', () => {
    const asked = settings({
      contextBudget: 20_000,
      modelBudgets: { large: 90_000 },
      strategy: ['summarizing', 'sliding-window'],
      thresholds: { targetRatio: 0.5, leastTokens: 0, perTurn: 3 },
    })
    const { settings: own, strategyFor } = windowOf(asked)
    expect(own).toEqual({
      maxContextTokens: 20_000,
      modelContextTokens: { large: 90_000 },
      summaryThreshold: 0.85,
      targetRatio: 0.5,
      leastTokens: 0,
      perTurn: 3,
    })
    expect(strategyFor(emptyState)?.name).toBe('summarizing|sliding-window')
  })

  test('without any is the default one', () => {
    expect(windowOf(defaultSettings).settings).toEqual(contextWindow().settings)
    expect(windowOf(defaultSettings).strategyFor(emptyState)?.name).toBe('adaptive')
  })

  test.each(strategyNames)('goes by the strategy that is named %s', (name) => {
    expect(namedStrategy(name).name).toBe(name)
    expect(windowOf({ ...defaultSettings, strategy: name }).strategyFor(emptyState)?.name ?? 'null').toBe(name)
  })
})
