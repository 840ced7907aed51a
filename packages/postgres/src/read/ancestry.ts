/** Where the history of a fork lies: its own envelopes, and those of its ancestors up to where it left them. */
import { type ConversationKey, type ForkPoint, isForkId, partitionOf, segmentsOf } from '@colloquy/core'
import { sql } from 'kysely'
import type { LogConnection } from '../connections/connection.ts'
import { safeInteger } from '../connections/int8.ts'
import { sha256 } from '../sha256.ts'

/** A run of positions of a history, by the number of the conversation that holds them. */
export interface StoredSegment {
  readonly conversationId: string
  readonly conversationNo: number
  readonly from: number
  readonly to: number
}

/** One step of a conversation's ancestry: it left its parent at `position`. */
interface AncestorRow {
  readonly conversation_no: number
  readonly conversation_id: string
  readonly parent_position: number | null
}

/** The conversation, its parent, and so on to the root, as one value: JSON text. */
export function ancestorsAsJson(log: Pick<LogConnection, 'partitions'>, key: ConversationKey) {
  const partition = partitionOf(key, log.partitions, sha256)
  return sql<string | null>`(
    with recursive ancestor as (
      select 1 as step, conversation_no, conversation_id, parent_conversation_no, parent_position
      from conversation
      where partition = ${partition} and tenant = ${key.tenant} and conversation_id = ${key.conversationId}
      union all
      select a.step + 1, c.conversation_no, c.conversation_id, c.parent_conversation_no, c.parent_position
      from ancestor a
      join conversation c on c.partition = ${partition} and c.conversation_no = a.parent_conversation_no
    )
    select json_agg(json_build_object(
      'conversation_no', conversation_no, 'conversation_id', conversation_id, 'parent_position', parent_position
    ) order by step)::text
    from ancestor
  )`
}

async function readAncestors(log: LogConnection, key: ConversationKey): Promise<readonly AncestorRow[]> {
  const { rows } = await log.asTenant(key.tenant, (kysely) =>
    sql<{ ancestors: string | null }>`select ${ancestorsAsJson(log, key)} as ancestors`.execute(kysely),
  )
  return ancestorsIn(rows[0]?.ancestors ?? null)
}

const ancestorsIn = (json: string | null): readonly AncestorRow[] => (json === null ? [] : (JSON.parse(json) as AncestorRow[]))

const pointsOf = (ancestors: readonly AncestorRow[]): ForkPoint[] =>
  ancestors
    .slice(1)
    .map(({ conversation_id }, i) => ({
      conversationId: conversation_id,
      position: safeInteger(ancestors[i]?.parent_position ?? Number.NaN),
    }))
    .toReversed()

/** See `EventLog.ancestry`. */
export async function readAncestry(log: LogConnection, key: ConversationKey): Promise<ForkPoint[]> {
  return isForkId(key.conversationId) ? pointsOf(await readAncestors(log, key)) : []
}

const segmentsKept = 1_000

/** The runs that the history of a fork is read from, in order; empty when there is no such conversation. */
export async function readSegments(log: LogConnection, key: ConversationKey): Promise<readonly StoredSegment[]> {
  const known = log.segments.get(nameOf(key))
  if (known) return known
  return keepSegments(log, key, await readAncestors(log, key))
}

/** Keeps what `ancestorsAsJson` gave beside something else, which saves looking it up. */
export function keepAncestors(log: LogConnection, key: ConversationKey, json: string | null): void {
  keepSegments(log, key, ancestorsIn(json))
}

function keepSegments(log: LogConnection, key: ConversationKey, ancestors: readonly AncestorRow[]): readonly StoredSegment[] {
  if (ancestors.length === 0) return []
  const numbers = new Map(ancestors.map((row) => [row.conversation_id, safeInteger(row.conversation_no)]))
  const segments = segmentsOf(key.conversationId, pointsOf(ancestors)).map((segment) => ({
    ...segment,
    conversationNo: numbers.get(segment.conversationId) as number,
  }))
  // The oldest goes: which one matters little, since any can be looked up again.
  if (log.segments.size >= segmentsKept) log.segments.delete(log.segments.keys().next().value as string)
  log.segments.set(nameOf(key), segments)
  return segments
}

const nameOf = ({ tenant, conversationId }: ConversationKey): string => JSON.stringify([tenant, conversationId])
