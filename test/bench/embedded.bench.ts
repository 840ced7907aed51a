/** The log inside the process: how long it takes to open, and what appends cost next to PGlite's own `query()`. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type AppendRequest, encodeBody, genesisHash, type Head, messageAdded, stamp, textMessage } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { openEmbeddedLog, type PostgresLog } from '@colloquy/postgres'
import { PGlite } from '@electric-sql/pglite'
import { type CompiledQuery, sql } from 'kysely'
import { byteaArray, int8Array, textArray } from '../../packages/postgres/src/connections/binary-array.ts'
import { medianRatio, type Report, row } from './report.ts'

const openRounds = 3
const appendRounds = 5
const singles = 500
const inFlight = 32
const batch = 1_000
/** A batch of as many envelopes, of few conversations. */
const few = 20
const batches = 5

export async function run(say: (text: string) => void): Promise<Report> {
  const directory = await mkdtemp(join(tmpdir(), 'colloquy-bench-'))
  try {
    const open = await measureOpening(directory, say)
    const append = await measureAppends(directory, say)
    const opened = medianRatio(open.opened, open.bare)
    const fresh = medianRatio(open.bareFresh, open.fresh)
    const prepared = medianRatio(append.query, append.inFlight)
    const perSecond = 1e6 / Math.min(...append.batchedFew)
    return {
      bench: 'embedded',
      node: process.versions.node,
      rows: [
        row('loading the packages', 1, 'ms', open.loaded),
        row('PGlite, a directory', 1, 'ms', open.bare),
        row('the log, a directory', 1, 'ms', open.opened),
        row('PGlite, a new directory (initdb)', 1, 'ms', open.bareFresh),
        row('the log, a new directory', 1, 'ms', open.fresh),
        row('PGlite query(), an insert of the same bytes', 1, 'us', append.query),
        row('append, one after the other', 1, 'us', append.single),
        row('append, in flight', inFlight, 'us', append.inFlight),
        row(`append, envelopes of ${few} conversations in a call`, batch, 'us', append.batchedFew),
        row('append, new conversations in a call', batch, 'us', append.batched),
        row('bare unnest insert of as many envelopes', batch, 'us', append.bareEnvelopes),
        row('bare unnest inserts of as many conversations and envelopes', batch, 'us', append.bareBoth),
      ],
      checks: [
        {
          promise: 'a directory opens as fast as bare PGlite',
          measured: opened,
          limit: 'at most 1.2 times',
          holds: opened <= 1.2,
        },
        { promise: 'a new one is there faster than by initdb', measured: fresh, limit: 'at least 3 times', holds: fresh >= 3 },
        {
          promise: 'appends in flight are faster than query()',
          measured: prepared,
          limit: 'at least 3 times',
          holds: prepared >= 3,
        },
        {
          promise: `envelopes a second, ${batch} of ${few} conversations in a call, best round`,
          measured: perSecond,
          limit: 'at least 100,000',
          holds: perSecond >= 100_000,
        },
      ],
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/**
 * Each in a process of its own, from the call to the first answer: what was compiled for one must not help the next. The packages are those
 * that are published, not their sources; loading them is a row of its own.
 */
async function measureOpening(base: string, say: (text: string) => void) {
  const bare = (directory: string) => `
    const { PGlite } = await import('@electric-sql/pglite')
    const start = performance.now()
    const pglite = await PGlite.create({ dataDir: ${JSON.stringify(directory)} })
    await pglite.query('select 1')`
  const ours = (directory: string) => `
    await import('@electric-sql/pglite')
    const { openEmbeddedLog } = await import('@colloquy/postgres')
    const start = performance.now()
    const log = await openEmbeddedLog({ directory: ${JSON.stringify(directory)} })
    await log.head({ tenant: 'default', conversationId: 'none' })`
  const timed = async (code: string): Promise<number> => {
    const program = `${code}; console.log(performance.now() - start); process.exit(0)`
    const args = ['--input-type=module', '--eval', program]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname })
    return Number(stdout)
  }
  const loaded = `const start = performance.now(); await import('@colloquy/postgres')`
  const samples = {
    loaded: [] as number[],
    bare: [] as number[],
    opened: [] as number[],
    bareFresh: [] as number[],
    fresh: [] as number[],
  }
  say('building the packages')
  await promisify(execFile)('npx', ['tsc', '-b', 'tsconfig.json'], { cwd: join(import.meta.dirname, '../..') })
  say('opening directories')
  await (await PGlite.create({ dataDir: join(base, 'bare') })).close()
  // Also sees to it that there is a template, as there is after the first store of a machine.
  await (await openEmbeddedLog({ directory: join(base, 'ours') })).close()
  for (let round = 0; round < openRounds; round++) {
    samples.loaded.push(await timed(loaded))
    samples.bare.push(await timed(bare(join(base, 'bare'))))
    samples.opened.push(await timed(ours(join(base, 'ours'))))
    samples.bareFresh.push(await timed(bare(join(base, `bare-${round}`))))
    samples.fresh.push(await timed(ours(join(base, `ours-${round}`))))
  }
  return samples
}

async function measureAppends(base: string, say: (text: string) => void) {
  say('appending')
  const plain = await PGlite.create({ dataDir: join(base, 'plain') })
  await plain.exec(
    'create table plain_event (conversation_id text, position int, type text, body text, primary key (conversation_id, position))',
  )
  await using log = await openEmbeddedLog({ directory: join(base, 'appends') })
  await createBareTables(log)
  const samples = {
    query: [] as number[],
    single: [] as number[],
    inFlight: [] as number[],
    batchedFew: [] as number[],
    batched: [] as number[],
    bareEnvelopes: [] as number[],
    bareBoth: [] as number[],
  }
  const text = Buffer.from(body).toString()
  for (let round = -1; round < appendRounds; round++) {
    const timed = async (into: number[], envelopes: number, work: () => Promise<void>) => {
      const start = performance.now()
      await work()
      // The first round only warms up.
      if (round >= 0) into.push(((performance.now() - start) * 1_000) / envelopes)
    }
    await timed(samples.query, singles, async () => {
      for (let i = 0; i < singles; i++) {
        await plain.query('insert into plain_event values ($1, $2, $3, $4)', [`plain-${round}`, i, 'messageAdded', text])
      }
    })
    await timed(samples.single, singles, () => appendInTurn(log, `single-${round}`, singles))
    await timed(samples.inFlight, singles, async () => {
      const each = Math.ceil(singles / inFlight)
      await Promise.all(Array.from({ length: inFlight }, (_, i) => appendInTurn(log, `flight-${round}-${i}`, each)))
    })
    await timed(samples.batched, batch * batches, async () => {
      for (let i = 0; i < batches; i++) {
        const requests = Array.from({ length: batch }, (_, n) => requestFor(`batch-${round}-${i}-${n}`))
        const outcomes = await log.append(requests)
        if (outcomes.some(({ status }) => status !== 'appended')) throw new Error('An append was refused.')
      }
    })
    await timed(samples.batchedFew, batch * batches, async () => {
      for (let i = 0; i < batches; i++) {
        const requests = Array.from({ length: few }, (_, n) => requestOf(`few-${round}-${i}-${n}`, batch / few))
        const outcomes = await log.append(requests)
        if (outcomes.some(({ status }) => status !== 'appended')) throw new Error('An append was refused.')
      }
    })
    // What no append can be faster than: the same rows and keys, without the function, and made before.
    const rows = Array.from({ length: batches }, (_, i) => bareRows(log, (round + 1) * batches + i))
    for (const [into, insertsOf] of [
      [samples.bareEnvelopes, ({ envelopes }: BareRows) => [envelopes]],
      [samples.bareBoth, ({ moreEnvelopes, conversations }: BareRows) => [conversations, moreEnvelopes]],
    ] as const) {
      await timed(into, batch * batches, async () => {
        for (const each of rows) for (const insert of insertsOf(each)) await log.kysely.executeQuery(insert)
      })
    }
  }
  await plain.close()
  return samples
}

/** As `envelope` and `conversation`, with their keys. */
async function createBareTables({ kysely }: PostgresLog): Promise<void> {
  for (const [bare, like] of [
    ['bare_envelope', 'envelope'],
    ['bare_conversation', 'conversation'],
  ] as const)
    await sql`create table ${sql.table(bare)} (like ${sql.table(like)} including indexes including storage)`.execute(kysely)
}

interface BareRows {
  readonly envelopes: CompiledQuery
  readonly moreEnvelopes: CompiledQuery
  readonly conversations: CompiledQuery
}

function bareRows({ kysely }: PostgresLog, nth: number): BareRows {
  const requests = Array.from({ length: batch }, (_, n) => requestFor(`bare-${nth}-${n}`))
  const stamped = requests.flatMap(({ envelopes }) => envelopes)
  const numbers = stamped.map((_, n) => nth * batch + n)
  const types = textArray(stamped.map(({ type }) => type))
  const tenants = textArray(stamped.map(({ tenant }) => tenant))
  const [bodies, salts, commits, hashes] = (['body', 'salt', 'commit', 'hash'] as const).map((field) =>
    byteaArray(stamped.map((envelope) => envelope[field])),
  )
  const times = int8Array(stamped.map(({ occurredAt }) => occurredAt))
  const envelopesOf = (partition: number) =>
    sql`
      insert into bare_envelope
        (partition, schema_version, conversation_no, position, feed_position, occurred_at, recorded_at, tenant, type, body, salt, commitment, hash)
      select ${partition}::int, 1, n, 1, n, at, at, tenant, type, body, salt, commitment, hash
      from (
        select unnest(${int8Array(numbers)}::bigint[]) as n, unnest(${times}::bigint[]) as at, unnest(${tenants}::text[]) as tenant,
          unnest(${types}::text[]) as type, unnest(${bodies}::bytea[]) as body, unnest(${salts}::bytea[]) as salt,
          unnest(${commits}::bytea[]) as commitment, unnest(${hashes}::bytea[]) as hash
      ) rows
    `.compile(kysely)
  return {
    envelopes: envelopesOf(0),
    moreEnvelopes: envelopesOf(1),
    conversations: sql`
      insert into bare_conversation
        (partition, conversation_no, tenant, conversation_id, head_position, head_hash, head_occurred_at, archived)
      select 0, n, tenant, id, 1, hash, at, false
      from (
        select unnest(${int8Array(numbers)}::bigint[]) as n, unnest(${tenants}::text[]) as tenant,
          unnest(${textArray(requests.map(({ key }) => key.conversationId))}::text[]) as id, unnest(${hashes}::bytea[]) as hash,
          unnest(${times}::bigint[]) as at
      ) rows
    `.compile(kysely),
  }
}

async function appendInTurn(log: PostgresLog, conversationId: string, count: number): Promise<void> {
  let head: Pick<Head, 'position' | 'hash'> | undefined
  for (let i = 0; i < count; i++) {
    const request = requestFor(conversationId, head)
    const [outcome] = await log.append([request])
    if (outcome?.status !== 'appended') throw new Error(`The append came back as ${outcome?.status}.`)
    head = outcome.envelopes[0]
  }
}

/** About 400 bytes, as a chat message has. */
const body = encodeBody(
  messageAdded({ message: textMessage('m1', 'user', 'what people write '.repeat(18)), tokenCount: 80 }),
  10_000,
)
const salt = new Uint8Array(16)

function requestFor(conversationId: string, head?: Pick<Head, 'position' | 'hash'>): AppendRequest {
  return requestOf(conversationId, 1, head)
}

function requestOf(conversationId: string, count: number, head?: Pick<Head, 'position' | 'hash'>): AppendRequest {
  const key = { tenant: 'default', conversationId }
  const expected = head ?? { position: 0, hash: genesisHash(key, sha256) }
  let previousHash = expected.hash
  const envelopes = Array.from({ length: count }, (_, i) => {
    const header = {
      ...key,
      position: expected.position + 1 + i,
      type: messageAdded.type,
      schemaVersion: 1,
      occurredAt: 1_767_225_600_000_000,
      commandId: null,
      commandIndex: null,
      actor: null,
      cause: null,
      keyId: null,
    }
    const envelope = stamp(header, body, { previousHash, salt }, sha256)
    previousHash = envelope.hash
    return envelope
  })
  return { key, expected, envelopes }
}
