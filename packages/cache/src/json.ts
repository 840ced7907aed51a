import { CacheError } from './cache-error.ts'

/** A value that JSON holds as it is. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** As `JSON.stringify`, but refuses what that would change. @throws `value_invalid` for NaN, Date, Map, BigInt, undefined in a list, a circle */
export function jsonText(value: unknown): string {
  return write(value, false, '$', [])
}

/**
 * The one JSON text of a value: keys sorted, nothing left out, so that equal values have equal texts and different ones different texts.
 * An `undefined` field counts as absent. @throws `value_invalid` as `jsonText`
 */
export function canonicalText(value: unknown): string {
  return write(value, true, '$', [])
}

/** As `JSON.parse`, frozen whole: what a cache gives out belongs to everybody. */
export function parseFrozen(text: string): Json {
  return JSON.parse(text, (_, value: Json) => Object.freeze(value)) as Json
}

function write(value: unknown, isSorted: boolean, path: string, above: readonly object[]): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'boolean':
      return String(value)
    case 'number':
      if (!Number.isFinite(value)) throw new CacheError('value_invalid', { path, found: String(value) })
      // -0 is written as 0: to a provider it is the same.
      return JSON.stringify(value)
    case 'object':
      if (value === null) return 'null'
      return writeObject(value, isSorted, path, above)
    default:
      throw new CacheError('value_invalid', { path, found: `of type ${typeof value}` })
  }
}

function writeObject(value: object, isSorted: boolean, path: string, above: readonly object[]): string {
  if (above.includes(value)) throw new CacheError('value_invalid', { path, found: 'an object that contains itself' })
  const within = [...above, value]
  if (Array.isArray(value)) return `[${Array.from(value, (item, i) => write(item, isSorted, `${path}[${i}]`, within)).join(',')}]`
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) {
    throw new CacheError('value_invalid', { path, found: `an instance of ${value.constructor.name}` })
  }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  if (isSorted) fields.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${write(field, isSorted, `${path}.${name}`, within)}`).join(',')}}`
}
