/**
 * Append: one call of one SQL function, one round trip. What decides (locks, duplicates, heads, counters) is in `migrations/0001_log.sql`.
 * Only a conflict or a duplicate costs a second round trip, which reads what is handed back: envelopes that are stored do not change
 * places, so reading them later reads the same.
 */
import {
  type AppendOutcome,
  type AppendRequest,
  ColloquyError,
  type Envelope,
  forkHash,
  genesisHash,
  type Head,
  isForkId,
  pageSize,
  partitionOf,
  type StoredEnvelope,
  toHex,
} from '@colloquy/core'
import { CompiledQuery } from 'kysely'
import { boolArray, byteaArray, int4Array, int8Array, textArray } from './binary-array.ts'
import type { LogConnection } from './connection.ts'
import { failureKind } from './failures.ts'
import { safeInteger } from './int8.ts'
import { readCommands, readRange } from './read.ts'
import { sha256 } from './sha256.ts'
import { plainBytes } from './stored-envelope.ts'

/** A row of `log_append_v1` and `log_append_one_v1`. */
interface OutcomeRow {
  readonly request: number
  readonly outcome: AppendOutcome['status']
  readonly head_position: string | number | bigint | null
  readonly head_hash: Uint8Array | null
  readonly head_occurred_at: string | number | bigint | null
  readonly head_archived: boolean | null
  readonly feed_position: string | number | bigint | null
  readonly recorded_at: string | number | bigint | null
}

const placeholders = (count: number): string => Array.from({ length: count }, (_, i) => `$${i + 1}`).join(', ')
const appendOneSql = `select * from log_append_one_v1(${placeholders(19)})`
const appendManySql = `select * from log_append_v1(${placeholders(25)})`

/** Statements that are worth preparing on each connection, by their text. */
export const preparedNames: ReadonlyMap<string, string> = new Map([
  [appendOneSql, 'colloquy_append_one_v1'],
  [appendManySql, 'colloquy_append_v1'],
])

/** See `EventLog.append`. @throws `append_outcome_unknown`, and what the driver throws */
export async function append(log: LogConnection, requests: readonly AppendRequest[]): Promise<readonly AppendOutcome[]> {
  const outcomes = new Map<AppendRequest, AppendOutcome>()
  for (const round of rounds(requests)) {
    const results = await appendRound(log, round)
    for (const [i, request] of round.entries()) outcomes.set(request, results[i] as AppendOutcome)
  }
  return requests.map((request) => outcomes.get(request) as AppendOutcome)
}

/** A gap in the positions could never be closed again, so a caller's mistake ends here. @throws RangeError */
export function assertPositions({ key, expected, envelopes }: AppendRequest): void {
  for (const [i, { position }] of envelopes.entries()) {
    if (position === expected.position + i + 1) continue
    throw new RangeError(
      `An envelope for ${key.conversationId} has position ${position} where ${expected.position + i + 1} follows.`,
    )
  }
}

/** The SQL function looks at all heads before it moves any, so a conversation can be in one call only once. */
function rounds(requests: readonly AppendRequest[]): AppendRequest[][] {
  const result: AppendRequest[][] = []
  const seen = new Map<string, number>()
  for (const request of requests) {
    const key = JSON.stringify([request.key.tenant, request.key.conversationId])
    const round = seen.get(key) ?? 0
    seen.set(key, round + 1)
    result[round] ??= []
    result[round].push(request)
  }
  return result
}

async function appendRound(log: LogConnection, requests: readonly AppendRequest[]): Promise<AppendOutcome[]> {
  let rows: readonly OutcomeRow[]
  try {
    rows = await callAppend(log, requests)
  } catch (error) {
    if (failureKind(error) !== 'lost') throw error
    return resolveUnknown(log, requests, error)
  }
  try {
    return await Promise.all(requests.map((request, i) => toOutcome(log, request, rows[i] as OutcomeRow)))
  } catch (error) {
    // Some are stored, and their caller must not take the failure of a read for a failure of the append.
    const stored = requests.find((_, i) => rows[i]?.outcome === 'appended')
    throw stored ? outcomeUnknown(stored, error) : error
  }
}

async function callAppend(log: LogConnection, requests: readonly AppendRequest[]): Promise<readonly OutcomeRow[]> {
  const [request] = requests
  const query =
    requests.length === 1 && request?.envelopes.length === 1
      ? CompiledQuery.raw(appendOneSql, oneParameters(request, request.envelopes[0] as Envelope, log.partitions))
      : CompiledQuery.raw(appendManySql, manyParameters(requests, log.partitions))
  if (!log.needsReadCommitted) return (await log.kysely.executeQuery<OutcomeRow>(query)).rows
  return log.kysely
    .transaction()
    .setIsolationLevel('read committed')
    .execute(async (transaction) => (await transaction.executeQuery<OutcomeRow>(query)).rows)
}

function oneParameters({ key, expected, archive }: AppendRequest, envelope: Envelope, partitions: number): unknown[] {
  return [
    partitionOf(key, partitions, sha256),
    key.tenant,
    key.conversationId,
    expectedPosition(key, expected),
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
}

function manyParameters(requests: readonly AppendRequest[], partitions: number): unknown[] {
  const places = requests.map(({ key }) => partitionOf(key, partitions, sha256))
  const isOnePartition = places.every((place) => place === places[0])
  const envelopes = requests.flatMap((request) => request.envelopes)
  const isCommand = envelopes.some(({ commandId }) => commandId !== null)
  return [
    isOnePartition ? places[0] : null,
    isOnePartition ? null : int4Array(places),
    textArray(requests.map(({ key }) => key.tenant)),
    textArray(requests.map(({ key }) => key.conversationId)),
    int8Array(requests.map(({ key, expected }) => expectedPosition(key, expected))),
    byteaArray(requests.map(({ expected }) => expected.hash)),
    int4Array(requests.map((request) => request.envelopes.length)),
    byteaArray(requests.map((request) => request.envelopes.at(-1)?.hash ?? null)),
    int8Array(requests.map((request) => request.envelopes.at(-1)?.occurredAt ?? null)),
    boolArray(requests.map(({ archive }) => archive === true)),
    int4Array(requests.flatMap((request, i) => request.envelopes.map(() => i + 1))),
    int8Array(envelopes.map(({ position }) => position)),
    textArray(envelopes.map(({ type }) => type)),
    int4Array(envelopes.map(({ schemaVersion }) => schemaVersion)),
    int8Array(envelopes.map(({ occurredAt }) => occurredAt)),
    isCommand ? textArray(envelopes.map(({ commandId }) => commandId)) : null,
    int4Array(envelopes.map(({ commandIndex }) => commandIndex)),
    textArray(envelopes.map(({ actor }) => actor)),
    textArray(envelopes.map(({ cause }) => cause)),
    textArray(envelopes.map(({ keyId }) => keyId)),
    byteaArray(envelopes.map(({ body }) => body)),
    byteaArray(envelopes.map(({ salt }) => salt)),
    byteaArray(envelopes.map(({ commit }) => commit)),
    byteaArray(envelopes.map(({ hash }) => hash)),
    byteaArray(envelopes.map(({ inputHash }) => inputHash)),
  ]
}

/** Before position 1 no row holds the hash to compare with. A head at 0 that is not the genesis follows nothing: -1 never matches. */
function expectedPosition(key: AppendRequest['key'], { position, hash }: AppendRequest['expected']): number {
  return position !== 0 || Buffer.compare(hash, genesisHash(key, sha256)) === 0 ? position : -1
}

async function toOutcome(log: LogConnection, request: AppendRequest, row: OutcomeRow): Promise<AppendOutcome> {
  switch (row.outcome) {
    case 'appended': {
      const first = safeInteger(row.feed_position ?? Number.NaN)
      const recordedAt = safeInteger(row.recorded_at ?? Number.NaN)
      const envelopes = request.envelopes.map((envelope, i) => ({ ...envelope, feedPosition: first + i, recordedAt }))
      return { status: 'appended', envelopes }
    }
    case 'duplicate':
      return { status: 'duplicate', commands: await readCommands(log, request.key, commandIds(request)) }
    case 'archived':
      return { status: 'archived', head: toHead(request, row) }
    case 'conflict': {
      const head = toHead(request, row)
      return { status: 'conflict', head, missed: await readMissed(log, request, head.position) }
    }
    default:
      return row.outcome satisfies never
  }
}

const commandIds = ({ envelopes }: AppendRequest): string[] => [...new Set(envelopes.flatMap(({ commandId }) => commandId ?? []))]

function toHead({ key }: AppendRequest, row: OutcomeRow): Head {
  if (row.head_hash === null) return { position: 0, hash: genesisHash(key, sha256), occurredAt: 0, archived: false }
  return {
    position: safeInteger(row.head_position ?? Number.NaN),
    hash: plainBytes(row.head_hash),
    occurredAt: safeInteger(row.head_occurred_at ?? Number.NaN),
    archived: row.head_archived === true,
  }
}

async function readMissed(log: LogConnection, { key, expected }: AppendRequest, headPosition: number): Promise<StoredEnvelope[]> {
  if (expectedPosition(key, expected) === -1 || expected.position >= headPosition) return []
  const envelopes = await readRange(log, key, expected.position, Math.min(headPosition, expected.position + pageSize))
  if (expected.position === 0) return envelopes
  const [seen, ...missed] = envelopes
  if (!seen) return []
  // Of a fork without envelopes of its own, the position is its parent's and the hash is not.
  const hashes = isForkId(key.conversationId) ? [seen.hash, forkHash(seen.hash, seen.position, key, sha256)] : [seen.hash]
  return hashes.some((hash) => Buffer.compare(hash, expected.hash) === 0) ? missed : []
}

/**
 * After a connection that broke under the call: looks once whether the envelopes are stored. A call is one transaction, so if any of
 * them is, the call took effect, and what is not stored by it never will be and can be sent again. If none is, nobody can tell:
 * the server may still be at it.
 */
async function resolveUnknown(log: LogConnection, requests: readonly AppendRequest[], lost: unknown): Promise<AppendOutcome[]> {
  const stored = new Map<AppendRequest, StoredEnvelope[]>()
  try {
    for (const request of requests) {
      const { envelopes } = request
      const [first, last] = [envelopes[0], envelopes.at(-1)]
      if (!first || !last) continue
      const found = await readRange(log, request.key, first.position, last.position)
      const foundLast = found.at(-1)
      if (foundLast?.position === last.position && Buffer.compare(foundLast.hash, last.hash) === 0) stored.set(request, found)
    }
  } catch {
    throw outcomeUnknown(requests[0] as AppendRequest, lost)
  }
  const rest = requests.filter((request) => !stored.has(request))
  const isOnlyReading = requests.every(({ envelopes, archive }) => envelopes.length === 0 && archive !== true)
  if (stored.size === 0 && !isOnlyReading)
    throw outcomeUnknown(rest.find(({ envelopes }) => envelopes.length > 0) ?? (requests[0] as AppendRequest), lost)
  const outcomes = rest.length === 0 ? [] : await appendRound(log, rest)
  return requests.map((request) => {
    const envelopes = stored.get(request)
    return envelopes ? { status: 'appended', envelopes } : (outcomes[rest.indexOf(request)] as AppendOutcome)
  })
}

function outcomeUnknown({ key, expected, envelopes }: AppendRequest, cause: unknown): ColloquyError {
  const { position, hash } = envelopes.at(-1) ?? expected
  return new ColloquyError(
    'append_outcome_unknown',
    { conversationId: key.conversationId, position, hash: toHex(hash) },
    { cause },
  )
}
