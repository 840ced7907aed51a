import { conversationStarted } from '@colloquy/core'
import { expect, test } from 'vitest'
import { charactersCounter, oldest, talk } from '../../../../test/support/compaction.ts'
import { given } from '../../../../test/support/core-log.ts'
import { contextWindow } from './context-window.ts'

const window = contextWindow({ counter: charactersCounter, strategy: oldest })

test('a context window says how much there is, when it is compacted, and whether that is near', () => {
  const { state } = given(conversationStarted({ contextLimitTokens: 20_000 }), ...talk(1, 1, 16_999))
  expect(window.maxContextTokens(state)).toBe(20_000)
  expect(window.summaryThresholdTokens(state)).toBe(17_000)
  expect(window.isNearLimit(state)).toBe(false)
  const more = given(conversationStarted({ contextLimitTokens: 20_000 }), ...talk(1, 1, 17_000)).state
  expect(window.isNearLimit(more)).toBe(true)
  expect(window.compactionDue(more)).toMatchObject({ targetTokens: 12_000 })
  expect(window.strategyFor(more)).toBe(oldest)
})

test('without a strategy nothing is ever due, however near the limit is', () => {
  const none = contextWindow({ counter: charactersCounter, strategy: null })
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
