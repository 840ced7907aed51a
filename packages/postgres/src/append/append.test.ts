/** Appends over connections that fail, on a real Postgres. */
import { createServer, type Socket } from 'node:net'
import { pageBytes, type StoredEnvelope } from '@colloquy/core'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { startCuttingProxy } from '../../../../test/support/cutting-proxy.ts'
import { freePort } from '../../../../test/support/free-port.ts'
import { appendTo, beginningOf, following, newKey, readAll, utf8 } from '../../../../test/support/log-writer.ts'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { openTestPool } from '../../../../test/support/test-pool.ts'
import { openPostgresLog } from '../open-postgres.ts'
import { migrate } from '../schema/migrate.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

async function migrated(): Promise<string> {
  const url = (await server?.createDatabase()) ?? ''
  await migrate({ url, partitions: 4 })
  return url
}

describe.skipIf(!server)('an append over a line that breaks', () => {
  test.each(['function', 'statements'] as const)('is stored once, wherever the line is cut (by %s)', async (appendBy) => {
    const proxy = await startCuttingProxy(await migrated())
    const log = await openPostgresLog({ url: proxy.url, appendBy })
    await appendTo(log, newKey(), [{}])
    for (const when of ['before', 'after', 'late'] as const) {
      for (let round = 0; round < 5; round++) {
        const key = newKey()
        const envelopes = following(key, beginningOf(key), [{}, { commandId: 'a' }].slice(0, 1 + (round % 2)))
        proxy.cutOnce(when)
        expect(await log.append([{ key, expected: beginningOf(key), envelopes }])).toMatchObject([
          { status: 'appended', envelopes },
        ])
        // What was cut off late arrives after its second sending was answered, and finds another head.
        await proxy.settled()
        expect(await readAll(log, key)).toMatchObject(envelopes)
      }
    }
    await log.close()
    await proxy.close()
  })

  test('is found again as a whole, although it is more than a page', async () => {
    const proxy = await startCuttingProxy(await migrated())
    await using log = await openPostgresLog({ url: proxy.url })
    await appendTo(log, newKey(), [{}])
    const key = newKey()
    const large = { body: utf8(JSON.stringify({ payload: { text: 'x'.repeat(pageBytes / 2) } })) }
    const envelopes = following(key, beginningOf(key), [large, large, {}])
    proxy.cutOnce('after')
    const [outcome] = await log.append([{ key, expected: beginningOf(key), envelopes }])
    expect(outcome?.status === 'appended' && outcome.envelopes.map(({ position }) => position)).toEqual([1, 2, 3])
    await proxy.settled()
    await proxy.close()
  })

  test('comes back as a conflict, when another writer was first and it is not ours that is stored', async () => {
    const url = await migrated()
    const proxy = await startCuttingProxy(url)
    await using log = await openPostgresLog({ url: proxy.url })
    await using other = await openPostgresLog({ url })
    await appendTo(log, newKey(), [{}])
    const key = newKey()
    const theirs = await appendTo(other, key, [{ actor: 'them' }])
    proxy.cutOnce('after')
    const envelopes = following(key, beginningOf(key), [{ actor: 'us' }])
    expect(await log.append([{ key, expected: beginningOf(key), envelopes }])).toMatchObject([
      { status: 'conflict', missed: theirs },
    ])
    await proxy.close()
  })
})

describe.skipIf(!server)('several urls', () => {
  test('the first that can be reached and takes writes is used, and the next one when it no longer does', async () => {
    const url = await migrated()
    const proxy = await startCuttingProxy(url)
    const readOnly = new URL(url)
    readOnly.searchParams.set('options', '-c default_transaction_read_only=on')
    await using log = await openPostgresLog({ urls: [await deadUrl(), readOnly.href, proxy.url, url] })
    const key = newKey()
    const [first] = (await appendTo(log, key, [{}])) as [StoredEnvelope]
    await proxy.close()
    const envelopes = following(key, first, [{}])
    expect(await log.append([{ key, expected: first, envelopes }])).toMatchObject([{ status: 'appended', envelopes }])
  })

  test('one that froze behind the greeting does not keep the others from being used', async () => {
    const frozen = await startFrozenServer()
    await using log = await openPostgresLog({ urls: [frozen.url, await migrated()] })
    expect(await appendTo(log, newKey(), [{}])).toHaveLength(1)
    await frozen.close()
  })

  test('none that takes writes is database_unreachable, with all of them named', async () => {
    const [one, two] = [await deadUrl(), await deadUrl()]
    await expect(openPostgresLog({ urls: [one, two] })).rejects.toMatchObject({
      code: 'database_unreachable',
      details: { target: `${new URL(one).host}/talk, ${new URL(two).host}/talk` },
    })
  })
})

describe.skipIf(!server)('drivers of the application', () => {
  // Of booleans, numbers and texts.
  const arrays = new Set([1000, 1005, 1007, 1009, 1016])
  const types: pg.CustomTypesConfig = {
    getTypeParser: (oid, format) => (arrays.has(oid) ? (text: string) => text : pg.types.getTypeParser(oid, format)),
  }

  test.each([
    ['a Kysely whose driver leaves arrays as text', { types }, 'kysely'],
    ['a pool whose driver leaves arrays as text', { types }, 'pool'],
    ['a pool that asks for binary answers', { binary: true }, 'pool'],
  ] as const)('%s takes appends of one and of many, and tells what it refused', async (_, config, by) => {
    const url = await migrated()
    const pool = openTestPool({ connectionString: url, ...config })
    const kysely = new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool }) })
    await using log = await openPostgresLog(by === 'kysely' ? { kysely } : { pool })
    await using plain = await openPostgresLog({ url })
    const [key, other] = [newKey(), newKey()]
    for (const keys of [[key], [key, other]]) {
      // The second of each kind is prepared already.
      for (let turn = 0; turn < 2; turn++) {
        const requests = await Promise.all(
          keys.map(async (key) => {
            const expected = (await plain.head(key)) ?? beginningOf(key)
            return { key, expected, envelopes: following(key, expected, [{}]) }
          }),
        )
        const stored = requests.map(({ envelopes }) => ({ status: 'appended', envelopes }))
        expect(await log.append(requests)).toMatchObject(stored)
        expect(await plain.append(requests)).toMatchObject(keys.map(() => ({ status: 'conflict' })))
      }
    }
    await pool.end()
  })
})

describe.skipIf(!server)('a transaction', () => {
  test('whose failure was swallowed rejects, although the server answers its commit without an error', async () => {
    await using log = await openPostgresLog({ url: await migrated() })
    const swallowing = log.kysely.transaction().execute(async (trx) => {
      await sql`insert into partition (partition) values (1)`.execute(trx).catch(() => undefined)
      return 'done'
    })
    await expect(swallowing).rejects.toMatchObject({ code: 'transaction_aborted', retryable: false })
  })
})

describe.skipIf(!server)('a standby that does not answer', () => {
  test('an append whose wait for it is cancelled is told to be on the primary only', async () => {
    const url = await migrated()
    const warnings: string[] = []
    const log = await openPostgresLog({ url, onWarning: (warning) => warnings.push(warning) })
    const key = newKey()
    await appendTo(log, key, [{}])
    warnings.length = 0
    const admin = new pg.Client(url)
    await admin.connect()
    const configure = async (statement: string) => {
      await admin.query(statement)
      await admin.query('select pg_reload_conf()')
    }
    await configure(`alter system set synchronous_standby_names = 'nobody'`)
    try {
      // The new setting reaches the processes of the server one by one: an append that is faster does not wait yet.
      for (let waited = false; !waited; ) {
        const head = (await log.head(key)) ?? beginningOf(key)
        const envelopes = following(key, head, [{}])
        let isAnswered = false
        const appending = log.append([{ key, expected: head, envelopes }]).finally(() => {
          isAnswered = true
        })
        await waitFor(async () => {
          const { rowCount } = await admin.query(
            `select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'`,
          )
          waited = (rowCount ?? 0) > 0
          return waited || isAnswered
        })
        const outcomes = await appending
        expect(outcomes).toMatchObject([{ status: 'appended', envelopes }])
        if (waited) expect(outcomes).toMatchObject([{ durability: 'local' }])
      }
      expect(warnings).toEqual([expect.stringContaining('primary only')])
    } finally {
      await configure('alter system reset synchronous_standby_names')
      await admin.end()
    }
    await log.close()
  })
})

async function waitFor(isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** Lets a client in, and does not say another word. */
async function startFrozenServer() {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    // AuthenticationOk and ReadyForQuery.
    socket.once('data', () => socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49])))
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `postgres://ann@127.0.0.1:${port}/talk`,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Of a server that is not there. */
const deadUrl = async (): Promise<string> => `postgres://ann@127.0.0.1:${await freePort()}/talk`
