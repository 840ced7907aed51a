import type { Json, Part } from '@colloquy/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { storable, withoutWords, withWords, wordsOf } from './without-words.ts'

const long = 'a text that is long enough to be worth a pointer'
const message = (...texts: readonly string[]) => ({ parts: texts.map((text): Part => ({ type: 'text', text })) })

test('a text that stands in the message is named by its place there, and stays when it is short', () => {
  const said = message('short', long)
  const kept = withoutWords({ role: 'user', content: [long, 'short'], extra: { again: long } }, wordsOf(said))
  expect(kept).toEqual({
    role: 'user',
    content: [{ $message: '/parts/1/text' }, 'short'],
    extra: { again: { $message: '/parts/1/text' } },
  })
})

test('keys with slashes and tildes can be pointed into', () => {
  const said: { parts: Part[] } = { parts: [{ type: 'custom', kind: 'x', payload: { 'a/b~c': long } }] }
  const kept = withoutWords({ record: long }, wordsOf(said))
  expect(kept).toEqual({ record: { $message: '/parts/0/payload/a~1b~0c' } })
  expect(withWords(kept, said)).toEqual({ record: long })
})

test('a record that has such pointers itself is kept as text, so that none is mistaken for ours', () => {
  const record = { $message: '/parts/0/text', words: long }
  expect(withoutWords(record, wordsOf(message(long)))).toEqual({ $text: JSON.stringify(record) })
})

test('what is wider than the log takes becomes text', () => {
  const wide = Array.from({ length: 10_001 }, (_, index) => index)
  expect(storable({ a: [wide, 1] })).toEqual({ a: [{ $text: JSON.stringify(wide) }, 1] })
})

test('with the message, the record is what it was', () => {
  const texts = fc.array(fc.string({ minLength: 30, maxLength: 60 }), { maxLength: 4 })
  fc.assert(
    fc.property(texts, fc.jsonValue(), (words, rest) => {
      const record = { words, rest: rest as Json, nested: { again: words.toReversed() } }
      const said = message(...words)
      const kept = withoutWords(record, wordsOf(said))
      if ('$text' in (kept as object)) return
      expect(withWords(kept, said)).toEqual(record)
      const repeated = words.filter((text) => text.length >= 40 && JSON.stringify(kept).includes(JSON.stringify(text)))
      expect(repeated).toEqual([])
    }),
  )
})
