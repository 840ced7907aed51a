import type { JsonObject } from './json.ts'
import { parseJson } from './parse-json.ts'
import { fromUtf8, toUtf8 } from './utf8.ts'
import { Vector } from './vector.ts'

interface Stored {
  readonly state: JsonObject
  /** Where the vectors are: JSON has only arrays. */
  readonly vectors: readonly (readonly string[])[]
}

/** The state as bytes: JSON, with a list of the places that hold vectors. */
export function encodeState(state: object): Uint8Array {
  const vectors: string[][] = []
  findVectors(state, [], vectors)
  return toUtf8(JSON.stringify({ state, vectors }))
}

/** A state that the caller owns. @throws SyntaxError for bytes that `encodeState` did not write */
export function decodeState(bytes: Uint8Array): object {
  const { state, vectors } = parseJson(fromUtf8(bytes)) as unknown as Stored
  for (const path of vectors) {
    let holder: Record<string, unknown> = state
    for (const step of path.slice(0, -1)) holder = holder[step] as Record<string, unknown>
    const last = path.at(-1) as string
    holder[last] = Vector.from(holder[last] as unknown[])
  }
  return state
}

function findVectors(value: unknown, path: readonly string[], found: string[][]): void {
  if (typeof value !== 'object' || value === null) return
  if (Vector.isVector(value)) found.push([...path])
  // Lists hold no vectors (see Slice): looking there would cost the whole history.
  if (Vector.isVector(value) || Array.isArray(value)) return
  for (const [key, child] of Object.entries(value)) findVectors(child, [...path, key], found)
}
