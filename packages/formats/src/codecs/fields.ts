/** Reading JSON that somebody else wrote. */
import type { Json, JsonObject } from '@colloquy/core'

export function asObject(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
}

export function asList(value: Json | undefined): readonly Json[] | undefined {
  return Array.isArray(value) ? (value as readonly Json[]) : undefined
}

export function asString(value: Json | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

export function asCount(value: Json | undefined): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** A string that our call ids and message ids can hold. */
export function asId(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value.length >= 1 && value.length <= 200 ? value : undefined
}

/** Equal as JSON: the order of keys does not matter. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const [listA, listB] = [asList(a), asList(b)]
  if (listA !== undefined || listB !== undefined) {
    return listA?.length === listB?.length && listA?.every((value, i) => sameJson(value, listB?.[i])) === true
  }
  const [fieldsA, fieldsB] = [a as JsonObject, b as JsonObject]
  const keys = Object.keys(fieldsA)
  return (
    keys.length === Object.keys(fieldsB).length &&
    keys.every((key) => Object.hasOwn(fieldsB, key) && sameJson(fieldsA[key], fieldsB[key]))
  )
}

/** The words of content that is one text and nothing else, so that it may as well be written as a string. */
export function plainText(content: readonly Json[], types: readonly string[] = ['text']): string | undefined {
  const block = asObject(content[0])
  const isPlain = content.length === 1 && block !== undefined && Object.keys(block).length === 2
  return isPlain && types.includes(asString(block.type) ?? '') ? asString(block.text) : undefined
}

/** A copy without the fields that are undefined. */
export function defined(fields: { readonly [key: string]: Json | undefined }): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter((field): field is [string, Json] => field[1] !== undefined))
}

/** A copy of `value` in which `change` was applied to every string, keys apart. Itself when nothing changed. */
export function mapStrings<T extends Json>(value: T, change: (text: string) => string): T {
  if (typeof value === 'string') return change(value) as T
  if (typeof value !== 'object' || value === null) return value
  const list = asList(value)
  if (list !== undefined) {
    const copy = list.map((inner) => mapStrings(inner, change))
    return copy.some((inner, i) => inner !== list[i]) ? (copy as Json as T) : value
  }
  const fields = Object.entries(value as JsonObject)
  const copy = fields.map(([key, inner]): [string, Json] => [key, mapStrings(inner, change)])
  return copy.some(([, inner], i) => inner !== fields[i]?.[1]) ? (Object.fromEntries(copy) as Json as T) : value
}
