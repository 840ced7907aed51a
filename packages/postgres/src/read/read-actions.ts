/**
 * Reads for replay. A client spends more on rows and their fields than on parsing bodies, so the server puts the envelopes of a group
 * into one row: each field of them as one text. Rows are taken as they arrive, so that the server makes the next ones while these are
 * replayed, and the next page is asked for before this one has ended. Measured on 2026-11-27 at 5,000 envelopes of 470 bytes, CPU without
 * parsing, in us an envelope: rows of jsonb 2.0 of the server and 1.9 of the client, in groups 1.0 and 0.8.
 *
 * Where a group is not plain (something is missing, a body is larger than any group may have one, or not UTF-8, or U+FFFD, to which such
 * bytes are decoded, is in one), its envelopes are read one by one, as they lie. Where only the page has too many groups for it, the rest of
 * the page is asked for anew, in a smaller one.
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

/** Envelopes in one row. */
const groupSize = 64
/**
 * Groups in one page. The first one has those of 2,000 envelopes, which a load then reads in one query; pages grow while their groups
 * are small, and are cut where one is not.
 */
const groupsAtFirst = 32
const groupsAtMost = Math.floor(actionPageSize / groupSize)

/**
 * Part the values of a field, and the parts of a value. Hardly any header has a control character; in JSON none is as it is. A value that
 * holds the first makes more values than there are envelopes, so none may be missing; one that holds the second is given as one of more
 * parts than any has.
 */
const separator = '\u001e'
const partSeparator = '\u001f'

/** Bytes of a body that 64 of can be in one page. */
const groupedBodyBytes = Math.floor(pageBytes / groupSize)

/**
 * Groups in order: to sort them would be to wait for the last. A group comes from one lookup by the primary key, without the bodies that
 * are too large for it, and without any where they are too large together. (To end the page there would take a window, which copies all
 * that goes through it, a quarter of what the server does here.) The bounds are given to the series as what is not known beforehand: a
 * plan for these bounds looks cheaper than one for any, so Postgres would plan each time, for as long as 200 envelopes take to read.
 */
const groupsSql = String.raw`select first::text, case when octet_length(bodies) <= $6 then bodies end as bodies, largest::text, times, kinds
from generate_series((select $4::bigint), (select $5::bigint), ${groupSize}) as first
cross join lateral (
  select string_agg(body, '\x1e'::bytea) filter (where octet_length(body) <= $7) as bodies,
    max(octet_length(body)) as largest,
    string_agg(occurred_at::text, ',') as times,
    string_agg(case
      when actor is null and schema_version = 1 and strpos(type, e'\x1f') = 0 then type
      when strpos(type || coalesce(actor, ''), e'\x1f') = 0 then concat_ws(e'\x1f', type, schema_version, actor)
      else e'\x1f\x1f\x1f'
    end, e'\x1e') as kinds
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
) grouped`

/** In the order of the columns. */
type Group = readonly [
  first: string,
  bodies: string | Uint8Array | null,
  largest: string | null,
  times: string | null,
  kinds: string | null,
]

/** Positions of a history that one conversation holds: a fork's own ones, or those that it shares with an ancestor. */
interface Run {
  readonly key: ConversationKey
  readonly from: number
  readonly to: number
}

interface AskedPage extends Run {
  readonly groups: AsyncIterable<Group>
  readonly groupCount: number
}

/** See `EventLog.actions`. */
export async function* readActions(
  log: LogConnection,
  key: ConversationKey,
  range: { readonly from: number; readonly to: number },
): AsyncGenerator<readonly StoredAction[]> {
  const kindsOf = kindReader()
  const toAsk = await log.run(`read ${key.conversationId}`, () => runsOf(log, key, range))
  let groupCount = groupsAtFirst
  const askNext = (): AskedPage | undefined => {
    const run = takePage(toAsk, groupCount)
    return run && ask(log, run)
  }
  let ahead: AskedPage | undefined
  for (let page = askNext(); page; page = ahead ?? askNext()) {
    ahead = undefined
    let next = page.from
    let largestGroup = 0
    let isCut = false
    for await (const group of page.groups) {
      isCut = isTooLarge(group, page.groupCount)
      if (isCut) break
      const last = Math.min(next + groupSize - 1, page.to)
      const grouped = toActions(group, kindsOf, page, next, last)
      // Not before the first group: what is too large would be read twice over. Then the server makes it while this page is replayed.
      ahead ??= askNext()
      if (grouped) yield grouped
      else yield* readOneByOne(log, { ...page, from: next, to: last })
      largestGroup = Math.max(largestGroup, group[1]?.length ?? 0)
      next = last + 1
    }
    if (isCut) {
      // What was asked ahead is too large as well, as a rule, and stands behind what is asked anew.
      toAsk.unshift(runFrom(next, page), ...(ahead ? [runFrom(ahead.from, ahead)] : []))
      ahead = undefined
      groupCount = Math.ceil(page.groupCount / 4)
    } else if (next <= page.to) {
      throw missing(page.key, next)
    } else {
      const more = Math.min(groupCount * 2, groupsAtMost)
      if (largestGroup <= bodyBytes(more)) groupCount = more
    }
  }
}

/** Bytes of the bodies of one group, where a page is to have so many: together they are at most `pageBytes`. */
const groupBytes = (groupCount: number): number => Math.floor(pageBytes / groupCount)
/** Bytes of one body of such a group. */
const bodyBytes = (groupCount: number): number => Math.min(Math.floor(groupBytes(groupCount) / 2), groupedBodyBytes)

/** Whether bodies were left out, or all of them, that a page of fewer groups would have. */
function isTooLarge([, joined, largest, times]: Group, groupCount: number): boolean {
  if (groupCount === 1 || times === null || Number(largest) > groupedBodyBytes) return false
  return joined === null || Number(largest) > bodyBytes(groupCount)
}

const runFrom = (from: number, { key, to }: Run): Run => ({ key, from, to })

/** Takes the positions of the next page. */
function takePage(runs: Run[], groupCount: number): Run | undefined {
  const run = runs.shift()
  if (!run) return undefined
  const to = Math.min(run.to, run.from + groupCount * groupSize - 1)
  if (to < run.to) runs.unshift(runFrom(to + 1, run))
  return { ...run, to }
}

async function runsOf(log: LogConnection, key: ConversationKey, { from, to }: Omit<Run, 'key'>): Promise<Run[]> {
  const segments = isForkId(key.conversationId) ? await readSegments(log, key) : []
  const runs = segments.map((segment) => ({
    key: { tenant: key.tenant, conversationId: segment.conversationId },
    from: Math.max(from, segment.from),
    to: Math.min(to, segment.to),
  }))
  return (runs.length === 0 ? [{ key, from, to }] : runs).filter((run) => run.from <= run.to)
}

function ask(log: LogConnection, { key, from, to }: Run): AskedPage {
  const { tenant, conversationId } = key
  const groupCount = Math.ceil((to - from + 1) / groupSize)
  const limits = [groupBytes(groupCount), bodyBytes(groupCount)]
  const values = [partitionOf(key, log.partitions, sha256), tenant, conversationId, from, to, ...limits]
  const query = { name: 'colloquy_actions_v5', text: groupsSql, values }
  const groups = arrivals<Group>((arrived) =>
    log.run(`read ${conversationId}`, () => log.readRows(tenant, query, (row) => arrived(row as unknown as Group))),
  )
  return { key, from, to, groups, groupCount }
}

/** What many envelopes have in common. */
type Kind = Pick<StoredAction, 'type' | 'schemaVersion' | 'actor'>

/** The actions at `from` to `to`; undefined where the group is not plainly these. */
function toActions(
  [first, joined, largest, times, joinedKinds]: Group,
  kindsOf: (joined: string) => readonly Kind[] | undefined,
  { key: { conversationId }, groupCount }: AskedPage,
  from: number,
  to: number,
): StoredAction[] | undefined {
  if (Number(first) !== from || joined === null || times === null || joinedKinds === null) return undefined
  // A body was left out; one that holds a separator would then stand in for it.
  if (Number(largest) > bodyBytes(groupCount)) return undefined
  const bodies = textOf(joined)?.split(separator)
  const occurredAt = JSON.parse(`[${times}]`) as readonly number[]
  const kinds = kindsOf(joinedKinds)
  const count = to - from + 1
  if (bodies?.length !== count || occurredAt.length !== count || kinds?.length !== count) return undefined
  return bodies.map((body, i) => {
    const { type, schemaVersion, actor } = kinds[i] as Kind
    return { conversationId, position: from + i, schemaVersion, occurredAt: occurredAt[i] as number, type, actor, body }
  })
}

/** Kinds that are kept: an actor may be a new one each time. */
const kindsKept = 1_000

/**
 * Reads the kinds of groups, most of which are those of the group before or of few others. Undefined where one is not plain.
 */
function kindReader(): (joined: string) => readonly Kind[] | undefined {
  const known = new Map<string, Kind>()
  let last: { readonly joined: string; readonly kinds: readonly Kind[] | undefined } | undefined
  return (joined) => {
    if (last?.joined !== joined) {
      const kinds = joined.split(separator).map((text) => known.get(text) ?? learn(text))
      last = { joined, kinds: kinds.every((kind) => kind !== undefined) ? kinds : undefined }
    }
    return last.kinds
  }

  function learn(text: string): Kind | undefined {
    const parts = text.split(partSeparator)
    if (parts.length > 3) return undefined
    const [type, schemaVersion = '1', actor = null] = parts
    const kind = { type: type as string, schemaVersion: Number(schemaVersion), actor }
    if (known.size >= kindsKept) known.clear()
    known.set(text, kind)
    return kind
  }
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
