/**
 * The state hash: SHA-256 over the slices by name. The same for live and replayed states, in any process, locale and time zone.
 *
 * JSON is written canonically (keys sorted by UTF-16 code units, numbers and strings as ECMAScript writes them, as RFC 8785 does;
 * lone surrogates stay escaped). A vector is written as the hash of its length and of its elements in order, never of its trie,
 * so any two ways to build one list give one hash. Frozen objects are remembered, so hashing after every action costs what
 * changed, not what there is.
 */
import { toHex } from './bytes.ts'
import { ColloquyError } from './errors.ts'
import { describe } from './json.ts'
import type { Sha256 } from './ports/sha256.ts'
import { toUtf8 } from './utf8.ts'
import { foldVector, Vector } from './vector.ts'

const domain = toUtf8('colloquy/state/v1\0')
const listDomain = toUtf8('colloquy/list/v1\0')

/** Text and hashes of frozen objects. One map for all states: an object is its content. */
const texts = new WeakMap<object, string>()
const elementHashes = new WeakMap<object, Uint8Array>()

/**
 * @returns 32 bytes. `state` must be frozen, as every state that the engine or replay hands out is.
 * @throws `slice_invalid` where it holds what no snapshot could keep: NaN, a function, a Date. A live state and the one that is read
 * back would be two, under one hash.
 */
export function stateHash(state: object, sha256: Sha256): Uint8Array {
  const parts = keysOf(state).map((slice) => {
    const value: unknown = state[slice as never]
    try {
      return `${JSON.stringify(slice)}:${canonical(value, sha256)}`
    } catch (cause) {
      if (!(cause instanceof UnfitValue)) throw cause
      const problem = `its state holds ${cause.message} at ${unfitPath(value, cause.value, `$.${slice}`) ?? '$'}, which JSON cannot hold`
      throw new ColloquyError('slice_invalid', { slice, problem }, { cause })
    }
  })
  return sha256(domain, toUtf8(parts.join('\n')))
}

function canonical(value: unknown, sha256: Sha256, remember = true): string {
  if (typeof value !== 'object' || value === null) return scalar(value)
  const known = texts.get(value)
  if (known !== undefined) return known
  const text = Vector.isVector(value) ? canonicalList(value, sha256) : canonicalPlain(value, sha256, remember)
  if (remember && Object.isFrozen(value)) texts.set(value, text)
  return text
}

/** A value that JSON would change or leave out. */
class UnfitValue extends Error {
  readonly value: unknown

  constructor(value: unknown) {
    super(typeof value === 'number' ? String(value) : describe(value))
    this.value = value
  }
}

function scalar(value: unknown): string {
  const isFit =
    typeof value === 'number' ? Number.isFinite(value) : value === null || typeof value === 'string' || typeof value === 'boolean'
  if (!isFit) throw new UnfitValue(value)
  return JSON.stringify(value)
}

/** Where the value is: looked for only when it was met, since hashing knows no paths. */
function unfitPath(value: unknown, wanted: unknown, path: string): string | undefined {
  if (Object.is(value, wanted)) return path
  if (typeof value !== 'object' || value === null) return undefined
  const isList = Vector.isVector(value) || Array.isArray(value)
  const children: [string | number, unknown][] = isList ? [...value.slice().entries()] : Object.entries(value)
  for (const [key, child] of children) {
    // Such a field is left out of the hash.
    if (!isList && child === undefined) continue
    const found = unfitPath(child, wanted, isList ? `${path}[${key}]` : `${path}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

function canonicalPlain(value: object, sha256: Sha256, remember: boolean): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, sha256, remember)).join(',')}]`
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw new UnfitValue(value)
  const record = value as Record<string, unknown>
  const fields = keysOf(record).map((key) => `${JSON.stringify(key)}:${canonical(record[key], sha256, remember)}`)
  return `{${fields.join(',')}}`
}

/** Sorted; without those that hold undefined, which no snapshot keeps: a reducer may write one, and live must equal replayed. */
function keysOf(record: object): string[] {
  return Object.keys(record)
    .filter((key) => record[key as never] !== undefined)
    .sort()
}

/** `list:` cannot begin JSON, so no plain value is written like a list. */
function canonicalList(list: Vector<unknown>, sha256: Sha256): string {
  const folded = list[foldVector](sha256(listDomain), (value, item) => sha256(listDomain, value, elementHash(item, sha256)))
  return `list:${list.length}:${toHex(folded)}`
}

/** Of an element only the hash is remembered: the text of every message would double the state in memory. */
function elementHash(item: unknown, sha256: Sha256): Uint8Array {
  const known = typeof item === 'object' && item !== null ? elementHashes.get(item) : undefined
  if (known !== undefined) return known
  const hash = sha256(toUtf8(canonical(item, sha256, false)))
  if (typeof item === 'object' && item !== null && Object.isFrozen(item)) elementHashes.set(item, hash)
  return hash
}

/** Canonical text of plain JSON: what command inputs are compared by. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  let text = ''
  if (Array.isArray(value)) {
    for (const item of value) text += `${text === '' ? '' : ','}${canonicalJson(item)}`
    return `[${text}]`
  }
  const record = value as Record<string, unknown>
  for (const key of Object.keys(record).sort()) text += `${text === '' ? '' : ','}${quoted(key)}:${canonicalJson(record[key])}`
  return `{${text}}`
}

/** Most keys are words, which are written as they are. */
const quoted = (key: string): string => (/^\w+$/.test(key) ? `"${key}"` : JSON.stringify(key))
