/** The arguments of a call as Gemini streams them: values, each with its path, in pieces when it is a long string. */
import type { Json, JsonObject } from '@colloquy/core'
import { asList, asObject, asString } from '../codecs/fields.ts'

type Grown = { [key: string]: GrownValue } | GrownValue[]
type GrownValue = null | boolean | number | string | Grown

export interface PartialArguments {
  /** False when a piece has no place in what is there: then the arguments are not to be trusted. */
  readonly take: (pieces: Json | undefined) => boolean
  readonly value: () => JsonObject
}

/** @param given the arguments of a call that comes whole */
export function createPartialArguments(given: JsonObject = {}): PartialArguments {
  const root = { ...given } as { [key: string]: GrownValue }
  return {
    take: (pieces) => (asList(pieces) ?? []).every((piece) => place(root, asObject(piece) ?? {})),
    value: () => root,
  }
}

function place(root: Grown, piece: JsonObject): boolean {
  const keys = keysOf(asString(piece.jsonPath) ?? '')
  const value = valueOf(piece)
  const last = keys?.at(-1)
  if (keys === undefined || last === undefined || value === undefined) return false
  let at: Grown = root
  for (const [depth, key] of keys.slice(0, -1).entries()) {
    const next: GrownValue | undefined = read(at, key) ?? (typeof keys[depth + 1] === 'number' ? [] : {})
    if (typeof next !== 'object' || next === null || !write(at, key, next)) return false
    at = next
  }
  const before = read(at, last)
  return write(at, last, typeof before === 'string' && typeof value === 'string' ? before + value : value)
}

function valueOf(piece: JsonObject): GrownValue | undefined {
  const { stringValue, numberValue, boolValue } = piece
  if (typeof stringValue === 'string') return stringValue
  if (typeof numberValue === 'number') return numberValue
  if (typeof boolValue === 'boolean') return boolValue
  return Object.hasOwn(piece, 'nullValue') ? null : undefined
}

function read(at: Grown, key: string | number): GrownValue | undefined {
  if (Array.isArray(at)) return typeof key === 'number' ? at[key] : undefined
  return Object.hasOwn(at, key) ? at[key] : undefined
}

/** Lists grow by one: an index far beyond the end would be a list of holes. */
function write(at: Grown, key: string | number, value: GrownValue): boolean {
  if (Array.isArray(at)) {
    if (typeof key !== 'number' || key > at.length) return false
    at[key] = value
    return true
  }
  if (typeof key === 'number' || key === '__proto__') return false
  at[key] = value
  return true
}

const step = /\.([^.[\]]+)|\[(\d{1,9})\]|\['([^']*)'\]|\["([^"]*)"\]/y

/** `$.operations[0].action` as keys. Undefined for a path of another kind, or one that is too deep to be kept. */
function keysOf(path: string): (string | number)[] | undefined {
  if (!path.startsWith('$')) return undefined
  const keys: (string | number)[] = []
  for (step.lastIndex = 1; step.lastIndex < path.length; ) {
    const found = step.exec(path)
    if (found === null || keys.length >= 32) return undefined
    keys.push(found[2] === undefined ? (found[1] ?? found[3] ?? found[4] ?? '') : Number(found[2]))
  }
  return keys
}
