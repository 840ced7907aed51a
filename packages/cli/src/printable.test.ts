import { describe, expect, test } from 'vitest'
import { cutTo, displayWidth, printable, printableJson, printableLines } from './printable.ts'

describe('what was stored reaches a terminal harmless', () => {
  test.each([
    ['a colour', '\u001b[31mred\u001b[0m', '\\e[31mred\\e[0m'],
    ['a window title', '\u001b]0;owned\u0007', '\\e]0;owned\\u0007'],
    ['an 8-bit sequence', '\u009b2J', '\\u009b2J'],
    ['a return to the begin of the line', 'safe\rEVIL', 'safe\\rEVIL'],
    ['text that runs backwards', 'a\u202eb\u2066c', 'a\\u202eb\\u2066c'],
    ['line separators', 'a\u2028b\u0085c', 'a\\u2028b\\u0085c'],
    ['half a surrogate pair', 'a\ud800b', 'a\\ud800b'],
    ['NUL and DEL', '\u0000\u007f', '\\u0000\\u007f'],
  ])('%s is shown, not obeyed', (_, text, shown) => {
    expect(printable(text)).toBe(shown)
    expect(printableLines(text)).toBe(shown)
  })

  test('letters of all scripts and emoji stay as they are', () => {
    const text = 'Grüße, 你好, привет, 👩‍🚀 — ok'
    expect(printable(text)).toBe(text)
  })

  test('only printableLines keeps lines', () => {
    expect(printable('a\nb\tc')).toBe('a\\nb\\tc')
    expect(printableLines('a\nb')).toBe('a\nb')
  })

  test('JSON keeps its value', () => {
    const value = { text: 'x\u009b2J\u202e\u007f\u001b[0m 你好' }
    const json = printableJson(JSON.stringify(value))
    expect(JSON.parse(json)).toEqual(value)
    expect(json).toBe('{"text":"x\\u009b2J\\u202e\\u007f\\u001b[0m 你好"}')
  })
})

test('text is cut between letters, by the columns that it takes', () => {
  expect(displayWidth('abc')).toBe(3)
  expect(displayWidth('你好')).toBe(4)
  expect(cutTo('abcdef', 6)).toBe('abcdef')
  expect(cutTo('abcdef', 4)).toBe('abc…')
  expect(cutTo('你好你好', 5)).toBe('你好…')
  expect(displayWidth(cutTo('👩‍🚀'.repeat(10), 7))).toBeLessThanOrEqual(7)
})
