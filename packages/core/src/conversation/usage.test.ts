import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { usageRecorded } from './usage.ts'

const usage = { input: 100, output: 20, cacheRead: 5, cacheWrite: { ttl5m: 1, ttl1h: 2, other: 3 }, reasoning: 7 }

describe('usage', () => {
  test('given calls, when each is recorded, the tokens of all are counted, and the cost where it is known', () => {
    const { state } = given(usageRecorded({ usage: { ...usage, costMicros: 1500 } }), usageRecorded({ usage, messageId: 'm1' }))
    expect(state.usage).toEqual({
      calls: 2,
      input: 200,
      output: 40,
      cacheRead: 10,
      cacheWrite: 12,
      reasoning: 14,
      costMicros: 1500,
    })
  })
})
