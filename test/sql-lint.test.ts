import { readdir, readFile } from 'node:fs/promises'
import { type Head, partitionOf } from '@colloquy/core'
import { type DeadLetter, forgetSubscription, migrate, openPostgresLog, type PostgresLog, subscribe } from '@colloquy/postgres'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { sha256 } from './support/core-log.ts'
import { appendTo, beginningOf, following, newKey, readAll } from './support/log-writer.ts'
import { startPostgres } from './support/postgres-server.ts'
import { createRoles } from './support/roles.ts'
import { lintMigration, lintStatement } from './support/sql-rules.ts'

const repository = new URL('../', import.meta.url)
const server = await startPostgres()
const pools: pg.Pool[] = []
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await server?.stop()
})

test('every migration keeps to the rules', async () => {
  const directory = new URL('migrations/', repository)
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql'))
  expect(files.length).toBeGreaterThan(1)
  for (const file of files) expect([file, lintMigration(await readFile(new URL(file, directory), 'utf8'))]).toEqual([file, []])
})

test('no code looks at the name of a constraint', async () => {
  const directory = new URL('packages/postgres/src/', repository)
  for (const file of await readdir(directory, { recursive: true })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
    expect([file, (await readFile(new URL(file, directory), 'utf8')).match(/\.constraint\b|_pkey\b/)]).toEqual([file, null])
  }
})

test.each([
  ['select 1; select 2', 'two statements'],
  ['select * from envelope where position > 1', '1 tables and 0 partitions'],
  ['delete from "snapshot" where "conversation_no" = 1', '1 tables and 0 partitions'],
  [
    'select * from envelope e join conversation c on c.conversation_no = e.conversation_no where e.partition = 1',
    '2 tables and 1',
  ],
  ['insert into "media" ("tenant", "partition") values ($1, $2)', '1 tables and 0 partitions'],
  ['select from partition for update', 'a lock on every partition'],
  ['select * from subscription where partition in (1, 2) for update skip locked', 'skip locked'],
  [`select nextval('x')`, 'a sequence'],
  ['select pg_snapshot_xmin(pg_current_snapshot())', 'a transaction id'],
  ['select pg_advisory_xact_lock(1)', 'an advisory lock'],
  [`select pg_notify('a', 'b')`, 'NOTIFY'],
  ['insert into media (partition) values (1) on conflict on constraint media_pkey do nothing', 'the name of a constraint'],
])('the rules find what is wrong with: %s', (statement, problem) => {
  expect(lintStatement(statement)).toEqual([expect.stringContaining(problem)])
})

test.each([
  ['create table t (id bigserial, partition int, primary key (partition, id))', 'a sequence'],
  ['create table t (id int generated always as identity)', 'a sequence'],
  ['create table t (partition int, id text, unique (id))', 'a key without partition'],
  ['create unique index i on envelope (hash)', 'a key without partition'],
  ['create trigger t before update on envelope execute function f()', 'a trigger'],
  [
    'create function f() as $$ begin perform from partition; delete from media where tenant = 1; end $$',
    '1 tables and 0 partitions',
  ],
])('the rules find what is wrong with a migration: %s', (statement, problem) => {
  expect(lintMigration(statement)).toEqual([expect.stringContaining(problem)])
})

describe.skipIf(!server)('every statement that a log sends', () => {
  const sent = new Set<string>()

  /** A pool that keeps the text of whatever goes through it. */
  function recording(connectionString: string): pg.Pool {
    const pool = new pg.Pool({ connectionString })
    pools.push(pool)
    // The server is stopped soon after the pool.
    pool.on('error', () => {})
    pool.on('connect', (client) => {
      const send = client.query.bind(client) as (query: { readonly text: string }) => unknown
      const query = (given: { readonly text: string }) => {
        sent.add(given.text)
        return send(given)
      }
      Object.assign(client, { query })
    })
    return pool
  }

  /** Each method of the log, on conversations that are new, present, contested, forked and archived. */
  async function exercise(log: PostgresLog, worker = log): Promise<void> {
    const [key, other] = [newKey('t'), newKey('t')]
    await appendTo(log, key, [{ commandId: 'a' }, { commandId: 'a', commandIndex: 1 }])
    await appendTo(log, key, [{ commandId: 'b' }])
    const start = beginningOf(key)
    await log.append([
      { key, expected: start, envelopes: following(key, start, [{}]) },
      { key: other, expected: beginningOf(other), envelopes: following(other, beginningOf(other), [{}]), archive: true },
    ])
    await log.append([{ key, expected: start, envelopes: following(key, start, [{ commandId: 'a' }]) }])
    const head = (await log.head(key)) as Head
    const fork = { tenant: 't', conversationId: `${key.conversationId}~0198c0de-0000-7000-8000-000000000000` }
    await log.fork({ key: fork, parent: { conversationId: key.conversationId, position: 2 } })
    await appendTo(log, fork, [{}])
    const snapshot = { position: 2, stateKey: 's', stateHash: new Uint8Array(32), body: new Uint8Array(1) }
    await log.saveSnapshot(key, snapshot)
    await log.putMedia(key, [{ hash: 'h', mediaType: 'text/plain', bytes: new Uint8Array(1) }])
    for (const each of [key, fork]) {
      await readAll(log, each)
      for await (const _ of log.actions(each, { from: 1, to: 3 })) break
      await log.latest(each, 's')
      await log.ancestry(each)
    }
    const partition = partitionOf(key, log.partitions, sha256)
    await Promise.all([
      log.command(key, 'a'),
      log.outcome({ key, ...head }),
      log.conversations({ tenant: 't', limit: 10 }),
      log.snapshot(key, { stateKey: 's' }),
      log.stateHashes(key, 's'),
      log.media(key, 'h'),
      log.feedHeads(),
      log.feed({ partition, after: 0, limit: 10, tenant: 't', types: ['messageAdded'], conversationId: key.conversationId }),
      worker.feed({ partition, after: 0, limit: 10 }),
    ])
  }

  test.each(['function', 'statements'] as const)('is recorded, appending by %s', async (appendBy) => {
    const url = (await server?.createDatabase()) ?? ''
    await migrate({ url, partitions: 8 })
    await using log = await openPostgresLog({ pool: recording(url), appendBy })
    await exercise(log)
  })

  test('is recorded under row-level security, where workers subscribe', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const roles = await createRoles(url, { partitions: 8 })
    await using log = await openPostgresLog({ pool: recording(roles.app) })
    await using worker = await openPostgresLog({ pool: recording(roles.worker) })
    await exercise(log, worker)
    const handle = (envelopes: readonly { readonly position: number }[]) => {
      if (envelopes.some(({ position }) => position === 1)) throw new Error('poison')
    }
    const policy = { onPoison: 'park', tries: 1, onError: () => {} } as const
    await using once = await subscribe(worker, { name: 'once', transactional: true, handle, ...policy })
    await using atLeastOnce = await subscribe(worker, { name: 'at least once', handle, ...policy })
    for (const subscription of [once, atLeastOnce]) {
      await subscription.whenCaughtUp()
      await subscription.status()
      const [letter] = await subscription.deadLetters()
      await expect(subscription.redrive(letter as DeadLetter)).rejects.toThrow('poison')
    }
    await forgetSubscription(worker, 'nobody')
  })

  test('keeps to the rules', () => {
    const texts = [...sent]
    // The log's own tables are all there: nothing was recorded past the spy.
    for (const part of [
      'log_append_v1(',
      'log_append_one_v1(',
      '"media"',
      '"snapshot"',
      '"envelope"',
      'set local app.tenants',
      '"dead_letter"',
      'insert into envelope',
    ])
      expect(texts.some((text) => text.includes(part))).toBe(true)
    expect(texts.flatMap((text) => lintStatement(text).map((problem) => [text, problem]))).toEqual([])
  })
})
