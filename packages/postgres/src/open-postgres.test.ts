import type { EventLog } from '@colloquy/core'
import { CamelCasePlugin, Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { startCuttingProxy } from '../../../test/support/cutting-proxy.ts'
import { freePort } from '../../../test/support/free-port.ts'
import { appendTo, beginningOf, following, newKey, readAll } from '../../../test/support/log-writer.ts'
import { startPostgres } from '../../../test/support/postgres-server.ts'
import { openTestPool } from '../../../test/support/test-pool.ts'
import type { AppendOptions } from './append/append.ts'
import { openEmbeddedLog } from './embedded/open-embedded.ts'
import { openPostgresLog } from './open-postgres.ts'
import { migrate } from './schema/migrate.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const newDatabase = async (): Promise<string> => (await server?.createDatabase()) ?? ''
async function migrated(partitions = 4): Promise<string> {
  const url = await newDatabase()
  await migrate({ url, partitions })
  return url
}

describe.skipIf(!server)('opening', () => {
  test('refuses a database without the schema, and says what to do', async () => {
    const url = await newDatabase()
    await expect(openPostgresLog({ url })).rejects.toMatchObject({
      code: 'schema_missing',
      details: { found: null, needed: '0003_recall' },
      message: expect.stringContaining('colloquy migrate'),
    })
  })

  test('brings the schema up to date when asked to, with 64 partitions unless told otherwise', async () => {
    const url = await newDatabase()
    await using log = await openPostgresLog({ url, migrate: true })
    expect(log.partitions).toBe(64)
    await using again = await openPostgresLog({ url, migrate: true })
    expect(again.partitions).toBe(64)
    await appendTo(again, newKey(), [{}])
  })

  test('refuses a database that a newer version migrated, and leaves it alone', async () => {
    const url = await migrated()
    await query(url, `insert into colloquy_migration (name, timestamp) values ('0999_future', '2030-01-01T00:00:00.000Z')`)
    const newer = { code: 'schema_newer', details: { found: '0999_future', known: '0003_recall' } }
    await expect(openPostgresLog({ url })).rejects.toMatchObject(newer)
    await expect(openPostgresLog({ url, migrate: true })).rejects.toMatchObject(newer)
    await expect(migrate({ url })).rejects.toMatchObject(newer)
  })

  test('refuses another number of partitions than the database has', async () => {
    const url = await migrated(4)
    const differ = { code: 'partitions_differ', details: { found: 4, asked: 8 } }
    await expect(openPostgresLog({ url, partitions: 8 })).rejects.toMatchObject(differ)
    await expect(migrate({ url, partitions: 8 })).rejects.toMatchObject(differ)
    await using log = await openPostgresLog({ url, partitions: 4 })
    expect(log.partitions).toBe(4)
  })

  test('refuses a database whose conversations were spread by another hash, or that lost a partition', async () => {
    const url = await migrated(4)
    await query(url, `update partition set partition_hash = 'md5'`)
    await expect(openPostgresLog({ url })).rejects.toMatchObject({
      code: 'database_failed',
      message: expect.stringContaining('"md5"'),
    })
    await query(url, `update partition set partition_hash = 'sha256-48'; delete from partition where partition = 2`)
    await expect(openPostgresLog({ url })).rejects.toMatchObject({
      code: 'database_failed',
      message: expect.stringContaining('3 rows'),
    })
  })

  test.each([0, -1, 2.5, 30_000, Number.NaN])('refuses to make a database of %s partitions', async (partitions) => {
    const url = await newDatabase()
    const refused = { code: 'settings_invalid', details: { field: 'partitions' } }
    await expect(migrate({ url, partitions })).rejects.toMatchObject(refused)
    await expect(openPostgresLog({ url, partitions, migrate: true })).rejects.toMatchObject(refused)
    await expect(openEmbeddedLog({ memory: true, partitions })).rejects.toMatchObject(refused)
  })

  test('closes the signals that it was given when it fails, whatever fails', async () => {
    const url = await migrated(4)
    const failures = [
      { options: { url, partitions: 8, migrate: true }, code: 'partitions_differ' },
      { options: { url, partitions: 8 }, code: 'partitions_differ' },
      { options: { url: 'nowhere' }, code: 'database_unreachable' },
    ]
    for (const { options, code } of failures) {
      const signals = { publish: vi.fn(), subscribe: () => () => {}, close: vi.fn(async () => {}) }
      await expect(openPostgresLog({ ...options, signals })).rejects.toMatchObject({ code })
      expect(signals.close).toHaveBeenCalledTimes(1)
    }
  })

  test('of two who migrate at once, one does it and the other finds nothing to do', async () => {
    for (let round = 0; round < 3; round++) {
      const url = await newDatabase()
      const results = await Promise.all([1, 2, 3].map(() => migrate({ url, partitions: 8 })))
      expect(results.flatMap(({ applied }) => applied)).toEqual(['0001_log', '0002_access', '0003_recall'])
      expect(await migrate({ url })).toEqual({ applied: [], createdRoles: [] })
    }
  })

  test('of two who migrate at once to different numbers of partitions, the later is refused', async () => {
    const url = await newDatabase()
    const results = await Promise.allSettled([migrate({ url, partitions: 2 }), migrate({ url, partitions: 16 })])
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    expect(refused).toEqual([expect.objectContaining({ code: 'partitions_differ' })])
  })
})

describe('a database that cannot be reached', () => {
  const secret = 'hunter2'
  const texts = (error: Error): string =>
    [
      error.message,
      JSON.stringify(error),
      error.stack,
      String(error.cause),
      JSON.stringify(error.cause),
      (error.cause as Error | undefined)?.stack,
    ].join()

  test('is named, without the password', async () => {
    const port = await freePort()
    const error = await openPostgresLog({ url: `postgres://ann:${secret}@127.0.0.1:${port}/talk` }).catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'database_unreachable', retryable: true, details: { target: `127.0.0.1:${port}/talk` } })
    expect(texts(error as Error)).not.toContain(secret)
  })

  test('is named, without the password, when the url itself cannot be read', async () => {
    for (const url of [`postgres://ann:${secret}/x@host/talk`, `postgres://ann:${secret}@host:port/talk`, secret, '']) {
      const error = await openPostgresLog({ url }).catch((e: unknown) => e)
      expect(error).toMatchObject({ code: 'database_unreachable' })
      expect(texts(error as Error)).not.toContain(secret)
    }
  })

  test('is reported when its name is unknown', async () => {
    const error = await openPostgresLog({ url: `postgres://ann:${secret}@no-such-host.invalid/talk` }).catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'database_unreachable' })
    expect(texts(error as Error)).not.toContain(secret)
  })

  test.skipIf(!server)('is reported for a wrong password and for a database that is not there', async () => {
    const url = new URL(await newDatabase())
    url.password = secret
    for (const wrong of [url.href, Object.assign(new URL(await newDatabase()), { pathname: '/nowhere' }).href]) {
      const error = await openPostgresLog({ url: wrong }).catch((e: unknown) => e)
      expect(error).toMatchObject({ code: 'database_unreachable' })
      expect(texts(error as Error)).not.toContain(secret)
    }
  })
})

describe.skipIf(!server)('what is handed in', () => {
  test('a pool stays open, and keeps its listeners and parsers', async () => {
    const pool = openTestPool({ connectionString: await migrated() })
    const listeners = pool.listenerCount('error')
    const log = await openPostgresLog({ pool })
    const key = newKey()
    await appendTo(log, key, [{}])
    expect((await log.head(key))?.position).toBe(1)
    await log.close()
    expect(pool.listenerCount('error')).toBe(listeners)
    expect((await pool.query('select 1::bigint as one')).rows).toEqual([{ one: '1' }])
    await pool.end()
  })

  test('a Kysely stays open, whatever plugins it has', async () => {
    const pool = openTestPool({ connectionString: await migrated() })
    pool.on('error', () => {})
    const kysely = new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool }), plugins: [new CamelCasePlugin()] })
    const log = await openPostgresLog({ kysely })
    const key = newKey()
    const stored = await appendTo(log, key, [{}, {}])
    expect(await readAll(log, key)).toEqual(stored)
    await log.close()
    expect((await sql`select 1 as one`.execute(kysely)).rows).toEqual([{ one: 1 }])
    await kysely.destroy()
  })

  test('the parsers of pg itself are not touched', async () => {
    await using log = await openPostgresLog({ url: await migrated() })
    expect(log.partitions).toBe(4)
    expect(pg.types.getTypeParser(pg.types.builtins.INT8, 'text')('1')).toBe('1')
  })
})

describe.skipIf(!server)('an opened log', () => {
  test('gives bigints as numbers, and refuses those that no number can hold', async () => {
    await using log = await openPostgresLog({ url: await migrated() })
    expect((await sql`select 9007199254740991::bigint as n`.execute(log.kysely)).rows).toEqual([{ n: 9007199254740991 }])
    const key = newKey()
    await appendTo(log, key, [{}])
    await sql`update conversation set head_position = 9007199254740993`.execute(log.kysely)
    await expect(log.head(key)).rejects.toMatchObject({
      code: 'database_failed',
      message: expect.stringContaining('9007199254740993'),
    })
  })

  test('lets go of its connections when closed, and refuses work after', async () => {
    const url = await migrated()
    const log = await openPostgresLog({ url })
    const key = newKey()
    const appending = appendTo(log, key, [{}])
    await appending
    const [last] = await Promise.all([log.head(key), log.close(), log.close()])
    expect(last?.position).toBe(1)
    await expect(log.head(key)).rejects.toMatchObject({ code: 'log_closed' })
    await expect(readAll(log, key)).rejects.toMatchObject({ code: 'log_closed' })
    const { rows } = await query(
      url,
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    )
    expect(rows).toEqual([{ n: 0 }])
  })

  test('wraps what the database refuses, with its SQLSTATE and the cause', async () => {
    await using log = await openPostgresLog({ url: await migrated() })
    await sql`drop table media`.execute(log.kysely)
    await expect(log.media(newKey(), 'aa')).rejects.toMatchObject({
      code: 'database_failed',
      details: { sqlState: '42P01' },
      cause: expect.objectContaining({ code: '42P01' }),
    })
  })

  test('survives the end of its connections, idle or at work, and goes on', async () => {
    const url = await migrated()
    await using log = await openPostgresLog({ url })
    const key = newKey()
    await appendTo(log, key, [{}])
    const terminate = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
    await query(url, terminate)
    await appendTo(log, key, [{}]).catch(() => undefined)
    const sleeping = sql`select pg_sleep(20)`.execute(log.kysely).catch((error: unknown) => error)
    await vi.waitFor(async () => {
      const asleep = `select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`
      expect((await query(url, asleep)).rowCount).toBe(1)
    })
    await query(url, terminate)
    expect(await sleeping).toBeInstanceOf(Error)
    await log.kysely
      .transaction()
      .execute(async () => {
        await query(url, terminate)
        await new Promise((resolve) => setTimeout(resolve, 50))
      })
      .catch(() => undefined)
    await appendTo(log, key, [{}])
    expect((await readAll(log, key)).length).toBeGreaterThanOrEqual(2)
  })

  test('finds what was appended when only the answer was lost', async () => {
    await withProxy(async (log, cutOnce) => {
      for (const count of [1, 3]) {
        const key = newKey()
        const envelopes = following(
          key,
          beginningOf(key),
          Array.from({ length: count }, () => ({})),
        )
        cutOnce('after')
        const outcomes = await log.append([{ key, expected: beginningOf(key), envelopes }])
        expect(outcomes).toMatchObject([{ status: 'appended', envelopes }])
        expect(await readAll(log, key)).toEqual(outcomes[0]?.status === 'appended' && outcomes[0].envelopes)
      }
    })
  })

  test('sends again what a call that took effect had left out', async () => {
    await withProxy(async (log, cutOnce) => {
      const [stale, fresh] = [newKey(), newKey()]
      const [first] = await appendTo(log, stale, [{}])
      const requests = [stale, fresh].map((key) => ({
        key,
        expected: beginningOf(key),
        envelopes: following(key, beginningOf(key), [{ actor: 'late' }]),
      }))
      cutOnce('after')
      const outcomes = await log.append(requests)
      expect(outcomes).toMatchObject([{ status: 'conflict', missed: [first] }, { status: 'appended' }])
    })
  })

  test('sends an append again that never arrived', async () => {
    await withProxy(async (log, cutOnce) => {
      const key = newKey()
      const envelopes = following(key, beginningOf(key), [{}, {}])
      cutOnce('before')
      expect(await log.append([{ key, expected: beginningOf(key), envelopes }])).toMatchObject([
        { status: 'appended', envelopes },
      ])
    })
  })

  test('says that the outcome is unknown when no answer came until the deadline', async () => {
    await withProxy(
      async (log, _, cutAll) => {
        const key = newKey()
        const envelopes = following(key, beginningOf(key), [{}, {}])
        cutAll(true)
        await expect(log.append([{ key, expected: beginningOf(key), envelopes }])).rejects.toMatchObject({
          code: 'append_outcome_unknown',
          retryable: true,
          details: {
            conversationId: key.conversationId,
            position: 2,
            hash: Buffer.from(envelopes[1]?.hash ?? []).toString('hex'),
          },
          cause: expect.any(Error),
        })
        cutAll(false)
        expect(await log.append([{ key, expected: beginningOf(key), envelopes }])).toMatchObject([{ status: 'appended' }])
      },
      { deadlineMs: 2_000 },
    )
  })

  test('says that nobody can be reached when nothing was sent', async () => {
    const proxy = await startCuttingProxy(await migrated())
    const log = await openPostgresLog({ url: proxy.url, deadlineMs: 500 })
    const key = newKey()
    await appendTo(log, key, [{}])
    await proxy.close()
    const expected = { ...beginningOf(key), position: 1 }
    // Until it is known that the connection has ended, something is sent.
    await vi.waitFor(async () => {
      await expect(log.append([{ key, expected, envelopes: following(key, expected, [{}]) }])).rejects.toMatchObject({
        code: 'database_unreachable',
      })
    })
    await log.close()
  })
})

async function withProxy(
  use: (log: EventLog, cutOnce: (when: 'before' | 'after') => void, cutAll: (isCut: boolean) => void) => Promise<void>,
  options: AppendOptions = {},
): Promise<void> {
  const proxy = await startCuttingProxy(await migrated())
  const log = await openPostgresLog({ url: proxy.url, ...options })
  // The connection for appends is made, so that what is cut is a statement.
  await appendTo(log, newKey(), [{}])
  await use(log, proxy.cutOnce, proxy.cutAll)
  await log.close()
  await proxy.close()
}

async function query(url: string, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}
