/** The SQL of the repository keeps the rules by which the log can be spread over machines: the migrations, and each statement as it is sent. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createEngine } from '@colloquy/engine'
import { migrate, openPostgresLog, postgresMemoryIndex, subscribe } from '@colloquy/postgres'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, describe, expect, test } from 'vitest'
import { say } from './support/given.ts'
import { appendTo, newKey } from './support/log-writer.ts'
import { startPostgres } from './support/postgres-server.ts'
import { migrationProblems, statementProblems } from './support/sql-rules.ts'
import { openTestPool } from './support/test-pool.ts'

const root = join(import.meta.dirname, '..')
const server = await startPostgres()
afterAll(() => server?.stop())

describe('the rules find', () => {
  test.each<[string, string]>([
    ['create table t (id bigint primary key, partition int)', 'a key begins with id, not with partition'],
    ['create table t (\n  partition int,\n  id bigint,\n  unique (id, partition)\n)', 'a key begins with id, not with partition'],
    ['create unique index on envelope (tenant, partition)', 'a key begins with tenant, not with partition'],
    ['create table t (partition int, n bigserial)', 'a sequence has gaps, and is not one across machines'],
    ['create table t (partition int, n bigint generated always as identity)', 'an identity column is a sequence'],
    ['create table t (partition int, x xid8)', 'transaction ids order nothing across machines'],
    ['create trigger t before insert on envelope execute function f()', 'a trigger is nothing to rely on'],
    ['alter table t add constraint known check (n > 0)', 'an error must not be told by the name of a constraint'],
    ['create table t (n int); create table u (n int)', 'one statement a query string'],
    [
      'create function f() returns void language plpgsql as $$ begin update conversation set archived = true; end $$',
      'a statement on conversation names no partition',
    ],
    [
      'create function f() returns void language plpgsql as $$ begin perform pg_advisory_xact_lock(1); end $$',
      'an advisory lock holds on one machine only',
    ],
  ])('in a migration: %s', (text, problem) => {
    expect(migrationProblems(text)).toEqual([problem])
  })

  test.each<[string, string]>([
    ['select * from envelope where conversation_no = $1', 'a statement on envelope names no partition'],
    ['insert into "media" ("hash", "bytes") values ($1, $2)', 'a statement on media names no partition'],
    ['delete from snapshot where position > $1', 'a statement on snapshot names no partition'],
    ['select 1 from "partition" join "conversation" on true', 'a statement on conversation names no partition'],
    ['delete from "subscription" where "name" = $1', 'a statement on subscription names no partition'],
    ["select pg_notify('c', '')", 'only a signal notifies'],
    ['select pg_try_advisory_lock(1)', 'an advisory lock holds on one machine only'],
    ['select xmin from envelope where partition = $1', 'transaction ids order nothing across machines'],
    ['select name from job limit 1 for update skip locked', 'skip locked names no partition'],
    [
      'insert into media (partition, hash) values ($1, $2) on conflict on constraint media_pkey do nothing',
      'an error must not be told by the name of a constraint',
    ],
    ['select 1; select 2', 'one statement a query string'],
  ])('in a statement: %s', (text, problem) => {
    expect(statementProblems(text)).toEqual([problem])
  })

  test('nothing in what is right, and nothing in texts and comments', () => {
    expect(statementProblems(`select 'a;b xmin' from envelope e -- ; serial\n where e.partition = $1`)).toEqual([])
    expect(statementProblems('insert into "media" ("partition", "hash") values ($1, $2) on conflict do nothing')).toEqual([])
    expect(migrationProblems('create table t (partition int, n bigint, primary key (partition, n))')).toEqual([])
  })
})

test('every migration keeps the rules', async () => {
  const directory = join(root, 'migrations')
  const files = (await readdir(directory)).filter((name) => name.endsWith('.sql'))
  expect(files).toContain('0001_log.sql')
  for (const name of files) expect(migrationProblems(await readFile(join(directory, name), 'utf8')), name).toEqual([])
})

test('only signals notify, and no code tells an error by the name of a constraint', async () => {
  const directory = join(root, 'packages/postgres/src')
  const files = (await readdir(directory, { recursive: true })).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
  )
  expect(files.length).toBeGreaterThan(20)
  for (const name of files) {
    const source = await readFile(join(directory, name), 'utf8')
    if (!name.startsWith('signals')) expect(source, name).not.toMatch(/pg_notify|[`'"]\s*(un)?listen\s|[`'"]\s*notify\s/i)
    expect(source, name).not.toMatch(/\.constraint\b/)
  }
})

describe.skipIf(!server).each(['function', 'statements'] as const)('what is sent, appends by %s', (appendBy) => {
  test('keeps the rules, in all that a log does', async () => {
    const url = (await server?.createDatabase()) ?? ''
    await migrate({ url, partitions: 4 })
    const sent = new Set<string>()
    const pool = openTestPool({ connectionString: url })
    const kysely = new Kysely({
      dialect: new PostgresDialect({ pool }),
      log: ({ query }) => void sent.add(query.sql),
    })
    const log = await openPostgresLog({ kysely, appendBy })
    const engine = createEngine({ log, snapshotEvery: 2 })
    try {
      const conversation = await engine.open('c')
      for (let i = 0; i < 6; i++) await conversation.dispatch(say(`m${i}`), { commandId: `k${i}` })
      await conversation.dispatch([say('a'), say('b')], { commandId: 'many' })
      await conversation.dispatch([say('a'), say('b')], { commandId: 'many' })
      const fork = await engine.fork('c', 3)
      await fork.dispatch(say('in the fork'))
      const deeper = await engine.fork(fork.id, 5)
      await engine.replay(deeper.id)
      const [one, two] = [newKey('default'), newKey('default')]
      await Promise.all([appendTo(log, one, [{ commandId: 'x' }, {}]), appendTo(log, two, [{}])])
      // A conflict, which reads what was missed.
      await using other = createEngine({ log })
      await (await other.open('c')).dispatch(say('other'))
      await conversation.dispatch(say('after a conflict'))

      const key = { tenant: 'default', conversationId: 'c' }
      const head = await log.head(key)
      if (head) await log.outcome({ key, position: head.position, hash: head.hash })
      for (const id of ['c', fork.id]) {
        const each = { tenant: 'default', conversationId: id }
        await log.command(each, 'k1')
        await log.ancestry(each)
        await log.latest(each, engine.reducer.stateKey)
        await log.snapshot(each, { stateKey: engine.reducer.stateKey, atOrBefore: 4 })
        await log.stateHashes(each)
      }
      await log.conversations({ tenant: 'default', limit: 10 })
      await log.putMedia(key, [{ hash: 'ab', mediaType: 'text/plain', bytes: new Uint8Array(1) }])
      await log.media(key, 'ab')
      await log.feedHeads()
      const after = new Map([0, 1, 2, 3].map((partition) => [partition, 0]))
      await log.feedPages({ after, limit: 5 })
      await log.feedPages({ after, limit: 5, tenant: 'default', types: ['messageAdded'] })
      await log.feedPages({ after, limit: 5, tenant: 'default', conversationId: fork.id })
      for (let partition = 0; partition < 4; partition++) {
        await log.feed({ partition, after: 0, limit: 5 })
        await log.feed({ partition, after: 0, limit: 5, tenant: 'default', types: ['messageAdded'] })
        await log.feed({ partition, after: 0, limit: 5, tenant: 'default', conversationId: fork.id })
      }
      const memory = postgresMemoryIndex(log)
      const said = {
        sessionId: 'c',
        sequence: 1,
        occurredAt: 0,
        lastPosition: 1,
        isLogged: true,
        significance: 1,
        hasContext: false,
      }
      await memory.put('default', [{ ...said, messages: [{ messageId: 'm', role: 'user', text: 'word' }] }])
      await memory.latest('default', 'c', 1)
      await memory.search('default', { text: 'word -other', limit: 1, now: 0 })
      await memory.search('default', { text: 'word', sessionId: 'c', limit: 1, now: 0 })
      await memory.forget('default', 'c', 1)
      await memory.forget('default', 'c')
      await using subscription = await subscribe(log, {
        name: 'all',
        onPoison: 'park',
        tries: 1,
        retryMs: 1,
        onError: () => {},
        handle: async (envelopes) => {
          if (envelopes.some(({ conversationId }) => conversationId === one.conversationId)) throw new Error('poison')
        },
      })
      await subscription.whenCaughtUp()
      await subscription.status()
      const [letter] = await subscription.deadLetters()
      expect(letter).toBeDefined()
      if (letter) await subscription.redrive(letter).catch(() => {})
    } finally {
      await engine.close()
      await log.close()
      await kysely.destroy()
    }
    expect(sent.size).toBeGreaterThan(25)
    const problems = [...sent].flatMap((text) => statementProblems(text).map((problem) => `${problem}: ${text}`))
    expect(problems).toEqual([])
  })
})
