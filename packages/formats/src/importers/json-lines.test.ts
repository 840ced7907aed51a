import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readJsonLines, readText } from './json-lines.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const values = (text: string) => readJsonLines(text).records.map((record) => record.value)

describe('readText', () => {
  test('a byte order mark is not part of the text', () => {
    expect(readText('a.jsonl', bytes('\ufeff{}'))).toBe('{}')
    expect(readText('a.jsonl', '\ufeff{}')).toBe('{}')
  })

  test.each([
    ['gzip', Uint8Array.of(0x1f, 0x8b, 0x08, 0x00), 'gzip. Unpack it'],
    ['zstd', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x00), 'zstd. Unpack it'],
    ['a ZIP archive', Uint8Array.of(0x50, 0x4b, 0x03, 0x04, 0x14), 'a ZIP archive. Unpack it'],
    ['UTF-16', Uint8Array.of(0xff, 0xfe, 0x7b, 0x00), 'UTF-16. Write it as UTF-8'],
    ['UTF-16 of big ends', Uint8Array.of(0xfe, 0xff, 0x00, 0x7b), 'UTF-16. Write it as UTF-8'],
  ])('%s is refused with what to do', (_, content, problem) => {
    expect(() => readText('a.jsonl', content)).toThrow(
      expect.objectContaining({ details: { source: 'a.jsonl', line: 1, problem: expect.stringContaining(problem) } }),
    )
  })

  test.each([
    ['an empty file', bytes(''), 1],
    ['a file of white space', bytes(' \r\n\n'), 1],
    ['a file with a NUL byte', bytes('{}\n{"a":"\0"}'), 2],
    ['a file that is not UTF-8', Uint8Array.of(0x7b, 0x7d, 0x0a, 0x0a, 0xff, 0xfe), 3],
    ['a picture', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), 1],
  ])('%s is refused with its line', (_, content, line) => {
    expect(() => readText('a.jsonl', content)).toThrow(
      expect.objectContaining({ code: 'import_refused', details: expect.objectContaining({ source: 'a.jsonl', line }) }),
    )
  })
})

describe('readJsonLines', () => {
  test('objects that are glued together on a line are records of their own', () => {
    const { records, bad } = readJsonLines('{"a":1}{"b":"}{"} \t[3]\r\n\r\n{"c":4}')
    expect(records.map(({ line, ordinal, value }) => [line, ordinal, value])).toEqual([
      [1, 1, { a: 1 }],
      [1, 2, { b: '}{' }],
      [1, 3, [3]],
      [3, 1, { c: 4 }],
    ])
    expect(bad).toEqual([])
  })

  test('a value that is no object is a record too', () => {
    expect(values('1 "two" null\ntrue')).toEqual([1, 'two', null, true])
  })

  test('a bad line in the middle is told from a last line that is cut', () => {
    const { records, bad } = readJsonLines('{"a":1}\n{"b":\n{"c":3}nonsense\n{"d":"cut')
    expect(records.map((record) => record.value)).toEqual([{ a: 1 }, { c: 3 }])
    expect(bad).toEqual([
      { line: 2, ordinal: 1, text: '{"b":', problem: 'the JSON does not end', isTruncated: false },
      { line: 3, ordinal: 2, text: 'nonsense', problem: 'this is not JSON', isTruncated: false },
      { line: 4, ordinal: 1, text: '{"d":"cut', problem: 'the JSON does not end', isTruncated: true },
    ])
  })

  test.each(['{"a":1,}', '{a:1}', "{'a':1}", '[1 2]', '{"a":01}', '{"a":1]', ']', '{"a":NaN}', '{"a":"\t"}', '\u00a0{}'])(
    '%s is not JSON',
    (text) => {
      expect(readJsonLines(text)).toMatchObject({ records: [], bad: [{ line: 1 }] })
    },
  )

  test.each([
    ['an integer beyond 2^53', '9007199254740993', 'the number 9007199254740993'],
    ['an integer written as a fraction', '9007199254740993.0', 'the number 9007199254740993.0'],
    ['a number beyond all', '1e400', 'the number 1e400'],
    ['a number that would become zero', '1e-400', 'the number 1e-400'],
    ['minus zero', '-0', 'the number -0'],
    ['a key that stands twice', '{"x":1,"\\u0078":2}', 'the same key twice'],
    ['the key __proto__', '{"__proto__":{"polluted":true}}', 'the key __proto__'],
  ])('%s is kept as text, and said so with its path', (_, text, problem) => {
    const { records } = readJsonLines(`{"id":7,"a":[true, ${text} ],"b":2}`)
    expect(records[0]?.value).toEqual({ id: 7, a: { $text: `[true, ${text} ]` }, b: 2 })
    expect(records[0]?.problems).toEqual([expect.objectContaining({ member: 'a', problem })])
    expect(records[0]?.problems[0]?.path).toMatch(/^\$\.a\[1\]/)
  })

  test('a record whose own keys repeat is kept as text as a whole', () => {
    expect(values('{"a":1,"a":2}')).toEqual([{ $text: '{"a":1,"a":2}' }])
    expect(values('{"__proto__":1}')).toEqual([{ $text: '{"__proto__":1}' }])
  })

  test('what is nested too deep is kept as text before it is parsed', () => {
    const deep = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`
    expect(readJsonLines(deep(59)).records[0]?.problems).toEqual([])
    expect(readJsonLines(deep(60)).records[0]).toMatchObject({
      value: { a: { $text: `${'['.repeat(60)}${']'.repeat(60)}` } },
      problems: [{ problem: 'nested deeper than 60 levels' }],
    })
    expect(readJsonLines(deep(200_000)).records[0]?.problems).toHaveLength(1)
  })

  test('a list of more than 10,000 entries is kept as text', () => {
    const list = `[${Array.from({ length: 10_001 }, (_, i) => i).join(',')}]`
    expect(readJsonLines(`{"a":${list}}`).records[0]).toMatchObject({
      value: { a: { $text: list } },
      problems: [{ problem: 'more than 10000 entries' }],
    })
  })

  test('any JSON that the log can hold is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(fc.json({ maxDepth: 8 }), { minLength: 1, maxLength: 4 }), fc.boolean(), (texts, glued) => {
        const spaced = texts.map((text) => (glued && /^[[{"]/.test(text) ? text : ` ${text} `))
        const { records, bad } = readJsonLines(spaced.join(glued ? ' ' : '\n'))
        expect(bad).toEqual([])
        expect(records).toHaveLength(texts.length)
        const plain = records.map(({ value }, index) => ({ value, written: JSON.parse(texts[index] as string) as unknown }))
        const held = plain.filter((_, index) => records[index]?.problems.length === 0)
        expect(held.map(({ value }) => value)).toEqual(held.map(({ written }) => written))
      }),
    )
  })

  test('no text at all makes it throw, or pollutes a prototype', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      '\\',
      '\n',
      '-',
      '1',
      'e9',
      'null',
      '__proto__',
      '{"a":1}',
      ' ',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        readJsonLines(parts.join(''))
        expect(({} as Record<string, unknown>).polluted).toBeUndefined()
      }),
      { numRuns: 10_000 },
    )
  })
})
