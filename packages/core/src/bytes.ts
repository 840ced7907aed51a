/** Length-prefixed binary fields: no two lists of values are written as the same bytes. */
import { toUtf8 } from './utf8.ts'

export function u8(value: number): Uint8Array {
  return Uint8Array.of(value)
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

/** A safe integer as eight bytes, two's complement. */
export function i64(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, Math.floor(value / 2 ** 32))
  view.setUint32(4, value >>> 0)
  return bytes
}

/** Tenants, conversations, types and causes come thousands of times in a row. */
const recentTexts = new Map<string, readonly Uint8Array[]>()
const recentTextsLimit = 256

/** `value` must be well-formed: half of a surrogate pair would be written like U+FFFD. */
export function text(value: string): readonly Uint8Array[] {
  const known = recentTexts.get(value)
  if (known !== undefined) return known
  const bytes = toUtf8(value)
  const parts = [u32(bytes.length), bytes]
  if (recentTexts.size >= recentTextsLimit) recentTexts.clear()
  recentTexts.set(value, parts)
  return parts
}

/** Nothing is another byte than something, so an absent value is not an empty one. */
export function optional(value: string | null): readonly Uint8Array[] {
  return value === null ? [u8(0)] : [u8(1), ...text(value)]
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}
