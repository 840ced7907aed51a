import { ColloquyError } from './errors.ts'

/** What the log can hold: JSON, read-only. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

/** Limits that protect everyone; all configurable. */
export interface Limits {
  /** Nesting of arrays and objects. Beyond it parsers and validators overflow the stack (a 4 KB body can be 2,000 deep). */
  readonly depth: number
  /** Entries of one array or one object. */
  readonly keys: number
  /** UTF-8 bytes of one envelope's body. */
  readonly envelopeBytes: number
}

export const defaultLimits: Limits = { depth: 64, keys: 10_000, envelopeBytes: 1_048_576 }

/**
 * A deeply frozen copy of `value` that `JSON.stringify` writes without changing anything.
 *
 * @throws `json_invalid` for NaN, Infinity, -0, integers beyond 2^53 - 1, undefined, bigint, functions, symbols, class instances
 * (Date, Map), accessors, holes in arrays and the key `__proto__`; `json_too_deep`; `json_too_wide`. The path is named.
 */
export function ownJson(value: unknown, limits: Limits = defaultLimits, path = '$'): Json {
  return own(value, limits, path, 0)
}

function own(value: unknown, limits: Limits, path: string, depth: number): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return ownNumber(value, path)
    case 'object':
      break
    default:
      throw new ColloquyError('json_invalid', { path, found: describe(value) })
  }
  if (value === null) return null
  if (depth >= limits.depth) throw new ColloquyError('json_too_deep', { path, limitDepth: limits.depth })
  return Array.isArray(value) ? ownArray(value, limits, path, depth) : ownObject(value, limits, path, depth)
}

function ownNumber(value: number, path: string): number {
  // JSON.stringify would write null for NaN and Infinity, 0 for -0, and a neighbour for an integer beyond 2^53.
  if (!Number.isFinite(value)) throw new ColloquyError('json_invalid', { path, found: String(value) })
  if (Object.is(value, -0)) throw new ColloquyError('json_invalid', { path, found: '-0' })
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new ColloquyError('json_invalid', { path, found: `the integer ${value}, beyond 2^53 - 1` })
  }
  return value
}

function ownArray(value: readonly unknown[], limits: Limits, path: string, depth: number): Json {
  assertWidth(value.length, limits, path)
  const copy: Json[] = Array.from({ length: value.length })
  for (let i = 0; i < value.length; i++) {
    if (!(i in value)) throw new ColloquyError('json_invalid', { path: `${path}[${i}]`, found: 'a hole in an array' })
    copy[i] = own(value[i], limits, `${path}[${i}]`, depth + 1)
  }
  return Object.freeze(copy)
}

function ownObject(value: object, limits: Limits, path: string, depth: number): Json {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null)
    throw new ColloquyError('json_invalid', { path, found: describe(value) })
  const keys = Reflect.ownKeys(value)
  assertWidth(keys.length, limits, path)
  const copy: Record<string, Json> = {}
  for (const key of keys) {
    if (typeof key === 'symbol') throw new ColloquyError('json_invalid', { path, found: 'an object with a symbol as a key' })
    if (key === '__proto__') throw new ColloquyError('json_invalid', { path: `${path}.__proto__`, found: 'the key __proto__' })
    const property = Object.getOwnPropertyDescriptor(value, key)
    if (!property?.enumerable || !('value' in property)) {
      throw new ColloquyError('json_invalid', { path: `${path}.${key}`, found: 'an accessor or a hidden property' })
    }
    copy[key] = own(property.value, limits, `${path}.${key}`, depth + 1)
  }
  return Object.freeze(copy)
}

function assertWidth(entries: number, limits: Limits, path: string): void {
  if (entries > limits.keys) throw new ColloquyError('json_too_wide', { path, keys: entries, limitKeys: limits.keys })
}

function describe(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `a ${value.constructor?.name ?? 'class instance'}`
  return value === undefined ? 'undefined' : `a ${typeof value}`
}

/**
 * Nesting depth of JSON text, without parsing it: parsers and everything after them recurse, this does not.
 * Counts brackets outside of strings, so it is exact for valid JSON and an upper bound otherwise.
 */
export function jsonDepth(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (inString) {
      if (code === 0x5c /* \ */) i++
      else if (code === 0x22 /* " */) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x7b || code === 0x5b /* { [ */) deepest = Math.max(deepest, ++depth)
    else if (code === 0x7d || code === 0x5d /* } ] */) depth--
  }
  return deepest
}

/** Freezes plain objects and arrays all the way down; what is frozen already is taken as frozen all the way down. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const key in value) deepFreeze(value[key])
  return value
}
