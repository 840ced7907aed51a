/**
 * Raw records of which an action would be larger than the log takes: their long texts become files, by hash, as pictures in them do.
 * The records can still be put together again, and what does not need this is stored as it always was, so that a file which was
 * imported before is the same now.
 */
import type { ConversationAction, Json, JsonObject } from '@colloquy/core'
import type { MediaShelf } from './media-shelf.ts'

/** A shorter text is left: the record is still to be read where it is. */
const shortestAside = 2 ** 14

/** The action with nothing longer than `shortestAside` in what it keeps raw; the same one where there is nothing. */
export function withRecordsAside(action: ConversationAction, media: MediaShelf): ConversationAction {
  const meta = action.meta && (aside(action.meta, media) as JsonObject)
  const kept = meta === action.meta ? action : ({ ...action, meta } as ConversationAction)
  if (kept.type !== 'foreignRecordKept') return kept
  const record = aside(kept.payload.record, media)
  return record === kept.payload.record ? kept : { ...kept, payload: { ...kept.payload, record } }
}

function aside(value: Json, media: MediaShelf): Json {
  if (typeof value === 'string') return value.length < shortestAside ? value : (media.putText(value) ?? value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const items = (value as readonly Json[]).map((item) => aside(item, media))
    return items.every((item, n) => item === value[n]) ? value : items
  }
  const fields = Object.entries(value as JsonObject).map(([key, field]): [string, Json] => [key, aside(field, media)])
  return fields.every(([key, field]) => field === (value as JsonObject)[key]) ? value : Object.fromEntries(fields)
}
