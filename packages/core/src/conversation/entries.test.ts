import { describe, expect, test } from 'vitest'
import { given, stampedAt } from '../../../../test/support/core-log.ts'
import { startFold } from '../replay.ts'
import { conversationReducer } from './conversation.ts'
import { metadataChanged } from './metadata.ts'
import { preferencesChanged } from './preferences.ts'

describe.each([
  ['metadata', metadataChanged],
  ['preferences', preferencesChanged],
] as const)('%s', (slice, changed) => {
  test('given entries, when some are unset and set, the others stay; unset comes first', () => {
    const { state } = given(
      changed({ set: { a: 1, b: { deep: [true] }, c: 'x' } }),
      changed({ set: { a: 2, d: null }, unset: ['c', 'd', 'none'] }),
    )
    expect(state[slice]).toEqual({ a: 2, b: { deep: [true] }, d: null })
  })

  test('given nothing, when keys are named like what every object has, they are entries like others', () => {
    const set = { constructor: 1, toString: 'x', hasOwnProperty: null }
    expect(given(changed({ set }), changed({ unset: ['toString', '__proto__'] })).state[slice]).toEqual({
      constructor: 1,
      hasOwnProperty: null,
    })
  })

  test('a body written past us cannot put a prototype under the state', () => {
    const forged = stampedAt(1, { type: changed.type, payload: JSON.parse('{"set":{"__proto__":{"admin":true},"a":1}}') })
    const fold = startFold(conversationReducer)
    fold.apply(forged)
    const live = conversationReducer.reduce(conversationReducer.initial(), forged)
    for (const state of [fold.finish().state, live]) {
      expect(state[slice]).toEqual({ a: 1 })
      expect('admin' in state[slice]).toBe(false)
      expect(Object.getPrototypeOf(state[slice])).toBe(Object.prototype)
    }
    expect('admin' in {}).toBe(false)
  })

  test('more than 10,000 entries are refused at dispatch, counting what leaves and what was there', () => {
    const set = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`k${n}`, n]))
    const full = given(changed({ set }))
    expect(() => full.guard(changed({ set: { more: 1 } }))).toThrow(
      expect.objectContaining({ code: 'json_too_wide', details: { path: slice, keys: 10_001, limitKeys: 10_000 } }),
    )
    expect(() => full.guard(changed({ set: { k1: 'other' } }))).not.toThrow()
    expect(() => full.guard(changed({ set: { more: 1 }, unset: ['k1', 'k1'] }))).not.toThrow()
    expect(() => full.guard(changed({ set: { more: 1, k1: 1 }, unset: ['k1'] }))).toThrow(/10001 entries/)
    expect(Object.keys(full.when(changed({ set: { more: 1 } })).state[slice])).toHaveLength(10_001)
  })
})
