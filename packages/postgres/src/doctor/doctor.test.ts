import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { createRoles } from '../../../../test/support/roles.ts'
import { openEmbeddedLog } from '../embedded/open-embedded.ts'
import { openPostgresLog } from '../open-postgres.ts'
import { migrate } from '../schema/migrate.ts'
import type { Check } from './check.ts'
import { doctor } from './doctor.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

async function statuses(target: Parameters<typeof doctor>[0]): Promise<Record<string, string>> {
  return Object.fromEntries((await doctor(target)).map(({ name, status }) => [name, status]))
}

const healthy = {
  'server version': 'ok',
  'schema version': 'ok',
  schema: 'ok',
  fsync: 'ok',
  synchronous_commit: 'ok',
  standbys: 'ok',
  full_page_writes: 'ok',
  encoding: 'ok',
  isolation: 'ok',
  statement_timeout: 'ok',
  role: 'ok',
  'append only': 'ok',
  triggers: 'ok',
  'row security': 'ok',
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
    // The server ends before a client that a failed test left open.
    admin.on('error', () => {})
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

  test('the roles that migrate makes are sound, and what they are told apart by is said', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const roles = await createRoles(url, { partitions: 4 })
    for (const role of Object.values(roles)) expect(await statuses({ url: role })).toEqual(healthy)
    const sight = async (role: string) => (await doctor({ url: role })).find(({ name }) => name === 'row security')?.found
    expect(await Promise.all([sight(roles.app), sight(roles.worker), sight(roles.auditor)])).toEqual([
      'on',
      'on; this role sees every tenant',
      'on; this role sees every tenant',
    ])
  })

  test('a role that may change envelopes, or passes row-level security by, is found', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_four')
    const found = async (right: string) => {
      await admin.query(`grant ${right} on envelope to app_four`)
      const { status, found } = (await doctor({ url: app })).find(({ name }) => name === 'append only') as Check
      await admin.query(`revoke ${right} on envelope from app_four`)
      return { status, found }
    }
    for (const right of ['update', 'delete', 'truncate', 'trigger'])
      expect(await found(right)).toEqual({ status: 'fail', found: `app_four has ${right} on envelope` })
    expect(await found('update (body)')).toEqual({ status: 'fail', found: 'app_four has update on envelope' })
    await admin.query('grant delete on conversation to app_four')
    expect(await statuses({ url: app })).toMatchObject({ 'append only': 'fail' })
    await admin.query('revoke delete on conversation from app_four')
    await admin.query('alter role app_four bypassrls')
    expect(await statuses({ url: app })).toEqual({ ...healthy, 'row security': 'warn' })
    await admin.end()
  })

  test.each([
    ['drop index envelope_command', /index .*envelope_command/],
    ['alter table envelope drop column input_hash', /column envelope.input_hash/],
    ['alter table conversation alter column head_hash drop not null', /column conversation.head_hash bytea not null/],
    ['drop table media cascade', /column media\./],
    ['drop table conversation cascade', /table conversation, row security|column conversation/],
    ['alter table partition drop column last_feed_position', /column partition.last_feed_position/],
    ['drop function log_append_one_v1', /function log_append_one_v1/],
    [
      `do $$ begin execute replace(pg_get_functiondef('log_append_v1'::regproc), 'begin', 'BEGIN'); end $$`,
      /function log_append_v1/,
    ],
    ['drop policy own_tenants on snapshot', /policy snapshot.own_tenants/],
    ['alter policy own_tenants on envelope using (true)', /policy envelope.own_tenants/],
    ['alter policy own_tenants on media to current_user', /policy media.own_tenants for all to public/],
    ['drop policy own_tenants on media; create policy own_tenants on media for select using (true)', /policy media.own_tenants/],
    [
      'drop policy own_tenants on media; create policy own_tenants on media as restrictive using (true)',
      /policy media.own_tenants for all/,
    ],
    ['create or replace view own_interaction as select * from interaction', /view own_interaction/],
    ['alter table envelope set unlogged', /table envelope, row security/],
    ['alter function log_append_one_v1 security definer', /function log_append_one_v1\(19 arguments\) volatile/],
    ['alter function log_append_v1 stable', /function log_append_v1\(35 arguments\) volatile/],
  ])('a schema that is not as it was migrated is a failure that names what is missing: %s', async (change, advice) => {
    const { url, admin } = await setUp()
    await admin.query(change)
    expect((await doctor({ url })).find(({ name }) => name === 'schema')).toMatchObject({
      status: 'fail',
      advice: expect.stringMatching(advice),
    })
    await admin.end()
  })

  test('a policy that lets see more than our own is a failure where it is for everybody or for this role, else a warning', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const roles = await createRoles(url, { partitions: 1 })
    const admin = new pg.Client(url)
    await admin.connect()
    const app = new URL(roles.app).username
    const found = async (policy: string, target = roles.app) => {
      await admin.query(policy)
      const { status, found } = (await doctor({ url: target })).find(({ name }) => name === 'row security') as Check
      await admin.query('drop policy if exists leak on media')
      return { status, found }
    }
    const widened = 'widened by leak on media'
    expect(await found('create policy leak on media using (true)')).toEqual({ status: 'fail', found: widened })
    expect(await found('create policy leak on media using (true)', url)).toEqual({ status: 'fail', found: widened })
    expect(await found(`create policy leak on media to ${app} using (tenant < 'm')`)).toEqual({ status: 'fail', found: widened })
    expect(await found('create policy leak on media to pg_monitor using (true)')).toEqual({ status: 'warn', found: widened })
    expect(await found('create policy leak on media as restrictive using (true)')).toEqual({ status: 'ok', found: 'on' })
    expect(await found('alter policy every_tenant on envelope to public')).toEqual({
      status: 'fail',
      found: 'widened by every_tenant on envelope',
    })
    await admin.end()
  })

  test('a role that may append and sees every tenant is found, although another role lends it its eyes', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const roles = await createRoles(url, { partitions: 1 })
    const [app, worker] = [roles.app, roles.worker].map((role) => new URL(role).username)
    const admin = new pg.Client(url)
    await admin.connect()
    await admin.query(`grant ${worker} to ${app}`)
    expect(await doctor({ url: roles.app })).toContainEqual(
      expect.objectContaining({ name: 'row security', status: 'warn', found: `${app} may append and sees every tenant` }),
    )
    await admin.end()
  })

  test('a role that lacks a part of what an append needs is found, and of one that may only read that is said', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const roles = await createRoles(url, { partitions: 1 })
    const [app, auditor] = [roles.app, roles.auditor].map((role) => new URL(role).username)
    const admin = new pg.Client(url)
    await admin.connect()
    const found = async (target: string) => (await doctor({ url: target })).find(({ name }) => name === 'role')
    expect(await found(roles.app)).toMatchObject({ status: 'ok', found: app })
    expect(await found(roles.auditor)).toMatchObject({ status: 'ok', found: `${auditor}, which may only read the log` })
    await admin.query(`revoke insert on envelope from ${app}`)
    await admin.query(`revoke update (last_feed_position) on partition from ${app}`)
    expect(await found(roles.app)).toMatchObject({
      status: 'fail',
      found: `${app} lacks update on partition, insert on envelope`,
    })
    await migrate({ url, roles: { app: app as string } })
    await admin.query('revoke execute on function log_append_one_v1 from public')
    expect(await found(roles.app)).toMatchObject({ status: 'ok' })
    await admin.query(`revoke execute on function log_append_one_v1 from ${app}`)
    expect(await found(roles.app)).toMatchObject({
      status: 'fail',
      found: expect.stringContaining('execute on log_append_one_v1('),
    })
    await admin.end()
  })

  test('what runs inside an append and is not ours is found', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_eight')
    await admin.query(`create function eat() returns trigger language plpgsql as 'begin return null; end'`)
    const found = async () => (await doctor({ url: app })).find(({ name }) => name === 'triggers')
    await admin.query('create trigger eat before insert on envelope for each row execute function eat()')
    expect(await found()).toMatchObject({ status: 'fail', found: 'eat on envelope' })
    await admin.query('alter table envelope disable trigger eat')
    expect(await found()).toMatchObject({ status: 'ok', found: 'none' })
    await admin.query('create trigger tell after insert on envelope for each row execute function eat()')
    expect(await found()).toMatchObject({ status: 'warn', found: 'tell on envelope' })
    await admin.query('create rule nothing as on insert to conversation do instead nothing')
    expect(await found()).toMatchObject({ status: 'fail', found: 'nothing on conversation, tell on envelope' })
    await admin.end()
  })

  test('what somebody added to the schema is theirs', async () => {
    const { url, admin } = await setUp()
    await admin.query('create index by_actor on envelope (partition, actor)')
    await admin.query('alter table conversation add column title text')
    await admin.query('create table log_of_mine (it int)')
    expect(await statuses({ url })).toMatchObject({ schema: 'ok' })
    await admin.end()
  })

  test('row-level security that was switched off is a failure', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_five')
    await admin.query('alter table media disable row level security')
    expect(await doctor({ url: app })).toContainEqual(
      expect.objectContaining({ name: 'row security', status: 'fail', found: 'off on media' }),
    )
    await admin.end()
  })

  test('standbys that commits wait for, and a statement timeout, are told', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_six')
    const found = async (name: string) => (await doctor({ url: app })).find((check) => check.name === name)?.found
    expect([await found('standbys'), await found('statement_timeout')]).toEqual(['none that commits wait for', 'none'])
    await admin.query(`alter role app_six set statement_timeout = '30s'`)
    expect(await found('statement_timeout')).toBe('30s')
    await admin.end()
  })

  test('settings that lose acknowledged appends are failures', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_three')
    for (const setting of ['fsync', 'full_page_writes']) {
      await admin.query(`alter system set ${setting} = off`)
      await admin.query('select pg_reload_conf()')
      await expect.poll(async () => (await statuses({ url: app }))[setting]).toBe('fail')
      if (setting === 'fsync') {
        await expect(openPostgresLog({ url: app })).rejects.toMatchObject({ code: 'durability_off', details: { setting } })
        await (await openPostgresLog({ url: app, allowFsyncOff: true })).close()
      }
      await admin.query(`alter system reset ${setting}`)
      await admin.query('select pg_reload_conf()')
      await expect.poll(async () => (await statuses({ url: app }))[setting]).toBe('ok')
    }
    await admin.end()
  })

  test('a log is opened with a word about what weakens it', async () => {
    const { url, admin } = await setUp()
    const app = await as(admin, url, 'app_seven')
    const heard = async (target: string) => {
      const texts: string[] = []
      await (await openPostgresLog({ url: target, onWarning: (text) => void texts.push(text) })).close()
      return texts
    }
    expect(await heard(url)).toEqual([expect.stringContaining('a superuser')])
    expect(await heard(app)).toEqual([])
    await admin.query('alter role app_seven set synchronous_commit = off')
    await admin.query('alter table envelope owner to app_seven')
    expect(await heard(app)).toEqual([
      expect.stringContaining('synchronous_commit=off'),
      expect.stringContaining('the owner of its tables'),
    ])
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
