import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { startPostgres } from '../../../test/support/postgres-server.ts'
import { doctor } from './doctor.ts'
import { migrate } from './migrate.ts'
import { openEmbeddedLog } from './open-embedded.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

async function statuses(target: Parameters<typeof doctor>[0]): Promise<Record<string, string>> {
  return Object.fromEntries((await doctor(target)).map(({ name, status }) => [name, status]))
}

const healthy = {
  'server version': 'ok',
  'schema version': 'ok',
  fsync: 'ok',
  synchronous_commit: 'ok',
  full_page_writes: 'ok',
  encoding: 'ok',
  isolation: 'ok',
  role: 'ok',
  partitions: 'ok',
}

test('an embedded log is told that it runs without fsync, and what that means', async () => {
  await using log = await openEmbeddedLog({ memory: true })
  expect(await statuses(log)).toEqual({ ...healthy, fsync: 'warn' })
  const fsync = (await doctor(log)).find(({ name }) => name === 'fsync')
  expect(fsync).toMatchObject({ found: 'off', advice: expect.stringContaining('power cut') })
})

test('a database that cannot be reached is no check but an error', async () => {
  await expect(doctor({ url: 'postgres://ann@127.0.0.1:1/talk' })).rejects.toMatchObject({ code: 'database_unreachable' })
})

describe.skipIf(!server)('on a server', () => {
  const setUp = async () => {
    const url = (await server?.createDatabase()) ?? ''
    await migrate({ url, partitions: 4 })
    const admin = new pg.Client(url)
    await admin.connect()
    return { url, admin }
  }
  /** Another role, in the same database. */
  const as = async (admin: pg.Client, url: string, role: string): Promise<string> => {
    await admin.query(`create role ${role} login password 'test'`)
    await admin.query(`grant select on all tables in schema public to ${role}`)
    return Object.assign(new URL(url), { username: role }).href
  }

  test('a role of its own on a sound server has nothing to hear, a superuser and an owner have', async () => {
    const { url, admin } = await setUp()
    expect(await statuses({ url })).toEqual({ ...healthy, role: 'warn' })
    expect((await doctor({ url })).find(({ name }) => name === 'role')?.found).toContain('superuser')
    const app = await as(admin, url, 'app_one')
    expect(await statuses({ url: app })).toEqual(healthy)
    await admin.query('alter table envelope owner to app_one')
    expect(await statuses({ url: app })).toEqual({ ...healthy, role: 'warn' })
    await admin.end()
  })

  test('weak settings are found', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_two')
    await admin.query(`alter role app_two set synchronous_commit = off`)
    await admin.query(`alter role app_two set default_transaction_isolation = serializable`)
    expect(await statuses({ url: app })).toEqual({ ...healthy, synchronous_commit: 'warn', isolation: 'warn' })
    await admin.end()
  })

  test('settings that lose acknowledged appends are failures', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_three')
    for (const setting of ['fsync', 'full_page_writes']) {
      await admin.query(`alter system set ${setting} = off`)
      await admin.query('select pg_reload_conf()')
      await expect.poll(async () => (await statuses({ url: app }))[setting]).toBe('fail')
      await admin.query(`alter system reset ${setting}`)
      await admin.query('select pg_reload_conf()')
      await expect.poll(async () => (await statuses({ url: app }))[setting]).toBe('ok')
    }
    await admin.end()
  })

  test('a schema that is missing or newer, another encoding and lost partitions are failures', async () => {
    const { url, admin } = await setUp()
    await admin.query('delete from partition where partition = 0')
    expect(await statuses({ url })).toMatchObject({ partitions: 'fail' })
    await admin.query(`insert into colloquy_migration values ('0999_future', '2030-01-01T00:00:00.000Z')`)
    expect(await statuses({ url })).toMatchObject({ 'schema version': 'fail' })
    await admin.query(`create database latin encoding 'LATIN1' template template0`)
    await admin.end()
    const latin = Object.assign(new URL(url), { pathname: '/latin' }).href
    expect(await statuses({ url: latin })).toMatchObject({ encoding: 'fail', 'schema version': 'fail', partitions: 'fail' })
  })
})
