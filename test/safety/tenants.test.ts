/**
 * One tenant never sees another, although the code forgets to ask for its own: row S2 of the test plan. The mutants below take every
 * condition on `tenant` out of what is sent, or set the tenant for the session and not for the transaction.
 */
import { type ConversationKey, partitionOf } from '@colloquy/core'
import { openPostgresLog, type PostgresLog } from '@colloquy/postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { appendTo, newKey, readAll } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { createRoles } from '../support/roles.ts'
import { openTestPool } from '../support/test-pool.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const tenants = ['acme', 'acme-corp', 'it\'s "quoted", {and} \\', 'zeta']
const partitions = 4

describe.skipIf(!server)('as the app role', () => {
  let url: string
  let app: string
  let owner: PostgresLog
  const keys: ConversationKey[] = []
  const pools: pg.Pool[] = []

  beforeAll(async () => {
    url = (await server?.createDatabase()) ?? ''
    app = (await createRoles(url, { partitions })).app
    owner = await openPostgresLog({ url })
    // The same ids for every tenant: only the tenant tells them apart.
    for (const tenant of tenants) {
      for (let i = 0; i < 5; i++) {
        const key = { tenant, conversationId: `talk-${i}` }
        keys.push(key)
        await appendTo(owner, key, [{}, { commandId: 'c' }])
        await owner.putMedia(key, [{ hash: `h${i}`, mediaType: 'text/plain', bytes: new Uint8Array([tenants.indexOf(tenant)]) }])
        await owner.saveSnapshot(key, { position: 1, stateKey: 's', stateHash: new Uint8Array(32), body: new Uint8Array(1) })
      }
    }
  })
  afterAll(async () => {
    await owner.close()
    await Promise.all(pools.map((pool) => pool.end()))
  })

  /** Closed also where a test fails: a transaction that stayed open would hold the next one up. */
  async function clientOf(connectionString: string): Promise<pg.Client & AsyncDisposable> {
    const client = new pg.Client(connectionString)
    await client.connect()
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
  }

  /** A log over three connections, which changes what is sent to the server. */
  async function changedLog(config: pg.PoolConfig, change: (text: string) => string): Promise<PostgresLog> {
    const pool = openTestPool({ ...config, max: 3 })
    pools.push(pool)
    pool.on('error', () => {})
    pool.on('connect', (client) => {
      const send = client.query.bind(client) as (query: unknown, ...rest: unknown[]) => unknown
      const query = (given: unknown, ...rest: unknown[]) =>
        typeof given === 'object' && given !== null && 'text' in given
          ? send({ ...given, text: change(String(given.text)) }, ...rest)
          : send(given, ...rest)
      Object.assign(client, { query })
    })
    return openPostgresLog({ pool })
  }

  const appLog = (change: (text: string) => string): Promise<PostgresLog> =>
    changedLog({ connectionString: app, pipeline: true }, change)

  /** Every condition on the tenant holds for every row; the parameter stays, so that the others keep their numbers. */
  const withoutTenant = (text: string): string =>
    text.replaceAll(/((?:"?\w+"?\.)?"?tenant"?) = (\$\d+)(?! *::)/g, (_, _column, value) => `(${value}::text is not null)`)

  /** Tenants of whatever the call gives. */
  async function tenantsSeen(log: PostgresLog, key: ConversationKey): Promise<Set<string>> {
    const partition = partitionOf(key, partitions, sha256)
    const [pages, feed, listed, command] = await Promise.all([
      readAll(log, key),
      log.feed({ tenant: key.tenant, partition, after: 0, limit: 500 }),
      log.conversations({ tenant: key.tenant, limit: 500 }),
      log.command(key, 'c'),
    ])
    return new Set([...pages, ...feed.envelopes, ...listed, ...command].map(({ tenant }) => tenant))
  }

  test('2,000 calls of 4 tenants, 20 at a time over 3 connections, without one condition on the tenant: no foreign row', async () => {
    await using log = await appLog(withoutTenant)
    let left = 500
    let foreign = 0
    let own = 0
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        const key = keys[left % keys.length] as ConversationKey
        for (const tenant of await tenantsSeen(log, key)) {
          if (tenant === key.tenant) own++
          else foreign++
        }
      }
    }
    await Promise.all(Array.from({ length: 20 }, worker))
    expect({ own, foreign }).toEqual({ own: 500, foreign: 0 })
  })

  test('the same as a superuser, for whom no row-level security holds, sees foreign rows: the test can fail', async () => {
    await using log = await changedLog({ connectionString: url }, withoutTenant)
    expect((await tenantsSeen(log, keys[0] as ConversationKey)).size).toBeGreaterThan(1)
  })

  test('with the tenant set for the session, a statement that names none sees the rows of whoever came before: the test can fail', async () => {
    await using log = await appLog((text) => withoutTenant(text).replace('set local app.tenants', 'set app.tenants'))
    await Promise.all(keys.map((key) => tenantsSeen(log, key)))
    // What a statement finds that names no tenant at all, on the connections that the calls above left behind.
    const { rows } = await (pools.at(-1) as pg.Pool).query<{ tenant: string }>('select distinct tenant from envelope')
    expect(rows.length).toBeGreaterThan(0)
  })

  test('where nothing names a tenant there is nothing to see, before a transaction and after one', async () => {
    await using client = await clientOf(app)
    const count = async () => {
      const { rows } = await client.query<{ n: number }>(
        `select (select count(*) from conversation) + (select count(*) from envelope) + (select count(*) from media) +
          (select count(*) from snapshot) as n`,
      )
      return Number(rows[0]?.n)
    }
    expect(await count()).toBe(0)
    await client.query('begin')
    await client.query(`select set_config('app.tenants', $1, true)`, ['{acme}'])
    expect(await count()).toBe(5 + 10 + 5 + 5)
    await client.query('commit')
    expect(await client.query(`select current_setting('app.tenants') as it`)).toMatchObject({ rows: [{ it: '' }] })
    expect(await count()).toBe(0)
  })

  test('rows of another tenant cannot be written, and envelopes not changed or taken away', async () => {
    await using client = await clientOf(app)
    const refused = async (statement: string): Promise<string | undefined> => {
      await client.query('begin')
      await client.query(`select set_config('app.tenants', '{acme}', true)`)
      const error = await client.query(statement).catch((e: pg.DatabaseError) => e)
      await client.query('rollback')
      return error instanceof Error ? error.code : undefined
    }
    const denied = '42501'
    const media = (tenant: string) =>
      `insert into media (partition, tenant, hash, media_type, bytes) values (0, '${tenant}', 'x', 'text/plain', '')`
    expect(await refused(media('acme'))).toBeUndefined()
    expect(await refused(media('zeta'))).toBe(denied)
    for (const statement of [
      'update envelope set body = body',
      'delete from envelope',
      'truncate envelope',
      'delete from conversation',
      'update conversation set tenant = tenant',
      'alter table envelope disable row level security',
      'drop policy own_tenants on envelope',
      'set session_replication_role = replica',
      'delete from partition',
      'update media set bytes = bytes',
      'delete from snapshot',
      `update snapshot set state_hash = ''`,
    ])
      expect([statement, await refused(statement)]).toEqual([statement, denied])
  })

  test('a feed of all tenants is refused instead of being empty', async () => {
    await using log = await openPostgresLog({ url: app })
    await expect(log.feed({ partition: 0, after: 0, limit: 10 })).rejects.toMatchObject({ code: 'tenant_missing' })
    await expect(log.feedPages({ after: new Map([[0, 0]]), limit: 10 })).rejects.toMatchObject({ code: 'tenant_missing' })
    await using worker = await openPostgresLog({ url: (await createRoles(url, { partitions })).worker })
    const feeds = await Promise.all([0, 1, 2, 3].map((partition) => worker.feed({ partition, after: 0, limit: 100 })))
    expect(new Set(feeds.flatMap(({ envelopes }) => envelopes).map(({ tenant }) => tenant))).toEqual(new Set(tenants))
  })

  test('workers and auditors cannot write envelopes, not even by the append functions', async () => {
    const roles = await createRoles(url, { partitions })
    for (const role of [roles.worker, roles.auditor]) {
      await using log = await openPostgresLog({ url: role })
      await expect(appendTo(log, newKey('acme'), [{}])).rejects.toMatchObject({
        code: 'database_failed',
        details: { sqlState: '42501' },
        message: expect.stringContaining('may only read'),
      })
      expect(await readAll(log, keys[0] as ConversationKey)).toHaveLength(2)
    }
  })

  test('within a transaction of the application, reads see their tenant', async () => {
    await using log = await openPostgresLog({ url: app })
    await log.kysely.transaction().execute(async (kysely) => {
      await using inside = await openPostgresLog({ kysely })
      for (const key of keys.slice(3, 8))
        expect(new Set((await readAll(inside, key)).map(({ tenant }) => tenant))).toEqual(new Set([key.tenant]))
    })
  })
})
