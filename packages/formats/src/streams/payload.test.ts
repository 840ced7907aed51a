import { expect, test } from 'vitest'
import { parseExactly, readPayloads } from './payload.ts'

test('an event usually holds one value', () => {
  expect(readPayloads(' {"a":[1]} ')).toEqual([{ type: 'json', value: { a: [1] } }])
})

test('values that follow each other are all read, up to what is none', () => {
  expect(readPayloads('{"a":1}{"b":2}\n[DONE]\n{"c":')).toEqual([
    { type: 'json', value: { a: 1 } },
    { type: 'json', value: { b: 2 } },
    { type: 'done' },
    { type: 'unreadable', text: '{"c":', problem: 'the JSON does not end' },
  ])
})

test('what is no JSON is kept as text', () => {
  expect(readPayloads('{nope}')).toEqual([{ type: 'unreadable', text: '{nope}', problem: 'this is not JSON' }])
})

test('a number that JavaScript would read as another one is kept as text, and only that', () => {
  const text = '{"id":12345678901234567890,"logprob":-0.0,"n":[1.5,1e400]}'
  expect(readPayloads(text)).toEqual([
    { type: 'json', value: { id: { $text: '12345678901234567890' }, logprob: { $text: '-0.0' }, n: [1.5, { $text: '1e400' }] } },
  ])
})

test('a key that comes twice, or that would change a prototype, makes the value unreadable', () => {
  expect(readPayloads('{"a":1,"a":2}')).toMatchObject([{ type: 'unreadable', problem: 'the same key twice at $.a' }])
  expect(readPayloads('{"a":{"__proto__":{}}}')).toMatchObject([
    { type: 'unreadable', problem: 'the key __proto__ at $.a.__proto__' },
  ])
})

test('JSON that is too deep to be stored inside of a message is unreadable, without overflowing the stack', () => {
  expect(readPayloads('['.repeat(100_000) + ']'.repeat(100_000))).toMatchObject([{ type: 'unreadable' }])
  const deep = (levels: number) => `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`
  expect(readPayloads(deep(52))).toMatchObject([{ type: 'json' }])
  expect(readPayloads(deep(53))).toMatchObject([{ type: 'unreadable' }])
})

test('a text is parsed exactly or not at all', () => {
  expect(parseExactly('{"a":1}')).toEqual({ a: 1 })
  for (const text of ['', '{"a":', '{"a":1}x', '{"a":1,"a":2}', '12345678901234567890', 'nope']) {
    expect(parseExactly(text)).toBeUndefined()
  }
})
