import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defaultSettings, settings, settingsLayer } from './settings.ts'

describe('settings', () => {
  test('are the defaults where nothing is said', () => {
    expect(settings()).toEqual(defaultSettings)
    expect(settings({}, { thresholds: {} })).toEqual(defaultSettings)
  })

  test('of an upper layer go before those of a lower one, field by field', () => {
    const merged = settings(
      { contextBudget: 1000, thresholds: { targetRatio: 0.5 }, prices: { a: { input: 1, output: 2 } } },
      {
        contextBudget: 2000,
        strategy: ['topic-based', 'token-budget'],
        thresholds: { targetRatio: 0.4, perTurn: 3 },
        prices: { a: { input: 9, output: 9 }, b: { input: 3, output: 4 } },
        recall: { contextWindow: 3 },
      },
    )
    expect(merged).toEqual({
      contextBudget: 1000,
      modelBudgets: {},
      strategy: ['topic-based', 'token-budget'],
      thresholds: { summaryThreshold: 0.85, targetRatio: 0.5, leastTokens: 10_000, perTurn: 3 },
      prices: { a: { input: 1, output: 2 }, b: { input: 3, output: 4 } },
      recall: { ...defaultSettings.recall, contextWindow: 3 },
    })
  })

  test.each<[string, unknown, string | RegExp]>([
    ['contextBudget', { contextBudget: 'much' }, /number/],
    ['contextBudget', { contextBudget: 0 }, />0/],
    ['contextBudget', { contextBudget: 1.5 }, /int/],
    ['contextBudgets', { contextBudgets: 1 }, 'there is no such setting'],
    ['strategy', { strategy: 'cleverly' }, /adaptive, preserve-tool-context/],
    ['thresholds.targetRatio', { thresholds: { targetRatio: 2 } }, /<=1/],
    ['thresholds.perTurn', { thresholds: { perTurn: -1 } }, /./],
    ['thresholds.sumaryThreshold', { thresholds: { sumaryThreshold: 0.9 } }, 'there is no such setting'],
    ['prices.small-1.output', { prices: { 'small-1': { input: 1 } } }, /number/],
    ['prices.small-1.input', { prices: { 'small-1': { input: -1, output: 1 } } }, />=0/],
    ['recall.significance', { recall: { significance: 7 } }, /<=1/],
    ['(all)', null, /object/],
    ['(all)', [], /object/],
  ])('that cannot be used are refused, by the name of the field: %s', (field, given, problem) => {
    const refused = () => settingsLayer(given, 'a file')
    expect(refused).toThrow(expect.objectContaining({ code: 'settings_invalid', details: expect.objectContaining({ field }) }))
    expect(refused).toThrow(problem)
    expect(refused).toThrow('(in a file)')
  })

  test('a prototype is no model', () => {
    const hostile = JSON.parse('{"prices":{"__proto__":{"input":1,"output":1}}}')
    expect(settings(settingsLayer(hostile))).toEqual(defaultSettings)
    expect(({} as Record<string, unknown>)['input']).toBeUndefined()
  })

  test('a target that is not below the mark is refused, wherever the two come from', () => {
    expect(() => settings({ thresholds: { targetRatio: 0.7 } }, { thresholds: { summaryThreshold: 0.7 } })).toThrow(
      expect.objectContaining({
        code: 'settings_invalid',
        details: expect.objectContaining({ field: 'thresholds.targetRatio' }),
      }),
    )
  })

  test('property: anything is either settings or refused with a field', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(defaultSettings), 'x', 'constructor'), fc.anything()), (given) => {
        try {
          settings(settingsLayer(given))
        } catch (error) {
          expect(error).toMatchObject({ code: 'settings_invalid', details: { field: expect.any(String) } })
        }
      }),
    )
  })
})
