/** The SQL functions of `migrations/0001_log.sql`: a batch is one call, in one round trip. */
import type { Envelope } from '@colloquy/core'
import type { AppendSession } from './append-session.ts'
import { boolArray, byteaArray, int4Array, int8Array, textArray } from './binary-array.ts'
import { safeInteger } from './int8.ts'
import type { PreparedRequest } from './prepared-request.ts'
import { plainBytes } from './stored-envelope.ts'

/** What the database did with a request. */
export type Answer =
  | { readonly outcome: 'appended'; readonly firstFeedPosition: number; readonly recordedAt: number }
  | {
      readonly outcome: 'duplicate' | 'conflict' | 'archived'
      /** Null: there is no such conversation. */
      readonly head: { position: number; hash: Uint8Array; occurredAt: number; archived: boolean } | null
    }

type Refusal = Exclude<Answer['outcome'], 'appended'>
type Int8 = string | number | bigint

/** Sends a batch; what comes back from `parametersOf` is sent as it is, as often as it takes. */
export interface AppendCall {
  /** It needs a transaction around it. */
  readonly isSeveralStatements: boolean
  readonly parametersOf: (batch: readonly PreparedRequest[]) => unknown[]
  readonly send: (session: AppendSession, parameters: unknown[], batch: readonly PreparedRequest[]) => Promise<readonly Answer[]>
}

const placeholders = (count: number): string => Array.from({ length: count }, (_, i) => `$${i + 1}`).join(', ')

interface OneRow {
  readonly outcome: Answer['outcome']
  readonly feed_position: Int8
  readonly recorded_at: Int8
  readonly head_position: Int8 | null
  readonly head_hash: Uint8Array | null
  readonly head_occurred_at: Int8
  readonly head_archived: boolean
}

const appendOne = { name: 'colloquy_append_one_v1', text: `select * from log_append_one_v1(${placeholders(19)})` }

/** For a batch of one request with one envelope. */
export const callForOne: AppendCall = {
  isSeveralStatements: false,
  parametersOf([prepared]) {
    const { request, partition, expectedPosition } = prepared as PreparedRequest
    const { key, expected, archive } = request
    const envelope = request.envelopes[0] as Envelope
    return [
      partition,
      key.tenant,
      key.conversationId,
      expectedPosition,
      expected.hash,
      archive === true,
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
  },
  async send(session, parameters) {
    const [row] = (await session.query<OneRow>(appendOne, parameters)) as [OneRow]
    if (row.outcome === 'appended') {
      return [
        { outcome: 'appended', firstFeedPosition: safeInteger(row.feed_position), recordedAt: safeInteger(row.recorded_at) },
      ]
    }
    return [{ outcome: row.outcome, head: headOf(row.head_position, row.head_hash, row.head_occurred_at, row.head_archived) }]
  },
}

interface ManyRow {
  readonly recorded_at: Int8
  readonly feed_positions: readonly Int8[]
  readonly refused: readonly number[] | null
  readonly outcomes: readonly Refusal[]
  readonly head_positions: readonly (Int8 | null)[]
  readonly head_hashes: readonly (Uint8Array | null)[]
  readonly head_occurred_at: readonly Int8[]
  readonly head_archived: readonly boolean[]
}

const appendMany = { name: 'colloquy_append_v1', text: `select * from log_append_v1(${placeholders(32)})` }

export const callForMany: AppendCall = {
  isSeveralStatements: false,
  parametersOf(batch) {
    const partitions = partitionsOf(batch)
    const slots = new Map(partitions.map((partition, i) => [partition, i + 1]))
    const requests = batch.map(({ request }) => request)
    const envelopes = batch.length === 1 ? (requests[0]?.envelopes ?? []) : requests.flatMap((request) => request.envelopes)
    const isCommanded = batch.some(({ commandIds }) => commandIds.length > 0)
    const more = batch.flatMap(({ commandIds, request: { key } }, i) =>
      commandIds.length > 1 ? commandIds.slice(1).map((commandId) => ({ request: i + 1, key, commandId })) : [],
    )
    return [
      partitions.length === 1 ? partitions[0] : null,
      int4Array(partitions),
      int4Array(batch.map(({ partition }) => slots.get(partition) as number)),
      textArray(requests.map(({ key }) => key.tenant)),
      textArray(requests.map(({ key }) => key.conversationId)),
      int8Array(batch.map(({ expectedPosition }) => expectedPosition)),
      byteaArray(requests.map(({ expected }) => expected.hash)),
      int4Array(batch.map((prepared) => prepared.envelopes)),
      byteaArray(requests.map((request) => request.envelopes.at(-1)?.hash ?? null)),
      int8Array(requests.map((request) => request.envelopes.at(-1)?.occurredAt ?? null)),
      boolArray(requests.map(({ archive }) => archive === true)),
      isCommanded ? textArray(batch.map(({ commandIds }) => commandIds[0] ?? null)) : null,
      more.length === 0 ? null : int4Array(more.map(({ request }) => request)),
      more.length === 0 ? null : textArray(more.map(({ key }) => key.tenant)),
      more.length === 0 ? null : textArray(more.map(({ key }) => key.conversationId)),
      more.length === 0 ? null : textArray(more.map(({ commandId }) => commandId)),
      int4Array(requests.flatMap((request, i) => request.envelopes.map(() => i + 1))),
      int8Array(envelopes.map(({ position }) => position)),
      textArray(envelopes.map(({ tenant }) => tenant)),
      textArray(envelopes.map(({ type }) => type)),
      int4Array(envelopes.map(({ schemaVersion }) => schemaVersion)),
      int8Array(envelopes.map(({ occurredAt }) => occurredAt)),
      isCommanded ? textArray(envelopes.map(({ commandId }) => commandId)) : null,
      isCommanded ? int4Array(envelopes.map(({ commandIndex }) => commandIndex)) : null,
      someText(envelopes.map(({ actor }) => actor)),
      someText(envelopes.map(({ cause }) => cause)),
      someText(envelopes.map(({ keyId }) => keyId)),
      byteaArray(envelopes.map(({ body }) => body)),
      byteaArray(envelopes.map(({ salt }) => salt)),
      byteaArray(envelopes.map(({ commit }) => commit)),
      byteaArray(envelopes.map(({ hash }) => hash)),
      envelopes.some(({ inputHash }) => inputHash !== null) ? byteaArray(envelopes.map(({ inputHash }) => inputHash)) : null,
    ]
  },
  async send(session, parameters, batch) {
    const [row] = (await session.query<ManyRow>(appendMany, parameters)) as [ManyRow]
    const recordedAt = safeInteger(row.recorded_at)
    const refusals = new Map(row.refused?.map((request, i) => [request, i]))
    const feedPositions = new Map(partitionsOf(batch).map((partition, i) => [partition, safeInteger(row.feed_positions[i] ?? 0)]))
    return batch.map((prepared, n): Answer => {
      const i = refusals.get(n + 1)
      if (i !== undefined) {
        const head = headOf(
          row.head_positions[i] ?? null,
          row.head_hashes[i] ?? null,
          row.head_occurred_at[i] ?? 0,
          row.head_archived[i] === true,
        )
        return { outcome: row.outcomes[i] as Refusal, head }
      }
      const before = feedPositions.get(prepared.partition) as number
      feedPositions.set(prepared.partition, before + prepared.envelopes)
      return { outcome: 'appended', firstFeedPosition: before + 1, recordedAt }
    })
  },
}

/** Those of a batch, each once, ascending: the order in which they are locked. */
export function partitionsOf(batch: readonly PreparedRequest[]): number[] {
  return [...new Set(batch.map(({ partition }) => partition))].sort((a, b) => a - b)
}

function someText(values: readonly (string | null)[]): Buffer | null {
  return values.some((value) => value !== null) ? textArray(values) : null
}

function headOf(position: Int8 | null, hash: Uint8Array | null, occurredAt: Int8, archived: boolean) {
  if (position === null || hash === null) return null
  return { position: safeInteger(position), hash: plainBytes(hash), occurredAt: safeInteger(occurredAt), archived }
}
