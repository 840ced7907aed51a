import type { Json } from '@colloquy/core'
import { parseExactly } from '@colloquy/formats'

/**
 * What JSON keeps of a value: without undefined, dates as text, a bigint as its digits. A value that the log could not hold as it is (an
 * integer beyond 2^53, a key twice, too deep) is its text, as `formats` writes it.
 */
export function jsonOf(value: unknown): Json {
  const text = JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)) ?? 'null'
  return parseExactly(text) ?? { $text: text }
}
