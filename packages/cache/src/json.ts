import { CacheError } from './cache-error.ts'

/** A value that JSON holds as it is. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/**
 * As `JSON.stringify`, but refuses what that would change. An `undefined` field counts as absent.
 * @throws `value_invalid` for NaN, Date, Map, BigInt, undefined in a list, a circle
 */
export function jsonText(value: unknown): string {
  check(value, '$', undefined)
  return JSON.stringify(value)
}

/**
 * The one JSON text of a value: keys sorted, nothing left out, so that equal values have equal texts and different ones different texts.
 * @throws `value_invalid` as `jsonText`
 */
export function canonicalText(value: unknown): string {
  check(value, '$', undefined)
  return JSON.stringify(value, (_, field: unknown) => (isFields(field) ? sorted(field) : field))
}

/** As `JSON.parse`, frozen whole: what a cache gives out belongs to everybody. */
export function parseFrozen(text: string): Json {
  const value = JSON.parse(text) as Json
  freeze(value)
  return value
}

function freeze(value: Json): void {
  if (typeof value !== 'object' || value === null) return
  for (const field of Object.values(value)) freeze(field)
  Object.freeze(value)
}

/** The objects that a value is in, innermost first. */
interface Above {
  readonly object: object
  readonly above: Above | undefined
}

function check(value: unknown, path: string, above: Above | undefined): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return
    case 'number':
      // -0 is written as 0: to a provider it is the same.
      if (!Number.isFinite(value)) throw new CacheError('value_invalid', { path, found: String(value) })
      return
    case 'object':
      if (value !== null) checkObject(value, path, above)
      return
    default:
      throw new CacheError('value_invalid', { path, found: `of type ${typeof value}` })
  }
}

function checkObject(object: object, path: string, above: Above | undefined): void {
  for (let one = above; one; one = one.above) {
    if (one.object === object) throw new CacheError('value_invalid', { path, found: 'an object that contains itself' })
  }
  const within = { object, above }
  if (Array.isArray(object)) {
    // By index: a hole is undefined.
    for (let i = 0; i < object.length; i++) check(object[i], `${path}[${i}]`, within)
    return
  }
  const proto: unknown = Object.getPrototypeOf(object)
  if ((proto !== Object.prototype && proto !== null) || typeof (object as { toJSON?: unknown }).toJSON === 'function') {
    throw new CacheError('value_invalid', { path, found: `an instance of ${object.constructor?.name ?? 'something'}` })
  }
  for (const [name, field] of Object.entries(object)) if (field !== undefined) check(field, `${path}.${name}`, within)
}

const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Names that are integers come first in any object; the others in the order of their code units. It is one order in any case. */
function sorted(fields: Record<string, unknown>): Record<string, unknown> {
  const names = Object.keys(fields).sort()
  // Without a prototype, so that `__proto__` is a name like any other.
  const ordered = Object.create(null) as Record<string, unknown>
  for (const name of names) ordered[name] = fields[name]
  return ordered
}
