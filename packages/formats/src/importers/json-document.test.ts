import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readJsonDocument } from './json-document.ts'

test('a file is one value, however many lines it takes', () => {
  expect(readJsonDocument(' {\n "a": [1,\n {"b": "c"}]\n}\n')).toEqual({ value: { a: [1, { b: 'c' }] }, problems: [] })
})

test.each(['{"a":1}\n{"a":2}', '{"a":1', '"text"', '1', '[1 2]', '', 'Lorem'])('%j is not one object or list', (text) => {
  expect(readJsonDocument(text)).toBeUndefined()
})

test.each([
  ['an integer beyond 2^53', '12345678901234567890', 'the number 12345678901234567890'],
  ['minus zero', '-0', 'the number -0'],
  ['a key that stands twice', '{"x":1,"\\u0078":2}', 'the same key twice'],
  ['the key __proto__', '{"__proto__":{"polluted":true}}', 'the key __proto__'],
])('%s is kept as text where it stands, and nothing else is touched', (_, text, problem) => {
  expect(readJsonDocument(`[{"id":7,"list":[true, ${text}],"other":{"deep":[1]}}]`)).toEqual({
    value: [{ id: 7, list: [true, { $text: text }], other: { deep: [1] } }],
    problems: [{ path: '$[0].list[1]', problem }],
  })
})

test('what is nested too deep is kept as text from there on', () => {
  const deep = `${'['.repeat(100)}1${']'.repeat(100)}`
  const { value, problems } = readJsonDocument(`{"a":${deep},"b":2}`) ?? {}
  expect(problems).toMatchObject([{ problem: 'nested deeper than 58 levels' }])
  let inner = (value as { a: unknown; b: number }).a
  for (let level = 0; level < 57; level++) inner = (inner as unknown[])[0]
  expect(inner).toEqual({ $text: `${'['.repeat(43)}1${']'.repeat(43)}` })
  expect(value).toMatchObject({ b: 2 })
})

test('a list may be longer than an object of the log: its elements are what is stored', () => {
  const list = `[${'1,'.repeat(20_000)}1]`
  expect(readJsonDocument(list)?.problems).toEqual([])
})

test('any JSON comes out as JSON.parse reads it, when the log can hold it', () => {
  const value = fc.oneof(fc.array(fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue()))
  fc.assert(
    fc.property(value, fc.boolean(), (value, hasProblem) => {
      const text = `[${JSON.stringify(value, null, 1)}${hasProblem ? ', 12345678901234567890' : ''}]`
      const read = readJsonDocument(text)
      const written = JSON.parse(text) as unknown[]
      const isHeld = read?.problems.every(({ path }) => path === '$[1]') === true
      expect(isHeld ? (read.value as unknown[])[0] : written[0]).toEqual(written[0])
      expect(read?.problems.some(({ path }) => path === '$[1]')).toBe(hasProblem)
    }),
  )
})
