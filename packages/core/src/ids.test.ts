import { describe, expect, test } from 'vitest'
import { assertConversationId, assertId, rootIdOf } from './ids.ts'

const refused = (kind: string, problem: string) => expect.objectContaining({ code: 'id_invalid', details: { kind, problem } })

describe('an id', () => {
  test.each(['a', 'x'.repeat(200), 'Zoë 😀', 'a/b?c=d', '  '])('may be %j', (id) => {
    expect(() => assertId('tenant', id)).not.toThrow()
    expect(() => assertConversationId(id)).not.toThrow()
  })

  test.each<[unknown, string]>([
    ['', 'it has 0 characters, not 1 to 200'],
    ['x'.repeat(201), 'it has 201 characters, not 1 to 200'],
    [7, 'it is a number, not a string'],
    [undefined, 'it is a undefined, not a string'],
    ['a\0b', 'it holds the control character U+0000'],
    ['a\n', 'it holds the control character U+000a'],
    ['\u007f', 'it holds the control character U+007f'],
    ['\ud800', 'it holds half of a surrogate pair'],
  ])('may not be %j', (id, problem) => {
    expect(() => assertId('tenant', id)).toThrow(refused('tenant', problem))
    expect(() => assertConversationId(id)).toThrow(refused('conversation id', problem))
  })

  test('of a conversation may not look like that of a fork or of a stream of ours', () => {
    expect(() => assertConversationId('a~b')).toThrow(refused('conversation id', '"~" is kept for the ids of forks'))
    expect(() => assertConversationId('colloquy:ledger')).toThrow(
      refused('conversation id', 'the prefix "colloquy:" is kept for Colloquy\'s own streams'),
    )
    expect(() => assertId('tenant', 'colloquy:a~b')).not.toThrow()
  })
})

test('a fork knows the root it came out of', () => {
  expect(rootIdOf('c1')).toBe('c1')
  expect(rootIdOf('c1~f1')).toBe('c1')
  expect(rootIdOf('c1~f1~f2')).toBe('c1')
})
