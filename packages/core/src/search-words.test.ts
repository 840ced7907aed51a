import fc from 'fast-check'
import { expect, test } from 'vitest'
import { searchTerms, searchWords } from './search-words.ts'

test('words are letters and digits in lower case; what is written together is found by its parts', () => {
  expect(searchWords('Fix src/due-date.ts: maxTokens = 8_000, Zürich!')).toEqual([
    'fix',
    'src',
    'due',
    'date',
    'ts',
    'maxtokens',
    'max',
    'tokens',
    '8',
    '000',
    'zürich',
  ])
  expect(searchWords('parseJSONText HTTP ΑΒΓ 東京都')).toEqual([
    'parsejsontext',
    'parse',
    'json',
    'text',
    'http',
    'αβγ',
    '東京都',
  ])
  expect(searchWords(`${'x'.repeat(65)} y`)).toEqual(['y'])
  expect(searchWords('a '.repeat(30_000))).toHaveLength(20_000)
})

test('a query has words, phrases and what is not wanted', () => {
  expect(searchTerms('port "due date" -redis the port')).toEqual({
    wanted: [['due', 'date'], ['port'], ['the']],
    unwanted: ['redis'],
  })
  expect(searchTerms('due-date')).toEqual({ wanted: [['due'], ['date']], unwanted: [] })
  expect(searchTerms('"" - ?!')).toEqual({ wanted: [], unwanted: [] })
})

test('of a long query the longest words are looked for, in their order', () => {
  const short = Array.from({ length: 40 }, (_, i) => `w${i}`)
  const { wanted } = searchTerms(`migration ${short.join(' ')} partition`)
  expect(wanted).toHaveLength(32)
  expect([wanted[0], wanted.at(-1)]).toEqual([['migration'], ['partition']])
})

test('property: any text is words, and any query terms, of letters and digits only', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const { wanted, unwanted } = searchTerms(text)
      for (const word of [...searchWords(text), ...wanted.flat(), ...unwanted]) expect(word).toMatch(/^[\p{L}\p{N}\p{M}]+$/u)
    }),
  )
})
