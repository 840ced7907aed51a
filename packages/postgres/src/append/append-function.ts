/** The SQL functions of `migrations/0001_log.sql`: a batch is one call, in one round trip. */
import type { Envelope, Head } from '@colloquy/core'
import { boolColumn, byteaColumn, int4Array, int4Column, int8Column, textArray, textColumn } from '../connections/binary-array.ts'
import { safeInteger } from '../connections/int8.ts'
import { plainBytes } from '../read/stored-envelope.ts'
import type { AppendSession, Statement } from './append-session.ts'
import type { PreparedRequest } from './prepared-request.ts'

/** What the database did with a batch. */
export interface BatchAnswer {
  /** By the place of the request in the batch. */
  readonly refused: ReadonlyMap<number, Refusal>
  /** Of the first envelope of each request that was not refused, in the order of the batch. */
  readonly feedPositions: readonly number[]
  readonly recordedAt: number
}

export interface Refusal {
  readonly outcome: 'duplicate' | 'conflict' | 'archived'
  /** Null: there is no such conversation. */
  readonly head: Head | null
}

/** A way to append a batch. What `prepare` gives sends the same bytes each time it is called. */
export interface AppendCall {
  /** It needs a transaction around it. */
  readonly isSeveralStatements: boolean
  readonly prepare: (batch: readonly PreparedRequest[]) => (session: AppendSession) => Promise<BatchAnswer>
}

const noRefusals: ReadonlyMap<number, Refusal> = new Map()

type Int8 = string | number | bigint

const placeholders = (count: number): string => Array.from({ length: count }, (_, i) => `$${i + 1}`).join(', ')

const asItIs = (text: string): string => text

/** An array of numbers, words, hex: of what Postgres writes without quotes. */
function list(text: string): (string | null)[] {
  return text === '{}'
    ? []
    : text
        .slice(1, -1)
        .split(',')
        .map((element) => (element === 'NULL' ? null : element))
}

type OneAnswer =
  | readonly ['appended', feedPosition: string, recordedAt: string]
  | readonly [
      Refusal['outcome'],
      headPosition?: string,
      headHash?: string,
      headOccurredAt?: string,
      headArchived?: 'true' | 'false',
    ]

const appendOne: Statement = {
  name: 'colloquy_append_one_v1',
  text: `select log_append_one_v1(${placeholders(19)}) as answer`,
  columns: [['answer', list]],
}

/** For a batch of one request with one envelope. */
export const callForOne: AppendCall = {
  isSeveralStatements: false,
  prepare([prepared]) {
    const { request, partition, expectedPosition } = prepared as PreparedRequest
    const { key, expected, archive } = request
    const envelope = request.envelopes[0] as Envelope
    const parameters = [
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
    return async (session) => {
      const [{ answer }] = (await session.query<{ answer: OneAnswer }>(appendOne, parameters)) as [{ answer: OneAnswer }]
      if (answer[0] === 'appended') {
        return { refused: noRefusals, feedPositions: [safeInteger(answer[1])], recordedAt: safeInteger(answer[2]) }
      }
      const [outcome, position = null, hash = null, occurredAt = 0, archived] = answer
      const head = headOf(position, hash, occurredAt, archived === 'true')
      return { refused: new Map([[0, { outcome, head }]]), feedPositions: [0], recordedAt: 0 }
    }
  },
}

interface ManyRow {
  readonly recorded_at: Int8
  readonly feed_positions: readonly Int8[]
  readonly refused: readonly Int8[] | null
  readonly outcomes: readonly Refusal['outcome'][]
  readonly head_positions: readonly (Int8 | null)[]
  readonly head_hashes: readonly (string | null)[]
  readonly head_occurred_at: readonly (Int8 | null)[]
  readonly head_archived: readonly (boolean | 't' | 'f' | null)[]
}

const appendMany: Statement = {
  name: 'colloquy_append_v1',
  text: `select * from log_append_v1(${placeholders(35)})`,
  columns: [
    ['recorded_at', asItIs],
    ['feed_positions', list],
    ['refused', list],
    ['outcomes', list],
    ['head_positions', list],
    ['head_hashes', list],
    ['head_occurred_at', list],
    ['head_archived', list],
  ],
}

export const callForMany: AppendCall = {
  isSeveralStatements: false,
  prepare(batch) {
    const partitions = partitionsOf(batch)
    const placeOf = new Map(partitions.map((partition, place) => [partition, place]))
    const places = batch.map(({ partition }) => placeOf.get(partition) as number)
    const parameters = manyParameters(batch, partitions, places)
    return async (session) => {
      const [row] = (await session.query<ManyRow>(appendMany, parameters)) as [ManyRow]
      const refused = row.refused === null ? noRefusals : refusalsOf(row, row.refused)
      // Counted on as the function does: what is refused takes no place in the feed.
      const last = row.feed_positions.map((position) => safeInteger(position))
      const feedPositions = batch.map(({ envelopes }, n) => {
        const place = places[n] as number
        const before = last[place] as number
        if (!refused.has(n)) last[place] = before + envelopes
        return before + 1
      })
      return { refused, feedPositions, recordedAt: safeInteger(row.recorded_at) }
    }
  },
}

/** `places`: of the partition of each request among `partitions`. */
function manyParameters(batch: readonly PreparedRequest[], partitions: readonly number[], places: readonly number[]) {
  // Then what is said of a request is said of its envelope.
  const areSingle = batch.every(({ envelopes }) => envelopes === 1)
  const envelopes = areSingle
    ? batch.map(({ request }) => request.envelopes[0] as Envelope)
    : batch.flatMap(({ request }) => request.envelopes)
  const requests = areSingle ? batch.map((_, n) => n + 1) : batch.flatMap(({ request }, n) => request.envelopes.map(() => n + 1))
  const taken = partitions.map(() => 0)
  const offsets = batch.map(({ envelopes: count }, n) => {
    const place = places[n] as number
    const before = taken[place] as number
    taken[place] = before + count
    return before
  })
  const isCommanded = batch.some(({ commandIds }) => commandIds.length > 0)
  const more = batch.flatMap(({ commandIds, request: { key } }, n) =>
    commandIds.length > 1 ? commandIds.slice(1).map((commandId) => ({ n: n + 1, key, commandId })) : [],
  )
  return [
    partitions.length === 1 ? (partitions[0] as number) : null,
    int4Array(partitions),
    int4Array(taken),
    textArray([...new Set(batch.map(({ request }) => request.key.tenant))]),
    int4Column(places, (place) => place + 1),
    textColumn(batch, ({ request }) => request.key.tenant),
    textColumn(batch, ({ request }) => request.key.conversationId),
    int8Column(batch, ({ expectedPosition }) => expectedPosition),
    byteaColumn(batch, ({ request }) => request.expected.hash),
    int4Column(batch, ({ envelopes: count }) => count),
    int4Array(offsets),
    areSingle ? null : byteaColumn(batch, ({ request }) => request.envelopes.at(-1)?.hash ?? null),
    areSingle ? null : int8Column(batch, ({ request }) => request.envelopes.at(-1)?.occurredAt ?? null),
    batch.some(({ request }) => request.archive === true) ? boolColumn(batch, ({ request }) => request.archive === true) : null,
    isCommanded ? textColumn(batch, ({ commandIds }) => commandIds[0] ?? null) : null,
    ...(more.length === 0
      ? [null, null, null, null]
      : [
          int4Column(more, ({ n }) => n),
          textColumn(more, ({ key }) => key.tenant),
          textColumn(more, ({ key }) => key.conversationId),
          textColumn(more, ({ commandId }) => commandId),
        ]),
    int4Array(requests),
    int8Column(envelopes, ({ position }) => position),
    areSingle ? null : textColumn(envelopes, ({ tenant }) => tenant),
    textColumn(envelopes, ({ type }) => type),
    int4Column(envelopes, ({ schemaVersion }) => schemaVersion),
    int8Column(envelopes, ({ occurredAt }) => occurredAt),
    isCommanded ? textColumn(envelopes, ({ commandId }) => commandId) : null,
    isCommanded ? int4Column(envelopes, ({ commandIndex }) => commandIndex) : null,
    envelopes.some(({ actor }) => actor !== null) ? textColumn(envelopes, ({ actor }) => actor) : null,
    envelopes.some(({ cause }) => cause !== null) ? textColumn(envelopes, ({ cause }) => cause) : null,
    envelopes.some(({ keyId }) => keyId !== null) ? textColumn(envelopes, ({ keyId }) => keyId) : null,
    byteaColumn(envelopes, ({ body }) => body),
    byteaColumn(envelopes, ({ salt }) => salt),
    byteaColumn(envelopes, ({ commit }) => commit),
    byteaColumn(envelopes, ({ hash }) => hash),
    envelopes.some(({ inputHash }) => inputHash !== null) ? byteaColumn(envelopes, ({ inputHash }) => inputHash) : null,
  ]
}

function refusalsOf(row: ManyRow, refused: readonly Int8[]): Map<number, Refusal> {
  const refusals = new Map<number, Refusal>()
  for (const [i, request] of refused.entries()) {
    const head = headOf(
      row.head_positions[i] ?? null,
      row.head_hashes[i] ?? null,
      row.head_occurred_at[i] ?? 0,
      row.head_archived[i] === true || row.head_archived[i] === 't',
    )
    refusals.set(safeInteger(request) - 1, { outcome: row.outcomes[i] as Refusal['outcome'], head })
  }
  return refusals
}

/** Those of a batch, each once, ascending: the order in which they are locked. */
export function partitionsOf(batch: readonly PreparedRequest[]): number[] {
  return [...new Set(batch.map(({ partition }) => partition))].sort((a, b) => a - b)
}

function headOf(position: Int8 | null, hash: string | null, occurredAt: Int8, archived: boolean): Head | null {
  if (position === null || hash === null) return null
  return {
    position: safeInteger(position),
    hash: plainBytes(Buffer.from(hash, 'hex')),
    occurredAt: safeInteger(occurredAt),
    archived,
  }
}
