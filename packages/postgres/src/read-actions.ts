/**
 * Reads for replay. A client spends more on a row's fields than on parsing a body, so a row is one field of text: the body behind what
 * else an action needs of its envelope. Ranges of positions keep every query on the primary key, and the next ones are asked for while
 * a page is replayed.
 */
import {
  actionPageSize,
  ColloquyError,
  type ConversationKey,
  isColloquyError,
  isForkId,
  partitionOf,
  type StoredAction,
} from '@colloquy/core'
import { CompiledQuery, sql } from 'kysely'
import { readSegments } from './ancestry.ts'
import type { LogConnection } from './connection.ts'
import { readRange } from './read.ts'
import { sha256 } from './sha256.ts'

interface Row {
  readonly record: string
}

/** Parts the fields. In an id no control character may be, and in JSON none is as it is. */
const unit = '\u001f'
const record = String.raw`schema_version || e'\x1f' || occurred_at || e'\x1f' || type || e'\x1f' || coalesce(actor, '') || e'\x1f' || convert_from(body, 'UTF8') as record`

const rangeSql = `select ${record} from envelope
where partition = $1
  and conversation_no = (select conversation_no from conversation where partition = $1 and tenant = $2 and conversation_id = $3)
  and position >= $4 and position <= $5
order by position`

/** Worth preparing on each connection, as in `append.ts`. */
export const preparedReads: ReadonlyMap<string, string> = new Map([[rangeSql, 'colloquy_actions_v1']])

/** Pages that are asked for while one is replayed. */
const pagesAhead = 2

/** See `EventLog.actions`. */
export async function* readActions(
  log: LogConnection,
  key: ConversationKey,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<readonly StoredAction[]> {
  const asked: Promise<StoredAction[]>[] = []
  for (let next = from; next <= to || asked.length > 0; ) {
    while (next <= to && asked.length <= pagesAhead) {
      const [first, last] = [next, Math.min(next + actionPageSize - 1, to)]
      const page = log.run(`read ${key.conversationId}`, () => readActionPage(log, key, first, last))
      // Heard of when its turn comes, or never, where the reader stopped before it.
      page.catch(() => {})
      asked.push(page)
      next = last + 1
    }
    yield (await asked.shift()) as StoredAction[]
  }
}

/** @throws `log_corrupt` when one is missing */
async function readActionPage(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredAction[]> {
  const page = await readRecords(log, key, from, to).catch((error: unknown) => {
    // Postgres checks text. What is not, the reader of the bytes will say, with its position.
    if (isNotText(error)) return readRange(log, key, from, to)
    throw error
  })
  if (page.length === to - from + 1) return page
  const envelopes = await readRange(log, key, from, to)
  const hole = envelopes.findIndex(({ position }, i) => position !== from + i)
  throw new ColloquyError('log_corrupt', {
    conversationId: key.conversationId,
    position: from + (hole === -1 ? envelopes.length : hole),
    problem: 'the envelope is missing, although the conversation goes on',
  })
}

async function readRecords(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredAction[]> {
  if (isForkId(key.conversationId)) return readForkRecords(log, key, from, to)
  const partition = partitionOf(key, log.partitions, sha256)
  const query = CompiledQuery.raw(rangeSql, [partition, key.tenant, key.conversationId, from, to])
  const { rows } = await log.asTenant(key.tenant, (kysely) => kysely.executeQuery<Row>(query))
  return toActions(rows, key.conversationId, from)
}

/** The runs of all ancestors in one query. `offset 0` holds each one to its own lookup by the primary key. */
async function readForkRecords(log: LogConnection, key: ConversationKey, from: number, to: number): Promise<StoredAction[]> {
  const runs = (await readSegments(log, key))
    .map((segment) => ({ ...segment, from: Math.max(from, segment.from), to: Math.min(to, segment.to) }))
    .filter((run) => run.from <= run.to)
  if (runs.length === 0) return []
  const partition = partitionOf(key, log.partitions, sha256)
  const values = runs.map((run) => sql`(${run.conversationNo}::bigint, ${run.from}::bigint, ${run.to}::bigint)`)
  const { rows } = await log.asTenant(key.tenant, (kysely) =>
    sql<Row>`
      select e.record
      from (values ${sql.join(values)}) as run (conversation_no, first, last)
      cross join lateral (
        select position, ${sql.raw(record)} from envelope
        where partition = ${partition} and conversation_no = run.conversation_no
          and position >= run.first and position <= run.last
        offset 0
      ) e
      order by e.position
    `.execute(kysely),
  )
  const total = runs.reduce((sum, run) => sum + run.to - run.from + 1, 0)
  // With a hole it is not known which row is whose.
  if (rows.length !== total) return []
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
