/** Readers of fields of foreign records: what is missing, null or of another kind is undefined. */
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

/** A whole number from 0 that is exact. */
export function asCount(value: Json | undefined): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** A number of milliseconds, fractions allowed. */
export function asDuration(value: Json | undefined): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
}

/** A string that may be an id of ours, printable and well formed. Two of the usual length fit into one of ours, with a prefix. */
export function asId(value: Json | undefined, maxLength = 90): string | undefined {
  if (typeof value !== 'string' || value.length < 1 || value.length > maxLength || !value.isWellFormed()) return undefined
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) < 0x20 || value.charCodeAt(i) === 0x7f) return undefined
  return value
}

/** Providers' call ids may be longer than those of records; ours take 200 characters. */
export const asCallId = (value: Json | undefined): string | undefined => asId(value, 200)
