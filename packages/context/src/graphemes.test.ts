import { expect, test } from 'vitest'
import { firstCharacter, headOf, tailOf } from './graphemes.ts'

test.each([
  ['as it is where it is short enough', 'abc', 3, 'abc', 'abc'],
  ['nothing of nothing', 'abc', 0, '', ''],
  ['between letters', 'abcdef', 2, 'ab', 'ef'],
  ['before a family and behind it', '👩‍👧x👩‍👧', 4, '', ''],
  ['with its accent', 'e\u0301e\u0301', 3, 'e\u0301', 'e\u0301'],
  ['with whole flags', '🇩🇪🇫🇷', 5, '🇩🇪', '🇫🇷'],
  ['never between surrogates', '😀😀😀', 3, '😀', '😀'],
])('a text is cut %s', (_, text, longest, head, tail) => {
  expect(headOf(text, longest)).toBe(head)
  expect(tailOf(text, longest)).toBe(tail)
})

test.each([
  ['', ''],
  ['abc', 'a'],
  ['👩‍👧x', '👩‍👧'],
  ['e\u0301e', 'e\u0301'],
  // Nobody reads that: what is cut off is well-formed all the same.
  [`${'👩‍'.repeat(100)}👩`, '👩‍'.repeat(21)],
])('the first character of %j', (text, first) => {
  expect(firstCharacter(text)).toBe(first)
})

test('a long text is looked at where it is cut, and nowhere else', () => {
  const text = '👩‍👧'.repeat(200_000)
  expect(headOf(text, 500_001)).toHaveLength(500_000)
  expect(tailOf(text, 500_001)).toHaveLength(500_000)
})
