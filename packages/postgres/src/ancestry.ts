/** Where the history of a fork lies: its own envelopes, and those of its ancestors up to where it left them. */
import { type ConversationKey, type ForkPoint, isForkId, partitionOf, segmentsOf } from '@colloquy/core'
import { sql } from 'kysely'
import type { LogConnection } from './connection.ts'
import { safeInteger } from './int8.ts'
import { sha256 } from './sha256.ts'

/** A run of positions of a history, by the number of the conversation that holds them. */
export interface StoredSegment {
  readonly conversationId: string
  readonly conversationNo: number
  readonly from: number
  readonly to: number
}

/** One step of a conversation's ancestry: it left its parent at `position`. */
interface AncestorRow {
  readonly conversation_no: string | number | bigint
  readonly conversation_id: string
  readonly parent_position: string | number | bigint | null
}

/** The conversation, its parent, and so on to the root. */
async function readAncestors(log: LogConnection, key: ConversationKey): Promise<readonly AncestorRow[]> {
  const partition = partitionOf(key, log.partitions, sha256)
  const { rows } = await log.asTenant(key.tenant, (kysely) =>
    sql<AncestorRow>`
      with recursive ancestor as (
        select 1 as step, conversation_no, conversation_id, parent_conversation_no, parent_position
        from conversation
        where partition = ${partition} and tenant = ${key.tenant} and conversation_id = ${key.conversationId}
        union all
        select a.step + 1, c.conversation_no, c.conversation_id, c.parent_conversation_no, c.parent_position
        from ancestor a
        join conversation c on c.partition = ${partition} and c.conversation_no = a.parent_conversation_no
      )
      select conversation_no, conversation_id, parent_position from ancestor order by step
    `.execute(kysely),
  )
  return rows
}

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
  const name = JSON.stringify([key.tenant, key.conversationId])
  const known = log.segments.get(name)
  if (known) return known
  const segments = await lookUpSegments(log, key)
  if (segments.length === 0) return segments
  // The oldest goes: which one matters little, since any can be looked up again.
  if (log.segments.size >= segmentsKept) log.segments.delete(log.segments.keys().next().value as string)
  log.segments.set(name, segments)
  return segments
}

async function lookUpSegments(log: LogConnection, key: ConversationKey): Promise<StoredSegment[]> {
  const ancestors = await readAncestors(log, key)
  if (ancestors.length === 0) return []
  const numbers = new Map(ancestors.map((row) => [row.conversation_id, safeInteger(row.conversation_no)]))
  return segmentsOf(key.conversationId, pointsOf(ancestors)).map((segment) => ({
    ...segment,
    conversationNo: numbers.get(segment.conversationId) as number,
  }))
}
