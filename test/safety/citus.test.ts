/**
 * Citus cannot be had here. A Postgres with functions of its names records what it is asked, in the order in which it is asked: that
 * the statements are those that Citus takes was found out on a real one, and a release is checked there by COLLOQUY_TEST_URL.
 */
import { doctor, migrate, openPostgresLog } from '@colloquy/postgres'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { appendTo, newKey } from '../support/log-writer.ts'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'

const isGiven = process.env['COLLOQUY_TEST_URL'] !== undefined
const plain = await startPostgres()
const fit = await startPostgres(['wal_level=logical', 'max_connections=50', 'max_prepared_transactions=50'])
afterAll(() => Promise.all([plain?.stop(), fit?.stop()]))

const tables = [
  'partition',
  'conversation',
  'envelope',
  'media',
  'snapshot',
  'subscription',
  'subscriber',
  'dead_letter',
  'interaction',
]

/** A database that looks like a coordinator with two workers, as far as our statements look. */
async function fakeCluster(
  server: PostgresServer | undefined,
  settings: Readonly<Record<string, string>>,
): Promise<{ url: string; admin: pg.Client & AsyncDisposable }> {
  const url = (await server?.createDatabase()) ?? ''
  const client = new pg.Client(url)
  await client.connect()
  const admin = Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
  await admin.query(`
    create table pg_dist_node (noderole text, shouldhaveshards boolean);
    insert into pg_dist_node values ('primary', true), ('primary', true), ('primary', false), ('secondary', true);
    create table pg_dist_partition (logicalrelid regclass);
    create table asked (n int generated always as identity, transaction xid8 default pg_current_xact_id(), call text, mode text);
    create function citus_version() returns text language sql as $$ select 'Citus 13.2.2' $$;
    create function create_distributed_table(name regclass, col text, colocate_with text default 'default') returns void language sql as $$
      insert into asked (call, mode) values (name || ' by ' || col || ' with ' || colocate_with, current_setting('citus.multi_shard_modify_mode', true));
      insert into pg_dist_partition values (name) $$;
    create function create_distributed_function(f regprocedure, arg text, colocate_with text default 'default') returns void language sql as $$
      insert into asked (call) values (f::regproc || ' by ' || arg || ' with ' || colocate_with) $$;
  `)
  const database = new URL(url).pathname.slice(1)
  for (const [name, value] of Object.entries(settings)) await admin.query(`alter database ${database} set ${name} = '${value}'`)
  return { url, admin }
}

const found = async (url: string) => Object.fromEntries((await doctor({ url })).map(({ name, status }) => [name, status]))

// A server that is given may be a real cluster, which our names must not be put into; the contract suite is run on it.
describe.skipIf(!plain || isGiven)('on Citus', () => {
  test('a server without it is told so, and keeps its tables where they are', async () => {
    const url = (await plain?.createDatabase()) ?? ''
    await expect(migrate({ url, engine: 'citus' })).rejects.toMatchObject({
      code: 'citus_unfit',
      message: expect.stringContaining('create extension citus'),
    })
    expect(await found(url)).not.toHaveProperty('citus')
  })

  test('a cluster that cannot carry the log is refused, with all that is missing in words, and nothing is distributed', async () => {
    const { url, admin } = await fakeCluster(plain, { 'citus.recover_2pc_interval': '60s' })
    await using _ = admin
    const error = await migrate({ url, engine: 'citus' }).catch((e: unknown) => e as Error)
    for (const words of ['wal_level is replica', 'max_prepared_transactions is 0', 'citus.propagate_set_commands is none'])
      expect((error as Error).message).toContain(words)
    expect((await admin.query('select from asked')).rowCount).toBe(0)
    expect(await found(url)).toMatchObject({
      citus: 'ok',
      wal_level: 'fail',
      max_prepared_transactions: 'fail',
      'citus.propagate_set_commands': 'fail',
      'citus.recover_2pc_interval': 'warn',
      nodes: 'ok',
      'secondary nodes': 'ok',
    })
  })

  test('tables are spread by their partition, together, in one transaction, then the functions; again, and only those that are new', async () => {
    const { url, admin } = await fakeCluster(fit, { 'citus.propagate_set_commands': 'local', 'citus.recover_2pc_interval': '2s' })
    await using _ = admin
    // A log that has grown already is taken along.
    await migrate({ url, partitions: 8 })
    const key = newKey()
    await using log = await openPostgresLog({ url })
    await appendTo(log, key, [{}])
    await migrate({ url, engine: 'citus' })
    const asked = async () =>
      (await admin.query<{ transaction: string; call: string; mode: string }>('select * from asked order by n')).rows
    const first = await asked()
    expect(first.map(({ call }) => call)).toEqual([
      'partition by partition with default',
      ...tables.slice(1).map((table) => `${table} by partition with partition`),
      ...['log_append_one_v1', 'log_append_v1'].map((name) => `${name} by p_partition with partition`),
    ])
    expect(first.slice(0, tables.length).map(({ mode }) => mode)).toEqual(tables.map(() => 'sequential'))
    // The tables in one transaction, each function in one of its own.
    expect(new Set(first.slice(0, tables.length).map(({ transaction }) => transaction)).size).toBe(1)
    expect(new Set(first.map(({ transaction }) => transaction)).size).toBe(3)
    // As they are, for each node gets a copy.
    const functions = await admin.query<{ name: string; settings: string[] }>(
      `select proname as name, proconfig as settings from pg_proc where starts_with(proname, 'log_append') order by 1`,
    )
    expect(functions.rows.map(({ name }) => name)).toEqual(['log_append_one_v1', 'log_append_v1'])
    for (const { settings } of functions.rows) expect(settings).toContain('plan_cache_mode=auto')
    await admin.query(`delete from pg_dist_partition where logicalrelid = 'media'::regclass`)
    await migrate({ url, engine: 'citus' })
    expect((await asked()).slice(first.length).map(({ call }) => call)).toEqual([
      'media by partition with partition',
      ...['log_append_one_v1', 'log_append_v1'].map((name) => `${name} by p_partition with partition`),
    ])
    expect(await appendTo(log, key, [{}])).toMatchObject([{ position: 2 }])
    expect(Object.values(await found(url))).not.toContain('fail')
  })
})
