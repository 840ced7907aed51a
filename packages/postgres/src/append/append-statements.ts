/**
 * What `log_append_v1` does, in plain statements of one transaction at read committed, for engines that have no such functions. Each
 * statement sees what was committed before it; the first one locks.
 */
import type { Envelope, Head } from '@colloquy/core'
import { textArray } from '../connections/binary-array.ts'
import { safeInteger } from '../connections/int8.ts'
import { toHead } from '../read/conversation-row.ts'
import { type AppendCall, partitionsOf, type Refusal } from './append-function.ts'
import type { AppendSession, Parameter } from './append-session.ts'
import type { PreparedRequest } from './prepared-request.ts'

type Int8 = string | number | bigint

/** Values in one statement; the protocol counts them in 16 bits. */
const limitValues = 60_000

export const callByStatements: AppendCall = {
  isSeveralStatements: true,
  prepare: (batch) => async (session) => {
    await nameTenants(session, batch)
    const { counters, recordedAt } = await lockPartitions(session, batch)
    const found = await readHeads(session, batch)
    const repeated = await readRepeated(session, batch, found)
    const refused = new Map<number, Refusal>()
    const taken: Taken[] = []
    const feedPositions = batch.map((prepared, n) => {
      const { head, conversationNo } = found[n] ?? {}
      const outcome = outcomeOf(prepared, head, repeated.has(prepared))
      const counter = counters.get(prepared.partition) as Counter
      const feedPosition = counter.feedPosition + 1
      if (outcome !== 'appended') {
        refused.set(n, { outcome, head: head ?? null })
        return feedPosition
      }
      counter.feedPosition += prepared.envelopes
      // Otherwise it is only a check, or an archiving of what is not there.
      if (prepared.envelopes > 0 || (head && prepared.request.archive === true)) {
        taken.push({ prepared, feedPosition, head, conversationNo: conversationNo ?? ++counter.conversationNo })
      }
      return feedPosition
    })
    await writeHeads(session, taken)
    await writeEnvelopes(session, taken, recordedAt)
    await countPartitions(session, counters)
    return { refused, feedPositions, recordedAt }
  },
}

/** What row-level security lets the transaction see, where it holds. */
async function nameTenants(session: AppendSession, batch: readonly PreparedRequest[]): Promise<void> {
  const tenants = [...new Set(batch.map(({ request }) => request.key.tenant))]
  await session.query({ text: `select set_config('app.tenants', $1::text[]::text, true)` }, [textArray(tenants)])
}

interface Counter {
  feedPosition: number
  conversationNo: number
}

interface StoredHead {
  readonly conversationNo: number
  readonly head: Head
}

interface Taken {
  readonly prepared: PreparedRequest
  /** Of its first envelope. */
  readonly feedPosition: number
  readonly head: Head | undefined
  readonly conversationNo: number
}

function outcomeOf(
  { request: { expected }, expectedPosition }: PreparedRequest,
  head: Head | undefined,
  isRepeated: boolean,
): 'appended' | Refusal['outcome'] {
  if (isRepeated) return 'duplicate'
  if (head?.archived === true) return 'archived'
  if ((head?.position ?? 0) !== expectedPosition) return 'conflict'
  return head && Buffer.compare(head.hash, expected.hash) !== 0 ? 'conflict' : 'appended'
}

async function lockPartitions(session: AppendSession, batch: readonly PreparedRequest[]) {
  const partitions = partitionsOf(batch)
  const rows = await session.query<{ partition: number; last_feed_position: Int8; last_conversation_no: Int8; now: Int8 }>(
    {
      text: `select partition, last_feed_position, last_conversation_no,
          (extract(epoch from clock_timestamp()) * 1000000)::bigint as now
        from partition where partition in ${list(partitions.length)} order by partition for update`,
    },
    partitions,
  )
  if (rows.length !== partitions.length) throw new Error(`of the partitions ${partitions.join(', ')} some do not exist`)
  const counters = new Map<number, Counter>()
  for (const row of rows) {
    counters.set(row.partition, {
      feedPosition: safeInteger(row.last_feed_position),
      conversationNo: safeInteger(row.last_conversation_no),
    })
  }
  return { counters, recordedAt: safeInteger(rows.at(-1)?.now ?? 0) }
}

async function readHeads(session: AppendSession, batch: readonly PreparedRequest[]): Promise<(StoredHead | undefined)[]> {
  const rows = await session.query<{
    partition: number
    tenant: string
    conversation_id: string
    conversation_no: Int8
    head_position: Int8
    head_hash: Uint8Array
    head_occurred_at: Int8
    archived: boolean
  }>(
    {
      text: `select partition, tenant, conversation_id, conversation_no, head_position, head_hash, head_occurred_at, archived
        from conversation where (partition, tenant, conversation_id) in (${lists(batch.length, 3)})`,
    },
    batch.flatMap(({ partition, request: { key } }) => [partition, key.tenant, key.conversationId]),
  )
  const heads = new Map<string, StoredHead>()
  for (const row of rows) {
    heads.set(JSON.stringify([row.tenant, row.conversation_id]), {
      conversationNo: safeInteger(row.conversation_no),
      head: toHead(row),
    })
  }
  return batch.map(({ request: { key } }) => heads.get(JSON.stringify([key.tenant, key.conversationId])))
}

/** Those of the requests of which a command is stored already. */
async function readRepeated(
  session: AppendSession,
  batch: readonly PreparedRequest[],
  found: readonly (StoredHead | undefined)[],
): Promise<Set<PreparedRequest>> {
  const repeated = new Set<PreparedRequest>()
  const asked = batch.flatMap((prepared, i) => {
    const conversationNo = found[i]?.conversationNo
    return conversationNo === undefined ? [] : prepared.commandIds.map((commandId) => ({ prepared, conversationNo, commandId }))
  })
  for (const some of chunks(asked, 3)) {
    const rows = await session.query<{ partition: number; conversation_no: Int8; command_id: string }>(
      {
        text: `select distinct partition, conversation_no, command_id
          from envelope where (partition, conversation_no, command_id) in (${lists(some.length, 3)})`,
      },
      some.flatMap(({ prepared, conversationNo, commandId }) => [prepared.partition, conversationNo, commandId]),
    )
    const stored = new Set(rows.map((row) => JSON.stringify([row.partition, safeInteger(row.conversation_no), row.command_id])))
    for (const { prepared, conversationNo, commandId } of some) {
      if (stored.has(JSON.stringify([prepared.partition, conversationNo, commandId]))) repeated.add(prepared)
    }
  }
  return repeated
}

/** Begins conversations and moves heads. */
async function writeHeads(session: AppendSession, taken: readonly Taken[]): Promise<void> {
  for (const some of chunks(taken, 8)) {
    await session.query(
      {
        text: `insert into conversation
            (partition, conversation_no, tenant, conversation_id, head_position, head_hash, head_occurred_at, archived)
          values ${lists(some.length, 8)}
          on conflict (partition, conversation_no) do update
          set head_position = excluded.head_position, head_hash = excluded.head_hash,
            head_occurred_at = excluded.head_occurred_at, archived = excluded.archived`,
      },
      some.flatMap(({ prepared: { request, partition, expectedPosition, envelopes }, head, conversationNo }) => {
        const last = request.envelopes.at(-1) ?? head
        const { tenant, conversationId } = request.key
        const position = expectedPosition + envelopes
        return [
          partition,
          conversationNo,
          tenant,
          conversationId,
          position,
          last?.hash ?? null,
          last?.occurredAt ?? null,
          request.archive === true,
        ]
      }),
    )
  }
}

async function writeEnvelopes(session: AppendSession, taken: readonly Taken[], recordedAt: number): Promise<void> {
  const rows = taken.flatMap(({ prepared: { request, partition }, feedPosition, conversationNo }) =>
    request.envelopes.map((envelope, i) => [
      partition,
      conversationNo,
      envelope.position,
      feedPosition + i,
      recordedAt,
      ...valuesOf(envelope),
    ]),
  )
  for (const some of chunks(rows, 19)) {
    await session.query(
      {
        text: `insert into envelope
            (partition, conversation_no, position, feed_position, recorded_at, tenant, type, schema_version, occurred_at,
              command_id, command_index, actor, cause, key_id, body, salt, commitment, hash, input_hash)
          values ${lists(some.length, 19)}`,
      },
      some.flat(),
    )
  }
}

function valuesOf(envelope: Envelope): Parameter[] {
  return [
    envelope.tenant,
    envelope.type,
    envelope.schemaVersion,
    envelope.occurredAt,
    envelope.commandId,
    envelope.commandIndex,
    envelope.actor,
    envelope.cause,
    envelope.keyId,
    envelope.body,
    envelope.salt,
    envelope.commit,
    envelope.hash,
    envelope.inputHash,
  ]
}

async function countPartitions(session: AppendSession, counters: ReadonlyMap<number, Counter>): Promise<void> {
  const values = [...counters].map((_, i) => `($${i * 3 + 1}::int, $${i * 3 + 2}::bigint, $${i * 3 + 3}::bigint)`).join(', ')
  const rows = await session.query(
    {
      text: `update partition p set last_feed_position = u.feed_position, last_conversation_no = u.conversation_no
        from (values ${values}) as u(partition, feed_position, conversation_no)
        where p.partition = u.partition returning p.partition`,
    },
    [...counters].flatMap(([partition, { feedPosition, conversationNo }]) => [partition, feedPosition, conversationNo]),
  )
  if (rows.length !== counters.size) throw new Error('some partitions were not counted')
}

function list(values: number, from = 0): string {
  return `(${Array.from({ length: values }, (_, i) => `$${from + i + 1}`).join(', ')})`
}

function lists(rows: number, columns: number): string {
  return Array.from({ length: rows }, (_, i) => list(columns, i * columns)).join(', ')
}

function* chunks<T>(rows: readonly T[], columns: number): Generator<readonly T[]> {
  const size = Math.floor(limitValues / columns)
  for (let from = 0; from < rows.length; from += size) yield rows.slice(from, from + size)
}
