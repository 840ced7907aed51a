import { describe, expect, test } from 'vitest'
import { amountsOfEstimate, amountsOfUsage, costOf, definePrices } from './prices.ts'

const model = { provider: 'anthropic', id: 'claude' }
const prices = definePrices({
  claude: { input: 3, output: 15, cacheRead: 0.3, cacheWrite5m: 3.75, cacheWrite1h: 6 },
  'anthropic/claude': { input: 1, output: 5, cacheRead: 0.1, cacheWrite5m: 1.25, cacheWrite1h: 2 },
  plain: { input: 0.1, output: 0.4 },
})
const usage = { input: 1_000, output: 200, cacheRead: 50_000, cacheWrite: { ttl5m: 400, ttl1h: 30, other: 100 }, reasoning: 150 }

describe('the cost of usage', () => {
  test('is that of each kind of token, in millionths of a dollar; reasoning is a part of the output', () => {
    expect(costOf(usage, { provider: 'bedrock', id: 'claude' }, prices)).toBe(3_000 + 3_000 + 15_000 + 500 * 3.75 + 180)
  })

  test('is that of the provider where the table names it', () => {
    expect(costOf(usage, model, prices)).toBe(1_000 + 1_000 + 5_000 + 625 + 60)
  })

  test('is that of input for what has no price of its own, rounded up, but not for the noise of fractions', () => {
    const few = { ...usage, input: 3, output: 0, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 } }
    expect(costOf(few, { provider: 'x', id: 'plain' }, prices)).toBe(1)
    expect(costOf({ ...few, input: 30 }, { provider: 'x', id: 'plain' }, prices)).toBe(3)
    expect(
      costOf(
        { ...few, input: 0, cacheRead: 10, cacheWrite: { ttl5m: 10, ttl1h: 10, other: 0 } },
        { provider: 'x', id: 'plain' },
        prices,
      ),
    ).toBe(3)
  })

  test('is not known for a model without a price, whatever it is called', () => {
    for (const id of ['gpt', 'constructor', '__proto__']) expect(costOf(usage, { provider: 'x', id }, prices)).toBeUndefined()
  })
})

test.each([
  [{ claude: { input: 3 } }, 'prices.claude.output'],
  [{ claude: { input: -3, output: 1 } }, 'prices.claude.input'],
  [{ claude: { input: 3, output: 1, cachRead: 1 } }, 'prices.claude.cachRead'],
  ['cheap', 'prices'],
])('a price table that cannot be used names the field: %j', (table, field) => {
  expect(() => definePrices(table)).toThrow(
    expect.objectContaining({ code: 'settings_invalid', details: expect.objectContaining({ field }) }),
  )
})

describe('the amounts of a model call', () => {
  test('are estimated from what is sent and what may come back; an unknown price is left out', () => {
    const estimate = { model, inputTokens: 900, toolTokens: 100, maxOutputTokens: 200 }
    expect(amountsOfEstimate(estimate, prices)).toEqual({
      modelCalls: 1,
      inputTokens: 900,
      toolTokens: 100,
      outputTokens: 200,
      // All of it may be written to the cache.
      costMicros: 2_250,
    })
    const plain = definePrices({ claude: { input: 1, output: 5, cacheRead: 0.1 } })
    expect(amountsOfEstimate(estimate, plain).costMicros).toBe(2_000)
    const written = { ...usage, input: 0, cacheRead: 0, cacheWrite: { ttl5m: 1_000, ttl1h: 0, other: 0 } }
    expect(costOf(written, model, prices)).toBeLessThanOrEqual(amountsOfEstimate(estimate, prices).costMicros ?? 0)
    expect(amountsOfEstimate({ ...estimate, model: { provider: 'x', id: 'y' } }, prices)).not.toHaveProperty('costMicros')
  })

  test('are taken from its usage, with the overhead of tools apart and the cost that the provider said', () => {
    expect(amountsOfUsage(usage, { model, prices, toolTokens: 300 })).toEqual({
      modelCalls: 1,
      inputTokens: 700,
      toolTokens: 300,
      outputTokens: 200,
      cacheReadTokens: 50_000,
      cacheWriteTokens: 530,
      costMicros: 7_685,
    })
    expect(amountsOfUsage({ ...usage, costMicros: 5 }, { model, prices }).costMicros).toBe(5)
    expect(amountsOfUsage(usage)).not.toHaveProperty('costMicros')
  })
})
