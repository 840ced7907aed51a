/**
 * Reads for replay. A client spends more on a row's fields than on parsing a body, so a row is one field of text: the body behind what
 * else an action needs of its envelope. Ranges of positions keep every query on the primary key, and the next ones are asked for while
 * a page is replayed.
 *
 * A range may be more than a page (`pageBytes`). Counting row by row where to cut it costs the server a quarter of the time, so a range
 * is asked for as a whole, provided that all of it together is small enough: a sum costs hardly anything (measured 2026-11-27, 5,000
 * bodies of 700 bytes: 15 ms, with the sum 16, counted 22). Only one that is too large is asked for again, to be cut.
 */
import {
  actionPageSize,
  ColloquyError,
  type ConversationKey,
  isColloquyError,
  isForkId,
  pageBytes,
  partitionOf,
  type StoredAction,
  type StoredEnvelope,
} from '@colloquy/core'
import { CompiledQuery, sql } from 'kysely'
import type { LogConnection } from '../connections/connection.ts'
import { sha256 } from '../sha256.ts'
import { readSegments } from './ancestry.ts'
import { bytesUpTo } from './page-query.ts'
import { readRange } from './read.ts'

interface Row {
  readonly record: string
}

/** Parts the fields. In an id no control character may be, and in JSON none is as it is. */
const unit = '\u001f'
// As few joins as can be, since each copies: the usual version is a constant, an actor comes with what is around it.
const record = String.raw`case schema_version when 1 then e'1\x1f' else schema_version || e'\x1f' end || occurred_at || e'\x1f' || type || coalesce(e'\x1f' || actor || e'\x1f', e'\x1f\x1f') || convert_from(body, 'UTF8') as record`

const inRange = `from envelope
where partition = $1
  and conversation_no = (select conversation_no from conversation where partition = $1 and tenant = $2 and conversation_id = $3)
  and position >= $4 and position <= $5`

/** All of the range, or nothing where that is more than a page. */
const wholeSql = `select ${record} ${inRange}
  and (select sum(octet_length(body)) ${inRange}) <= ${pageBytes}
order by position`

const countedColumns = `${bytesUpTo('position')} as bytes, row_number() over (order by position rows unbounded preceding) as place`
const isInPage = (first: string): string => `bytes - octet_length(body) < ${pageBytes} and position = ${first} + place - 1`
const columns = 'position, schema_version, occurred_at, type, actor, body'

/** Of a range the rows up to the one that fills the page, and up to the first hole: behind one it would not be known which row is whose. */
const cutSql = `select ${record} from (
  select ${columns}, ${countedColumns} ${inRange}
) page
where ${isInPage('$4')}
order by position`

/** Worth preparing on each connection, as in `append.ts`. */
export const preparedReads: ReadonlyMap<string, string> = new Map([
  [wholeSql, 'colloquy_actions_v1'],
  [cutSql, 'colloquy_actions_cut_v1'],
])

/** Pages that are asked for while one is replayed. */
const pagesAhead = 2

/** See `EventLog.actions`. */
export async function* readActions(
  log: LogConnection,
  key: ConversationKey,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<readonly StoredAction[]> {
  const ask = (first: number, last: number): AskedPage => {
    const page = log.run(`read ${key.conversationId}`, () => readActionPage(log, key, first, last))
    // Heard of when its turn comes, or never, where the reader stopped before it.
    page.catch(() => {})
    return { first, last, page }
  }
  const asked: AskedPage[] = []
  for (let next = from; next <= to || asked.length > 0; ) {
    while (next <= to && asked.length <= pagesAhead) {
      const last = Math.min(next + actionPageSize - 1, to)
      asked.push(ask(next, last))
      next = last + 1
    }
    const { first, last, page } = asked.shift() as AskedPage
    const actions = await page
    // Cut off where it got too large. What is asked ahead behind it waits, each a page.
    const end = first + actions.length - 1
    if (end < last) asked.unshift(ask(end + 1, last))
    yield actions
  }
}

interface AskedPage {
  readonly first: number
  readonly last: number
  readonly page: Promise<StoredAction[]>
}

/** From `from` on without a hole: up to `to`, or to where `pageBytes` ends the page. @throws `log_corrupt` when one is missing */
async function readActionPage(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredAction[]> {
  const page = await readRecords(log, key, from, to).catch((error: unknown) => {
    // Postgres checks text. What is not, the reader of the bytes will say, with its position.
    if (isNotText(error)) return readWithoutHole(log, key, from, to)
    throw error
  })
  if (page.length === to - from + 1 || bytesOf(page) >= pageBytes) return page
  throw new ColloquyError('log_corrupt', {
    conversationId: key.conversationId,
    position: from + page.length,
    problem: 'the envelope is missing, although the conversation goes on',
  })
}

async function readWithoutHole(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredEnvelope[]> {
  const envelopes = await readRange(log, key, from, to)
  const hole = envelopes.findIndex(({ position }, i) => position !== from + i)
  return hole === -1 ? envelopes : envelopes.slice(0, hole)
}

const bytesOf = (page: readonly StoredAction[]): number => page.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0)

async function readRecords(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredAction[]> {
  if (isForkId(key.conversationId)) return readForkRecords(log, key, from, to)
  const partition = partitionOf(key, log.partitions, sha256)
  for (const text of [wholeSql, cutSql]) {
    const query = CompiledQuery.raw(text, [partition, key.tenant, key.conversationId, from, to])
    const { rows } = await log.asTenant(key.tenant, (kysely) => kysely.executeQuery<Row>(query))
    // Fewer: too many bytes, or a hole.
    if (rows.length === to - from + 1 || text === cutSql) return toActions(rows, key.conversationId, from)
  }
  return []
}

/** The runs of all ancestors in one query, cut like one range. `offset 0` holds each one to its own lookup by the primary key. */
async function readForkRecords(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredAction[]> {
  const runs = (await readSegments(log, key))
    .map((segment) => ({ ...segment, from: Math.max(from, segment.from), to: Math.min(to, segment.to) }))
    .filter((run) => run.from <= run.to)
  if (runs.length === 0) return []
  const partition = partitionOf(key, log.partitions, sha256)
  const values = runs.map((run) => sql`(${run.conversationNo}::bigint, ${run.from}::bigint, ${run.to}::bigint)`)
  const { rows } = await log.asTenant(key.tenant, (kysely) =>
    sql<Row>`
      select ${sql.raw(record)} from (
        select e.*, ${sql.raw(countedColumns)}
        from (values ${sql.join(values)}) as run (conversation_no, first, last)
        cross join lateral (
          select ${sql.raw(columns)} from envelope
          where partition = ${partition} and conversation_no = run.conversation_no
            and position >= run.first and position <= run.last
          offset 0
        ) e
      ) page
      where ${sql.raw(isInPage(String(from)))}
      order by position
    `.execute(kysely),
  )
  const first = runs[0]?.from ?? 0
  return runs.flatMap((run) => toActions(rows.slice(run.from - first, run.to - first + 1), run.conversationId, run.from))
}

/** The rows are those from `from` on: the caller has counted them, or will. */
function toActions(rows: readonly Row[], conversationId: string, from: number): StoredAction[] {
  const known = new Map<string, string>()
  /** One string for all of the same text. A slice would keep the whole record in memory as long as a state holds it. */
  const shared = (text: string): string => {
    const found = known.get(text)
    if (found === undefined) known.set(text, text)
    return found ?? text
  }
  return rows.map(({ record }, i) => {
    const version = record.indexOf(unit)
    const time = record.indexOf(unit, version + 1)
    const type = record.indexOf(unit, time + 1)
    const actor = record.indexOf(unit, type + 1)
    return {
      conversationId,
      position: from + i,
      schemaVersion: Number(record.slice(0, version)),
      occurredAt: Number(record.slice(version + 1, time)),
      type: shared(record.slice(time + 1, type)),
      actor: shared(record.slice(type + 1, actor)) || null,
      body: record.slice(actor + 1),
    }
  })
}

/** character_not_in_repertoire: not UTF-8, or a NUL; untranslatable_character: the database is in an encoding that lacks it. */
const isNotText = (error: unknown): boolean => {
  const cause = isColloquyError(error) ? error.cause : error
  return typeof cause === 'object' && cause !== null && 'code' in cause && (cause.code === '22021' || cause.code === '22P05')
}
