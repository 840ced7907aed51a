/**
 * Appends of one event, each acknowledged after its commit, next to what a team would use instead, on a Postgres that syncs every commit.
 *
 * "log.append" is the whole log: head compare-and-set, conflict and duplicate detection, feed positions, hashes stored. "hashed" computes
 * the hash chain in the same loop, as an engine does; "commands" gives each append a command id.
 */
import { randomUUID } from 'node:crypto'
import { migrate, openPostgresLog, type PostgresLog } from '@colloquy/postgres'
import pg from 'pg'
import { byteaArray, int8Array, textArray } from '../../packages/postgres/src/connections/binary-array.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { openTestPool } from '../support/test-pool.ts'
import { importEmmett, importLangGraph } from './append/peers.ts'
import {
  keepInFlight,
  newTalks,
  payloadBytes,
  payloads,
  payloadTexts,
  type Slice,
  someOf,
  stamped,
  type Talk,
  unhashed,
} from './append/workload.ts'
import { installPeers } from './install-peers.ts'
import { type Bench, medianRatio, type Report, row } from './report.ts'

const levels = [1, 32, 1_000] as const
const partitionCounts = [1, 16, 64, 256]
const talksAVariant = 4_000

interface Pace {
  readonly rounds: number
  readonly sliceMs: number
}

interface Variant {
  readonly name: string
  readonly levels: readonly number[]
  readonly open: (connections: number) => Promise<void>
  readonly run: (inFlight: number, ms: number) => Promise<Slice>
  readonly close: () => Promise<void>
}

export async function run(say: (text: string) => void, { isQuick }: Parameters<Bench>[1]): Promise<Report> {
  const pace = isQuick ? { rounds: 3, sliceMs: 400 } : { rounds: 7, sliceMs: 900 }
  installPeers(say)
  const server = await startPostgres(['max_connections=200'])
  if (!server) throw new Error('There is no Postgres to measure.')
  try {
    const version = await assertDurable(await server.createDatabase())
    say(`Postgres ${version}, fsync and synchronous_commit on; ${pace.rounds} rounds of ${pace.sliceMs} ms`)
    const samples = new Map<string, Slice[]>()
    // Each in a database of its own: what one has stored makes no other slower.
    const variants = await Promise.all([
      ours('log.append', await server.createDatabase(), (talk, i) => unhashed(talk, i)),
      ours('log.append, hashed', await server.createDatabase(), (talk, i) => stamped(talk, i, null)),
      ours('log.append, hashed, commands', await server.createDatabase(), (talk, i) => stamped(talk, i, randomUUID())),
      rawInsert(await server.createDatabase()),
      rawUnnest('raw unnest insert, bytea', await server.createDatabase(), 'bytea'),
      rawUnnest('raw unnest insert, jsonb', await server.createDatabase(), 'jsonb'),
      emmett(await server.createDatabase()),
      langGraph(await server.createDatabase()),
    ])
    for (const inFlight of levels) {
      say(`${inFlight} in flight`)
      await interleave(
        variants.filter((variant) => variant.levels.includes(inFlight)),
        inFlight,
        samples,
        pace,
      )
    }
    say('1,000 in flight over 1, 16, 64 and 256 partitions')
    const partitioned = await Promise.all(
      partitionCounts.map(async (partitions) =>
        ours(`log.append, ${partitions} partitions`, await server.createDatabase(), (talk, i) => unhashed(talk, i), partitions),
      ),
    )
    await interleave(partitioned, 1_000, samples, pace)
    return reportOf(version, samples)
  } finally {
    await server.stop()
  }
}

/** @throws when a commit would not be on the disk before it is acknowledged */
async function assertDurable(url: string): Promise<string> {
  return withClient(url, async (client) => {
    const settings: string[] = []
    for (const name of ['fsync', 'synchronous_commit', 'full_page_writes', 'server_version']) {
      settings.push((await client.query<Record<string, string>>(`show ${name}`)).rows[0]?.[name] ?? '')
    }
    const [fsync, synchronousCommit, fullPageWrites, version] = settings
    if (fsync !== 'on' || synchronousCommit !== 'on' || fullPageWrites !== 'on') {
      throw new Error(
        `fsync is ${fsync}, synchronous_commit ${synchronousCommit}, full_page_writes ${fullPageWrites}: not measured.`,
      )
    }
    return version ?? ''
  })
}

async function interleave(
  variants: readonly Variant[],
  inFlight: number,
  samples: Map<string, Slice[]>,
  { rounds, sliceMs }: Pace,
): Promise<void> {
  for (const variant of variants) {
    await variant.open(Math.min(inFlight, 32))
    // Once before it counts: plans, caches and the compiler are warm, and the conversations have begun.
    await variant.run(inFlight, sliceMs)
  }
  for (let round = 0; round < rounds; round++) {
    // Another order each round, so that no variant always runs after the same one.
    const from = round % variants.length
    for (const variant of [...variants.slice(from), ...variants.slice(0, from)]) {
      const name = `${variant.name}|${inFlight}`
      const slices = samples.get(name) ?? []
      // What the variant before left (garbage, a server that writes behind) is not counted here.
      await variant.run(inFlight, sliceMs / 4)
      slices.push(await variant.run(inFlight, sliceMs))
      samples.set(name, slices)
    }
  }
  for (const variant of variants) await variant.close()
}

async function ours(
  name: string,
  url: string,
  next: (talk: Talk, i: number) => ReturnType<typeof stamped>,
  partitions = 64,
): Promise<Variant> {
  await migrate({ url, partitions })
  let log: PostgresLog | undefined
  let talks: Talk[] = []
  let appended = 0
  return {
    name,
    levels,
    async open() {
      log = await openPostgresLog({ url })
      talks = newTalks(talksAVariant)
    },
    async run(inFlight, ms) {
      return keepInFlight(inFlight, ms, talks, async (talk) => {
        const request = next(talk, appended++)
        const [outcome] = (await log?.append([request])) ?? []
        if (outcome?.status !== 'appended') throw new Error(`An append came back as ${outcome?.status}.`)
        // What an engine keeps of an append.
        const { position, hash } = outcome.envelopes[0] as Talk['head']
        talk.head = { position, hash }
      })
    },
    close: async () => log?.close(),
  }
}

async function rawInsert(url: string): Promise<Variant> {
  await withClient(url, (client) => client.query(rawTable('raw_event', 'jsonb')))
  let pool: pg.Pool | undefined
  let talks: Talk[] = []
  let i = 0
  return {
    name: 'raw prepared INSERT',
    levels,
    async open(connections) {
      pool = await openPool(url, connections)
      talks = newTalks(talksAVariant)
    },
    run: (inFlight, ms) =>
      keepInFlight(inFlight, ms, talks, async (talk) => {
        const position = talk.head.position + 1
        await pool?.query({
          name: 'raw',
          text: 'insert into raw_event (conversation_id, position, type, payload) values ($1, $2, $3, $4)',
          values: [talk.key.conversationId, position, 'messageAdded', someOf(payloadTexts, i++)],
        })
        talk.head = { ...talk.head, position }
      }),
    close: async () => pool?.end(),
  }
}

/** As fast as rows go into a table with a key: as many in one statement as there are appends in flight, and nothing is checked. */
async function rawUnnest(name: string, url: string, type: 'bytea' | 'jsonb'): Promise<Variant> {
  await withClient(url, (client) => client.query(rawTable('raw_event', type)))
  let pool: pg.Pool | undefined
  let talks: Talk[] = []
  let i = 0
  return {
    name,
    levels: [32, 1_000],
    async open() {
      pool = await openPool(url, 1)
      talks = newTalks(talksAVariant)
    },
    async run(inFlight, ms) {
      const cpu = process.cpuUsage()
      const start = performance.now()
      let appends = 0
      while (performance.now() - start < ms) {
        const batch = Array.from({ length: inFlight }, (_, n) => someOf(talks, appends + n))
        for (const talk of batch) talk.head = { ...talk.head, position: talk.head.position + 1 }
        const from = i
        i += inFlight
        await pool?.query({
          name: 'unnest',
          text: `insert into raw_event (conversation_id, position, type, payload)
            select * from unnest($1::text[], $2::bigint[], $3::text[], $4::${type}[])`,
          values: [
            textArray(batch.map(({ key }) => key.conversationId)),
            int8Array(batch.map(({ head }) => head.position)),
            textArray(batch.map(() => 'messageAdded')),
            type === 'bytea'
              ? byteaArray(batch.map((_, n) => someOf(payloadBytes, from + n)))
              : jsonbArray(batch.map((_, n) => someOf(payloadTexts, from + n))),
          ],
        })
        appends += inFlight
      }
      const seconds = (performance.now() - start) / 1_000
      const { user, system } = process.cpuUsage(cpu)
      return { appends, perSecond: appends / seconds, cpuUs: (user + system) / appends }
    },
    close: async () => pool?.end(),
  }
}

async function emmett(url: string): Promise<Variant> {
  const { getPostgreSQLEventStore } = await importEmmett()
  let pool: pg.Pool | undefined
  let store: ReturnType<typeof getPostgreSQLEventStore> | undefined
  let talks: Talk[] = []
  let i = 0
  return {
    name: 'Emmett appendToStream, expected version',
    levels,
    async open(connections) {
      pool = await openPool(url, connections)
      store = getPostgreSQLEventStore(url, { connectionOptions: { pool } })
      await store.schema.migrate()
      talks = newTalks(talksAVariant)
    },
    run: (inFlight, ms) =>
      keepInFlight(inFlight, ms, talks, async (talk) => {
        const position = talk.head.position
        const events = [{ type: 'messageAdded', data: someOf(payloads, i++) }]
        const stored = await store?.appendToStream(talk.key.conversationId, events, { expectedStreamVersion: BigInt(position) })
        if (stored?.nextExpectedStreamVersion !== BigInt(position + 1)) throw new Error('Emmett is at another version.')
        talk.head = { ...talk.head, position: position + 1 }
      }),
    close: async () => pool?.end(),
  }
}

/** One checkpoint an event, with only the new message in it: the least that a graph would store. */
async function langGraph(url: string): Promise<Variant> {
  const { PostgresSaver } = await importLangGraph()
  let pool: pg.Pool | undefined
  let saver: InstanceType<typeof PostgresSaver> | undefined
  let talks: Talk[] = []
  let i = 0
  const idOf = (position: number): string => `00000000-0000-6000-8000-${String(position).padStart(12, '0')}`
  return {
    name: 'LangGraph PostgresSaver.put',
    levels,
    async open(connections) {
      pool = await openPool(url, connections)
      saver = new PostgresSaver(pool)
      await saver.setup()
      talks = newTalks(talksAVariant)
    },
    run: (inFlight, ms) =>
      keepInFlight(inFlight, ms, talks, async (talk) => {
        const position = talk.head.position + 1
        const parent = position === 1 ? undefined : idOf(position - 1)
        const channels = { channel_values: { messages: [someOf(payloads, i++)] }, channel_versions: { messages: position } }
        await saver?.put(
          { configurable: { thread_id: talk.key.conversationId, checkpoint_ns: '', checkpoint_id: parent } },
          { v: 4, id: idOf(position), ts: '2026-11-20T05:00:00.000Z', ...channels, versions_seen: {} },
          { source: 'loop', step: position, parents: {} },
          { messages: position },
        )
        talk.head = { ...talk.head, position }
      }),
    close: async () => pool?.end(),
  }
}

/** A jsonb in binary is a version and the text. */
function jsonbArray(texts: readonly string[]): Buffer {
  const array = byteaArray(texts.map((text) => Buffer.from(`\u0001${text}`)))
  array.writeInt32BE(3802, 8)
  return array
}

const rawTable = (name: string, type: string): string =>
  `create table if not exists ${name} (conversation_id text not null, position bigint not null, type text not null,
    payload ${type} not null, recorded_at timestamptz not null default now(), primary key (conversation_id, position))`

/** With its connections made. */
async function openPool(url: string, connections: number): Promise<pg.Pool> {
  const pool = openTestPool({ connectionString: url, max: connections })
  pool.on('error', () => {})
  // One that is in use when the server stops, after a failure, must not hide what failed.
  pool.on('connect', (client) => client.on('error', () => {}))
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()))
  for (const client of clients) client.release()
  return pool
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function reportOf(version: string, samples: ReadonlyMap<string, readonly Slice[]>): Report {
  const rates = (name: string, level: number): number[] =>
    (samples.get(`${name}|${level}`) ?? []).map(({ perSecond }) => perSecond)
  const cpu = (name: string): number[] => (samples.get(`${name}|1000`) ?? []).map(({ cpuUs }) => cpuUs)
  const names = [...new Set([...samples.keys()].map((name) => name.slice(0, name.lastIndexOf('|'))))]
  const ratio = (name: string, other: string, level: number): number => medianRatio(rates(name, level), rates(other, level))
  const hashed = 'log.append, hashed'
  const check = (promise: string, measured: number, least: number) => ({
    promise,
    measured,
    limit: `at least ${least}`,
    holds: measured >= least,
  })
  const cpuOfLog = row('', 1_000, '', cpu('log.append')).median
  const raw = 'raw prepared INSERT'
  const peer = 'Emmett appendToStream, expected version'
  return {
    bench: `append, Postgres ${version}`,
    node: process.versions.node,
    rows: [
      ...names.flatMap((name) =>
        levels.filter((level) => rates(name, level).length > 0).map((level) => row(name, level, 'appends/s', rates(name, level))),
      ),
      ...names.filter((name) => cpu(name).length > 0).map((name) => row(`client CPU: ${name}`, 1_000, 'us an append', cpu(name))),
    ],
    checks: [
      check('32 in flight, hashed: next to Emmett', ratio(hashed, peer, 32), 10),
      check('32 in flight, hashed: next to the raw INSERT', ratio(hashed, raw, 32), 2.5),
      check('1,000 in flight, hashed: next to Emmett', ratio(hashed, peer, 1_000), 15),
      check('1,000 in flight: next to the raw unnest insert', ratio('log.append', 'raw unnest insert, jsonb', 1_000), 0.6),
      check('1 in flight, hashed: next to the raw INSERT', ratio(hashed, raw, 1), 0.6),
      {
        promise: '1,000 in flight: CPU of the client for an append, hashing aside',
        measured: cpuOfLog,
        limit: 'under 6 us',
        holds: cpuOfLog < 6,
      },
    ],
  }
}
