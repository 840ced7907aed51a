import { ColloquyError } from './errors.ts'

/** What the log can hold: JSON, read-only. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
/** A JSON object, read-only. */
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

/** 1 MiB an envelope, 64 levels, 10,000 entries. */
export const defaultLimits: Limits = { depth: 64, keys: 10_000, envelopeBytes: 1_048_576 }

/**
 * A deeply frozen copy of `value` that `JSON.stringify` writes without changing anything. `level` is how many levels will be around it.
 *
 * @throws `json_invalid` for NaN, Infinity, -0, integers beyond 2^53 - 1, undefined, bigint, functions, symbols, class instances
 * (Date, Map), accessors, hidden properties, holes and names in arrays, and the key `__proto__`; `json_too_deep` (also for a
 * cycle); `json_too_wide`. The path is named.
 */
export function ownJson(value: unknown, limits: Limits = defaultLimits, path = '$', level = 0): Json {
  return own(value, { limits, root: path, level, steps: [], values: 0 })
}

interface Walk {
  readonly limits: Limits
  readonly root: string
  /** How many levels are around the root. */
  readonly level: number
  /** Keys and indices from the root to the value: a text is made of them only for an error. */
  readonly steps: (string | number)[]
  /** Values seen so far. */
  values: number
}

const pathOf = ({ root, steps }: Walk): string =>
  root + steps.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')

function own(value: unknown, walk: Walk): Json {
  const { limits, root, level, steps } = walk
  // Each value takes a byte at least. Without this, 30 arrays that each hold the next one twice are a billion values.
  if (++walk.values > limits.envelopeBytes) {
    throw new ColloquyError('json_too_wide', { path: root, keys: walk.values, limitKeys: limits.envelopeBytes })
  }
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return ownNumber(value, walk)
    case 'object':
      break
    default:
      throw new ColloquyError('json_invalid', { path: pathOf(walk), found: describe(value) })
  }
  if (value === null) return null
  if (level + steps.length >= limits.depth)
    throw new ColloquyError('json_too_deep', { path: pathOf(walk), limitDepth: limits.depth })
  return Array.isArray(value) ? ownArray(value, walk) : ownObject(value, walk)
}

function ownNumber(value: number, walk: Walk): number {
  // JSON.stringify would write null for NaN and Infinity, 0 for -0, and a neighbour for an integer beyond 2^53.
  if (Number.isSafeInteger(value) ? !Object.is(value, -0) : Number.isFinite(value) && !Number.isInteger(value)) return value
  const found =
    Number.isInteger(value) && value !== 0 ? `the integer ${value}, beyond 2^53 - 1` : Object.is(value, -0) ? '-0' : String(value)
  throw new ColloquyError('json_invalid', { path: pathOf(walk), found })
}

function ownArray(value: readonly unknown[], walk: Walk): Json {
  assertWidth(value.length, walk)
  const { steps } = walk
  const copy: Json[] = []
  for (let i = 0; i < value.length; i++) {
    steps.push(i)
    const property = Object.getOwnPropertyDescriptor(value, i)
    if (property === undefined) throw new ColloquyError('json_invalid', { path: pathOf(walk), found: 'a hole in an array' })
    if (!('value' in property)) throw new ColloquyError('json_invalid', { path: pathOf(walk), found: 'an accessor' })
    copy.push(own(property.value, walk))
    steps.pop()
  }
  // The indices and `length`; what else an array carries (a match has `index`, a tagged template `raw`) would be lost.
  if (Object.getOwnPropertyNames(value).length > value.length + 1 || Object.getOwnPropertySymbols(value).length > 0) {
    throw new ColloquyError('json_invalid', { path: pathOf(walk), found: 'an array with named properties' })
  }
  return Object.freeze(copy)
}

function ownObject(value: object, walk: Walk): Json {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null)
    throw new ColloquyError('json_invalid', { path: pathOf(walk), found: describe(value) })
  // Two lists, because `Reflect.ownKeys`, which has both, takes ten times as long (Node 24.21).
  const keys = Object.getOwnPropertyNames(value)
  assertWidth(keys.length, walk)
  if (Object.getOwnPropertySymbols(value).length > 0)
    throw new ColloquyError('json_invalid', { path: pathOf(walk), found: 'an object with a symbol as a key' })
  const { steps } = walk
  const copy: Record<string, Json> = {}
  for (const key of keys) {
    steps.push(key)
    if (key === '__proto__') throw new ColloquyError('json_invalid', { path: pathOf(walk), found: 'the key __proto__' })
    const property = Object.getOwnPropertyDescriptor(value, key)
    if (!property?.enumerable || !('value' in property)) {
      throw new ColloquyError('json_invalid', { path: pathOf(walk), found: 'an accessor or a hidden property' })
    }
    copy[key] = own(property.value, walk)
    steps.pop()
  }
  return Object.freeze(copy)
}

function assertWidth(entries: number, walk: Walk): void {
  const { limits } = walk
  if (entries > limits.keys)
    throw new ColloquyError('json_too_wide', { path: pathOf(walk), keys: entries, limitKeys: limits.keys })
}

export function describe(value: unknown): string {
  if (value === undefined) return 'undefined'
  if (typeof value !== 'object' || value === null) return `a ${typeof value}`
  const prototype = Object.getPrototypeOf(value) as { readonly constructor?: unknown } | null
  const name = typeof prototype?.constructor === 'function' ? prototype.constructor.name : ''
  return `an instance of ${name === '' ? 'a class' : name}`
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
