/**
 * A cursor: how far a reader of the feed has come in each partition, as one token.
 *
 *     c1.<id of the log>.<number of partitions>.<feed position of partition 0>.<of partition 1>...    in base 36; zeros are left out
 *
 * Opaque to callers, who store it and hand it back. It belongs to one log: another one counts other positions.
 */

import type { StoredEnvelope } from '../envelope.ts'
import { ColloquyError } from '../errors.ts'
import { partitionOf } from '../partition.ts'
import type { EventLog } from '../ports/event-log.ts'
import type { Sha256 } from '../ports/sha256.ts'

/** See `encodeCursor`. Compared by `cursorCovers`, never as text. */
export type FeedCursor = string

/** What a cursor must know of its log. */
export type CursorLog = Pick<EventLog, 'id' | 'partitions'>

const version = 'c1'

/** The cursor of a log at these feed positions, one for each partition; 0: nothing was read. */
export function encodeCursor({ id }: Pick<CursorLog, 'id'>, positions: readonly number[]): FeedCursor {
  const texts = positions.map((position) => (position === 0 ? '' : position.toString(36)))
  return `${version}.${id}.${positions.length.toString(36)}.${texts.join('.').replace(/\.+$/, '')}`
}

/** @throws `cursor_invalid` for what is no cursor, or one of another log */
export function decodeCursor(cursor: FeedCursor, { id, partitions }: CursorLog): number[] {
  const fields = typeof cursor === 'string' ? cursor.split('.') : []
  const [found, owner, count, ...texts] = fields
  if (found !== version || count === undefined) throw invalid(`it does not begin with "${version}."`)
  if (owner !== id) throw invalid(`it is of the log ${owner}, and this one is ${id}`)
  const counted = parse(count)
  if (counted !== partitions) throw invalid(`it is for ${counted} partitions, and this log has ${partitions}`)
  if (texts.length === 0 || texts.length > partitions) throw invalid(`it names ${texts.length} of ${partitions} partitions`)
  return Array.from({ length: partitions }, (_, partition) => (texts[partition] ? parse(texts[partition]) : 0))
}

/** Whether a reader at `cursor` has read all that one at `target` has. Two cursors may each have what the other lacks. */
export function cursorCovers(cursor: FeedCursor, target: FeedCursor, log: CursorLog): boolean {
  return positionsCover(decodeCursor(cursor, log), decodeCursor(target, log))
}

/** Whether a reader at `positions` has read all that one at `target` has. By partition. */
export function positionsCover(positions: readonly number[], target: readonly number[]): boolean {
  return target.every((position, partition) => (positions[partition] ?? 0) >= position)
}

/** The cursor that a reader must reach to have read this envelope: read your own writes. It says nothing of other partitions. */
export function cursorOf(
  envelope: Pick<StoredEnvelope, 'tenant' | 'conversationId' | 'feedPosition'>,
  log: CursorLog,
  sha256: Sha256,
): FeedCursor {
  const positions = Array.from({ length: log.partitions }, () => 0)
  positions[partitionOf(envelope, log.partitions, sha256)] = envelope.feedPosition
  return encodeCursor(log, positions)
}

function parse(text: string): number {
  const number = Number.parseInt(text, 36)
  if (!Number.isSafeInteger(number) || number < 1 || number.toString(36) !== text) throw invalid(`"${text}" is not a position`)
  return number
}

function invalid(problem: string): ColloquyError {
  return new ColloquyError('cursor_invalid', { problem })
}
