/**
 * Reads for replay. A client spends more on rows and their fields than on parsing bodies, so the server puts the envelopes of a group
 * into one row: each field of them as one text. Rows are taken as they arrive, so that the server makes the next ones while these are
 * replayed, and the next page is asked for before this one has ended. Measured on 2026-11-27 at 1,000 envelopes of 470 bytes, CPU without
 * parsing, in us an envelope: with a row each 1.9 of the server and 1.2 or more of the client, in groups 1.1 and 0.9.
 *
 * Where a group is not plain (something is missing, a body is large or not UTF-8, or U+FFFD, to which such bytes are decoded, is in one),
 * its envelopes are read one by one, as they lie.
 */
import {
  actionPageSize,
  ColloquyError,
  type ConversationKey,
  isForkId,
  pageBytes,
  partitionOf,
  type StoredAction,
} from '@colloquy/core'
import type { LogConnection } from '../connections/connection.ts'
import { sha256 } from '../sha256.ts'
import { readSegments } from './ancestry.ts'
import { arrivals } from './arrivals.ts'
import { readRange } from './read.ts'

/** Envelopes in one row. A body that is too large for them all to be a page together is left out. */
const groupSize = 64
const groupedBytes = pageBytes / groupSize

/** Parts the values of a field. In an id no control character may be, and in JSON none is as it is. */
const separator = '\u001e'

const perEnvelope = (value: string): string => String.raw`string_agg(${value}, e'\x1e')`

/**
 * Groups in order, up to the one that fills the page. In the order in which they are made: to sort them would be to wait for the last.
 * A group comes from one lookup by the primary key. The bounds are given to the series as what is not known beforehand: a plan for
 * these bounds looks cheaper than one for any, so Postgres would plan each time, for as long as 200 envelopes take to read.
 */
const groupsSql = String.raw`select first::text, bodies, times, types, actors, versions
from (
  select *, sum(coalesce(octet_length(bodies), 0)) over (rows unbounded preceding) as bytes
  from generate_series((select $4::bigint), (select $5::bigint), ${groupSize}) as first
  cross join lateral (
    select string_agg(body, '\x1e'::bytea) filter (where octet_length(body) <= ${groupedBytes}) as bodies,
      ${perEnvelope('occurred_at::text')} as times,
      ${perEnvelope('type')} as types,
      ${perEnvelope("coalesce(actor, '')")} as actors,
      ${perEnvelope('schema_version::text')} as versions
    from (
      select type, schema_version, occurred_at, actor, body
      from envelope
      where partition = $1
        and conversation_no = (
          select conversation_no from conversation where partition = $1 and tenant = $2 and conversation_id = $3
        )
        and position >= first and position <= least(first + ${groupSize - 1}, $5)
      order by position
    ) of_group
  ) grouped
) page
where bytes - coalesce(octet_length(bodies), 0) < ${pageBytes}`

/** In the order of the columns. */
type Group = readonly [
  first: string,
  bodies: string | Uint8Array | null,
  times: string | null,
  types: string,
  actors: string,
  versions: string,
]

/** Pages that are asked for while one is replayed. */
const pagesAhead = 1

/** Positions of a history that one conversation holds: a fork's own ones, or those that it shares with an ancestor. */
interface Run {
  readonly key: ConversationKey
  readonly from: number
  readonly to: number
}

interface AskedPage extends Run {
  readonly groups: AsyncIterable<Group>
}

/** See `EventLog.actions`. */
export async function* readActions(
  log: LogConnection,
  key: ConversationKey,
  range: { readonly from: number; readonly to: number },
): AsyncGenerator<readonly StoredAction[]> {
  const toAsk = pagesOf(await log.run(`read ${key.conversationId}`, () => runsOf(log, key, range)))
  const asked: AskedPage[] = []
  for (;;) {
    while (toAsk.length > 0 && asked.length <= pagesAhead) asked.push(ask(log, toAsk.shift() as Run))
    const page = asked.shift()
    if (!page) return
    let next = page.from
    for await (const group of page.groups) {
      const last = Math.min(next + groupSize - 1, page.to)
      const grouped = toActions(group, page.key.conversationId, next, last)
      if (grouped) yield grouped
      else yield* readOneByOne(log, { ...page, from: next, to: last })
      next = last + 1
    }
    if (next === page.from) throw missing(page.key, next)
    // Cut off where it got too large. What was asked ahead waits behind it.
    if (next <= page.to) asked.unshift(ask(log, { ...page, from: next }))
  }
}

async function runsOf(log: LogConnection, key: ConversationKey, { from, to }: Omit<Run, 'key'>): Promise<Run[]> {
  const segments = isForkId(key.conversationId) ? await readSegments(log, key) : []
  if (segments.length === 0) return [{ key, from, to }]
  return segments.map((segment) => ({
    key: { tenant: key.tenant, conversationId: segment.conversationId },
    from: Math.max(from, segment.from),
    to: Math.min(to, segment.to),
  }))
}

function pagesOf(runs: readonly Run[]): Run[] {
  return runs.flatMap(({ key, from, to }) =>
    Array.from({ length: Math.max(0, Math.ceil((to - from + 1) / actionPageSize)) }, (_, i) => {
      const first = from + i * actionPageSize
      return { key, from: first, to: Math.min(first + actionPageSize - 1, to) }
    }),
  )
}

function ask(log: LogConnection, { key, from, to }: Run): AskedPage {
  const { tenant, conversationId } = key
  const values = [partitionOf(key, log.partitions, sha256), tenant, conversationId, from, to]
  const query = { name: 'colloquy_actions_v2', text: groupsSql, values }
  const groups = arrivals<Group>((arrived) =>
    log.run(`read ${conversationId}`, () => log.readRows(tenant, query, (row) => arrived(row as unknown as Group))),
  )
  return { key, from, to, groups }
}

/** The actions at `from` to `to`; undefined where the group is not plainly these. */
function toActions(
  [first, joined, times, types, actors, versions]: Group,
  conversationId: string,
  from: number,
  to: number,
): StoredAction[] | undefined {
  if (Number(first) !== from || joined === null || times === null) return undefined
  const bodies = textOf(joined)?.split(separator)
  const occurredAt = times.split(separator)
  const type = types.split(separator)
  const actor = actors.split(separator)
  const schemaVersion = versions.split(separator)
  const count = to - from + 1
  if ([bodies, occurredAt, type, actor, schemaVersion].some((values) => values?.length !== count)) return undefined
  const known = new Map<string, string>()
  /** One string for all of the same text. A part of the joined one would keep that in memory as long as a state holds it. */
  const shared = (text: string): string => {
    const found = known.get(text)
    if (found === undefined) known.set(text, text)
    return found ?? text
  }
  return (bodies as string[]).map((body, i) => ({
    conversationId,
    position: from + i,
    schemaVersion: Number(schemaVersion[i]),
    occurredAt: Number(occurredAt[i]),
    type: shared(type[i] as string),
    actor: shared(actor[i] as string) || null,
    body,
  }))
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Undefined for what is not UTF-8, or may have been something else before it was decoded. */
function textOf(bytes: string | Uint8Array): string | undefined {
  if (typeof bytes === 'string') return bytes.includes('\ufffd') ? undefined : bytes
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

async function* readOneByOne(log: LogConnection, { key, from, to }: Run): AsyncGenerator<readonly StoredAction[]> {
  for (let next = from; next <= to; ) {
    const envelopes = await log.run(`read ${key.conversationId}`, () => readRange(log, key, next, to))
    const hole = envelopes.findIndex(({ position }, i) => position !== next + i)
    if (hole !== -1 || envelopes.length === 0) throw missing(key, next + Math.max(0, hole))
    yield envelopes
    next += envelopes.length
  }
}

function missing({ conversationId }: ConversationKey, position: number): ColloquyError {
  const problem = 'the envelope is missing, although the conversation goes on'
  return new ColloquyError('log_corrupt', { conversationId, position, problem })
}
