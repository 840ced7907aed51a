import { expect, test } from 'vitest'
import { problemText } from './problem-text.ts'

test.each([
  ['a message', new Error('no such account'), 'no such account'],
  ['NUL, which Postgres refuses', new Error('unexpected "\0" in JSON\0'), 'unexpected "\uFFFD" in JSON\uFFFD'],
  ['no message', new TypeError(), 'TypeError'],
  ['what is no error', 'a text', 'a text'],
  ['nothing', undefined, 'undefined'],
  ['what cannot be a text', Object.create(null), 'object'],
  ['a message that is none', Object.assign(new Error('x'), { message: { code: 1 } }), 'object'],
  ['several errors', new AggregateError([new Error('a'), new Error('b')]), 'a; b'],
])('a problem is told as a text that can be kept: %s', (_what, error, text) => {
  expect(problemText(error)).toBe(text)
})

test('a long one is cut', () => {
  expect(problemText(new Error('x'.repeat(1_000_000)))).toBe(`${'x'.repeat(2_000)}…`)
})
