import { type ConversationAction, errorRecorded, type Json, type JsonObject } from '@colloquy/core'
import { asCount, asDuration, asObject } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import type { SessionRecord } from './record.ts'

/** A failed call to the API, which Claude Code makes again by itself up to `maxRetries` times. */
export function apiError({ fields }: SessionRecord, media: MediaShelf, meta: JsonObject): ConversationAction {
  const { error, retryInMs, retryAttempt, maxRetries } = fields
  const attempt = asCount(retryAttempt)
  const wait = asDuration(retryInMs)
  const limit = asCount(maxRetries)
  return errorRecorded(
    {
      kind: 'api_error',
      problem: problemIn(error) ?? 'the call to the API failed; the record does not say why',
      ...(attempt !== undefined && limit !== undefined && { retryable: attempt <= limit }),
      ...(wait !== undefined && { retryInMs: wait }),
      ...(attempt !== undefined && { attempt }),
      ...(error !== undefined && { details: media.replaceIn(error) }),
    },
    { meta },
  )
}

/** API errors nest: {error: {error: {message}}}, depending on the version and on what failed. */
function problemIn(error: Json | undefined, depth = 0): string | undefined {
  if (typeof error === 'string') return error
  const fields = asObject(error)
  if (fields === undefined || depth > 4) return undefined
  if (typeof fields.message === 'string') return fields.message
  const inner = problemIn(fields.error ?? fields.cause, depth + 1)
  return inner ?? (typeof fields.status === 'number' ? `HTTP status ${fields.status}` : undefined)
}
