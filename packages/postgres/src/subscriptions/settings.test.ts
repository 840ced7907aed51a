import { expect, test } from 'vitest'
import { checkedSettings, type SubscriptionSettings } from './settings.ts'

test('a subscription is told how it works, or works as usual', () => {
  const usual = { filter: {}, limit: 100, concurrency: 4, tries: 5, retryMs: 100, onPoison: 'stop', leaseMs: 10_000 }
  expect(checkedSettings({})).toEqual(usual)
  expect(checkedSettings({ limit: 1, retryMs: 0.5, onPoison: 'park' })).toEqual({
    ...usual,
    limit: 1,
    retryMs: 0.5,
    onPoison: 'park',
  })
})

test.each<[keyof SubscriptionSettings, unknown]>([
  ['limit', 0],
  ['limit', 1.5],
  ['concurrency', 0],
  ['tries', 0],
  ['tries', Number.POSITIVE_INFINITY],
  ['leaseMs', 0],
  ['leaseMs', Number.NaN],
  ['leaseMs', 2 ** 31],
  ['leaseMs', '1000'],
  ['retryMs', -1],
  ['retryMs', Number.NaN],
  ['onPoison', 'skip'],
])('%s: %s is refused, with what was given', (field, value) => {
  const problem = expect.stringContaining(String(value)) as string
  expect(() => checkedSettings({ [field]: value })).toThrow(
    expect.objectContaining({ code: 'settings_invalid', details: { field, problem } }),
  )
})
