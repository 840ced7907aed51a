import { z } from 'zod'
import { ColloquyError } from '../errors.ts'
import { defaultLimits, type Json } from '../json.ts'
import { anyJson } from './message.ts'

/** Named values that a person or program sets: the shape that metadata and preferences share. */
export type Entries = Readonly<Record<string, Json>>

export const entriesChange = z.strictObject({
  set: z.record(z.string(), anyJson).optional(),
  unset: z.array(z.string()).optional(),
})
type EntriesChange = z.infer<typeof entriesChange>

/** Refuses what would let the state grow without bound. @throws `json_too_wide` */
export function guardEntries(path: string, entries: Entries, change: EntriesChange): void {
  const removed = new Set((change.unset ?? []).filter((key) => Object.hasOwn(entries, key)))
  const added = Object.keys(change.set ?? {}).filter((key) => removed.has(key) || !Object.hasOwn(entries, key))
  const keys = Object.keys(entries).length - removed.size + added.length
  if (keys > defaultLimits.keys) throw new ColloquyError('json_too_wide', { path, keys, limitKeys: defaultLimits.keys })
}

export function changeEntries(draft: Record<string, Json>, change: EntriesChange): void {
  for (const key of change.unset ?? []) delete draft[key]
  // No dispatch brings this key; a body written past us could, and would put a prototype under the state.
  for (const [key, value] of Object.entries(change.set ?? {})) if (key !== '__proto__') draft[key] = value
}
