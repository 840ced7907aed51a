import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { anyValue } from '../../../test/support/core-arbitraries.ts'
import { envelopesOf } from '../../../test/support/core-log.ts'
import { metadataChanged } from './conversation/metadata.ts'
import { openEnvelope, type StoredEnvelope } from './envelope.ts'
import { parseJson } from './parse-json.ts'
import { decodeState, encodeState } from './snapshot.ts'

/** What makes V8 take another key for the key `\`, or `b\`, behind a key `h`. */
function poison(): void {
  JSON.parse('{"h":[],"\\\\":0}')
  JSON.parse('{"h":[],"b\\\\":0}')
}
const awkward = ['\n', '\0', '"', '\ud800', 'b\t', 'b\\c', '\\', '\\\\', '__proto__']

describe('parseJson', () => {
  test.each(awkward)('reads the key %j although the process has read a key with a backslash', (key) => {
    poison()
    const text = `{"h":1,${JSON.stringify(key)}:2}`
    expect(Object.entries(parseJson(text) as object)).toEqual([
      ['h', 1],
      [key, 2],
    ])
  })

  test('reads any JSON as what it was written from, also with white space', () => {
    fc.assert(
      fc.property(anyValue, anyValue, fc.constantFrom(undefined, 1, '\t'), (value, other, space) => {
        poison()
        const both = { h: value, '\n': other, list: [value, '\\', { 'b\\': other }] }
        const text = JSON.stringify(both, null, space)
        expect(parseJson(text)).toEqual(both)
        expect(JSON.stringify(parseJson(text), null, space)).toBe(text)
      }),
      { numRuns: 300 },
    )
  })

  test('keeps the last of two equal keys, in the place of the first', () => {
    expect(JSON.stringify(parseJson('{"\\n":1,"a":2,"\\n":{"x":[ ]}}'))).toBe('{"\\n":{"x":[]},"a":2}')
  })

  test.each(['', '{"\\n":1', '{"\\n":1}}', '{"\\n" 1}', '{"\\n":01}', '{"\\x":1}', '{"\\n":1,}', '{\\n:1}'])(
    'refuses %j',
    (text) => {
      expect(() => parseJson(text)).toThrow(SyntaxError)
    },
  )

  test('takes a long string as it takes a short one', () => {
    const value = { '\n': '\\"x,"'.repeat(200_000) }
    expect(parseJson(JSON.stringify(value))).toEqual(value)
  })
})

describe('a body and a snapshot', () => {
  test.each(awkward.filter((key) => key !== '__proto__'))(
    'with the key %j read as they were written, whatever was read before',
    (key) => {
      const [stored] = envelopesOf([metadataChanged({ set: { h: 1, [key]: 2 } })])
      const bytes = encodeState({ metadata: { h: 1, [key]: 2 } })
      poison()
      expect(openEnvelope(stored as StoredEnvelope).action.payload).toEqual({ set: { h: 1, [key]: 2 } })
      expect(decodeState(bytes)).toEqual({ metadata: { h: 1, [key]: 2 } })
    },
  )
})

test('values with escapes are not taken for keys with escapes, which would be read slowly', () => {
  const parse = vi.spyOn(JSON, 'parse')
  const text = JSON.stringify({ text: 'line\n"quoted": \\ {"a": "b\\n"}, ', list: ['a\n', ':', '\\'], next: '\t', n: 1 })
  parseJson(text)
  expect(parse).toHaveBeenCalledTimes(1)
  parse.mockRestore()
})
