import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalText, jsonText, parseFrozen } from './json.ts'

/** The same value with the fields of every object the other way round. */
function turned(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(turned)
  const result = Object.create(null) as Record<string, unknown>
  for (const [name, field] of Object.entries(value).toReversed()) result[name] = turned(field)
  return result
}

test('the canonical text is one for equal values, whatever the order of their fields', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalText(value)
      expect(canonicalText(turned(value))).toBe(text)
      expect(canonicalText(JSON.parse(text))).toBe(text)
    }),
    { examples: [[{ b: 1, a: 2, 10: 3, 9: 4 }], [JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}')]] },
  )
})

test('different values have different canonical texts', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
      const isEqual = jsonText(turned(turned(one))) === jsonText(turned(turned(other)))
      if (canonicalText(one) === canonicalText(other)) expect(canonicalText(turned(one))).toBe(canonicalText(turned(other)))
      else expect(isEqual).toBe(false)
    }),
  )
  expect(new Set([{ a: 1 }, { a: '1' }, [1], [[1]], ['a', 1], { a: [1] }, null, 'null', '', []].map(canonicalText)).size).toBe(10)
})

test('JSON text is what JSON.stringify makes, and comes back equal and frozen', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(jsonText(value)).toBe(JSON.stringify(value))
      expect(parseFrozen(jsonText(value))).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
  expect(Object.isFrozen((parseFrozen('{"a":[{"b":1}]}') as { a: { b: number }[] }).a[0])).toBe(true)
})

const circle: { self?: unknown } = {}
circle.self = [circle]

test.each([
  [{ a: [1, undefined] }, '$.a[1]'],
  [Object.assign([1], { 2: 2 }), '$[1]'],
  [{ at: new Date(0) }, '$.at'],
  [{ a: { toJSON: () => 1 } }, '$.a'],
  [circle, '$.self[0]'],
  [{ a: Number.NaN }, '$.a'],
  [{ a: 1n }, '$.a'],
])('what JSON would change is refused, and the place named: %o', (value, path) => {
  expect(() => jsonText(value)).toThrow(
    expect.objectContaining({ code: 'value_invalid', details: expect.objectContaining({ path }) }),
  )
  expect(() => canonicalText(value)).toThrow(expect.objectContaining({ code: 'value_invalid' }))
})

test('one object in two places is no circle', () => {
  const shared = { a: 1 }
  expect(jsonText([shared, shared])).toBe('[{"a":1},{"a":1}]')
})
