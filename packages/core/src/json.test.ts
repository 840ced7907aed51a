import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyValue } from '../../../test/support/core-arbitraries.ts'
import { deepFreeze, defaultLimits, jsonDepth, ownJson } from './json.ts'
import { parseJson } from './parse-json.ts'

/** `depth` arrays, one in the other. */
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
const refusal = (value: unknown, limits = defaultLimits): unknown => {
  try {
    ownJson(value, limits)
  } catch (error) {
    const { code, details } = error as { code: string; details: unknown }
    return { code, details }
  }
  return 'accepted'
}
const invalid = (path: string, found: string) => ({ code: 'json_invalid', details: { path, found } })

class Money {
  readonly amount = 1
}

describe('ownJson refuses what JSON would change, and names the path', () => {
  const hidden = Object.defineProperty({}, 'secret', { value: 1, enumerable: false })
  const getter = Object.defineProperty([1, 2], 1, { get: () => 2, enumerable: true })
  const match = /b/.exec('abc')

  test.each<[string, unknown, unknown]>([
    ['NaN', { a: [Number.NaN] }, invalid('$.a[0]', 'NaN')],
    ['Infinity', { a: Infinity }, invalid('$.a', 'Infinity')],
    ['-Infinity', [-Infinity], invalid('$[0]', '-Infinity')],
    ['negative zero', { a: { b: -0 } }, invalid('$.a.b', '-0')],
    ['2^53', { n: 2 ** 53 }, invalid('$.n', 'the integer 9007199254740992, beyond 2^53 - 1')],
    ['-2^53', { n: -(2 ** 53) }, invalid('$.n', 'the integer -9007199254740992, beyond 2^53 - 1')],
    ['a number as large as 1e300', { n: 1e300 }, invalid('$.n', 'the integer 1e+300, beyond 2^53 - 1')],
    ['a Date', { at: new Date(0) }, invalid('$.at', 'an instance of Date')],
    ['a Map', { m: new Map() }, invalid('$.m', 'an instance of Map')],
    ['a Set', { s: new Set() }, invalid('$.s', 'an instance of Set')],
    ['bytes', { b: new Uint8Array(2) }, invalid('$.b', 'an instance of Uint8Array')],
    ['an instance of a class', { m: new Money() }, invalid('$.m', 'an instance of Money')],
    ['an object that lies about its class', { m: Object.create({ constructor: 1 }) }, invalid('$.m', 'an instance of a class')],
    ['a BigInt', { n: 1n }, invalid('$.n', 'a bigint')],
    ['undefined in an object', { a: undefined }, invalid('$.a', 'undefined')],
    ['undefined in an array', [1, undefined], invalid('$[1]', 'undefined')],
    ['undefined alone', undefined, invalid('$', 'undefined')],
    ['a function', { f: () => 1 }, invalid('$.f', 'a function')],
    ['a symbol', { s: Symbol('s') }, invalid('$.s', 'a symbol')],
    ['a symbol as a key', { [Symbol('s')]: 1 }, invalid('$', 'an object with a symbol as a key')],
    ['an own key __proto__', JSON.parse('{"a":{"__proto__":{"x":1}}}'), invalid('$.a.__proto__', 'the key __proto__')],
    [
      'a getter',
      {
        get price() {
          return 1
        },
      },
      invalid('$.price', 'an accessor or a hidden property'),
    ],
    ['a hidden property', { h: hidden }, invalid('$.h.secret', 'an accessor or a hidden property')],
    ['a getter in an array', getter, invalid('$[1]', 'an accessor')],
    ['a hole in an array', [1, , 3], invalid('$[1]', 'a hole in an array')], // oxlint-disable-line no-sparse-arrays
    ['an array with names', { match }, invalid('$.match', 'an array with named properties')],
  ])('%s', (_, value, expected) => {
    expect(refusal(value)).toEqual(expected)
  })

  test('65 levels, not 64', () => {
    expect(refusal(nested(64))).toBe('accepted')
    expect(refusal(nested(65))).toEqual({ code: 'json_too_deep', details: { path: `$${'[0]'.repeat(64)}`, limitDepth: 64 } })
  })

  test('a cycle, as too deep', () => {
    const cycle: Record<string, unknown> = {}
    cycle.self = { again: cycle }
    expect(refusal(cycle)).toMatchObject({ code: 'json_too_deep' })
  })

  test('10,001 entries, not 10,000', () => {
    const entries = (n: number) => Array.from({ length: n }, (_, index) => [`k${index}`, index] as const)
    expect(refusal({ a: Object.fromEntries(entries(10_000)) })).toBe('accepted')
    expect(refusal({ list: Array.from({ length: 10_000 }, () => 0) })).toBe('accepted')
    const details = { path: '$.a', keys: 10_001, limitKeys: 10_000 }
    expect(refusal({ a: Object.fromEntries(entries(10_001)) })).toEqual({ code: 'json_too_wide', details })
    expect(refusal({ a: Array.from({ length: 10_001 }, () => 0) })).toEqual({ code: 'json_too_wide', details })
  })

  test('an object that is small in memory and endless as JSON', () => {
    let value: unknown = 0
    for (let i = 0; i < 50; i++) value = [value, value]
    const limitKeys = 1000
    expect(refusal(value, { ...defaultLimits, envelopeBytes: limitKeys })).toEqual({
      code: 'json_too_wide',
      details: { path: '$', keys: 1001, limitKeys },
    })
  })

  test('by other limits when they are given', () => {
    expect(refusal(nested(3), { ...defaultLimits, depth: 2 })).toMatchObject({ code: 'json_too_deep' })
    expect(refusal([1, 2, 3], { ...defaultLimits, keys: 2 })).toMatchObject({ code: 'json_too_wide' })
    expect(refusal(nested(100), { ...defaultLimits, depth: 100 })).toBe('accepted')
  })
})

describe('ownJson gives a copy', () => {
  test('equal to what came in, written alike by JSON.stringify, and frozen all the way down', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const owned = ownJson(value)
        expect(owned).toEqual(value)
        expect(JSON.stringify(owned)).toBe(JSON.stringify(value))
        expect(parseJson(JSON.stringify(owned))).toEqual(owned)
        expect(isDeeplyFrozen(owned)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('that later changes of the original do not reach, not even under an object that was frozen at the top only', () => {
    const original = { list: [{ n: 1 }], frozen: Object.freeze({ inner: { n: 1 } }) }
    const owned = ownJson(original)
    original.list[0] = { n: 2 }
    original.frozen.inner.n = 2
    expect(owned).toEqual({ list: [{ n: 1 }], frozen: { inner: { n: 1 } } })
    expect(isDeeplyFrozen(owned)).toBe(true)
  })

  test('with the usual prototype, whatever the keys are called', () => {
    const owned = ownJson(Object.assign(Object.create(null), { constructor: 1, toString: 'x', hasOwnProperty: null }))
    expect(Object.getPrototypeOf(owned)).toBe(Object.prototype)
    expect(owned).toEqual({ constructor: 1, toString: 'x', hasOwnProperty: null })
  })
})

describe('jsonDepth', () => {
  test('counts the levels of any JSON without parsing it', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(jsonDepth(JSON.stringify(value))).toBe(depthOf(value))
      }),
    )
  })

  test('does not count brackets in strings, and survives a depth that a parser does not', () => {
    expect(jsonDepth('{"a":"[[[\\"{{","b":[1]}')).toBe(2)
    expect(jsonDepth('['.repeat(1_000_000))).toBe(1_000_000)
  })
})

describe('deepFreeze', () => {
  test('freezes objects and arrays in place, and takes what is frozen as frozen all the way down', () => {
    const inner = { n: 1 }
    const value = { list: [{ n: 1 }], taken: Object.freeze({ inner }) }
    expect(deepFreeze(value)).toBe(value)
    expect(isDeeplyFrozen(value.list)).toBe(true)
    expect(Object.isFrozen(inner)).toBe(false)
  })
})

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen)
}
