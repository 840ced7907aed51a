import type { Json, JsonObject } from '@colloquy/core'
import { asCount } from '../codecs/fields.ts'

/** A string that says something: servers write "" where they mean that there is nothing. */
export function asText(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A number of tokens; what is not said is none. */
export const countOf = (value: Json | undefined): number => asCount(value) ?? 0

/** Seconds since 1970 as microseconds; servers write 0 where they do not know. */
export function asTime(seconds: Json | undefined): number | undefined {
  const known = asCount(seconds)
  return known === undefined || known === 0 ? undefined : asCount(known * 1_000_000)
}

/** A copy without the fields that are null or undefined. */
export function present(fields: { readonly [key: string]: Json | undefined }): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(isSaid))
}

/** The entry of a table for a word that a server wrote; `constructor` is in no table. */
export function lookUp<T>(table: { readonly [word: string]: T }, word: string | null | undefined): T | undefined {
  return word !== null && word !== undefined && Object.hasOwn(table, word) ? table[word] : undefined
}

function isSaid(field: [string, Json | undefined]): field is [string, Json] {
  return field[1] !== undefined && field[1] !== null
}
