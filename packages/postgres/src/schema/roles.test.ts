import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { appendTo, newKey } from '../../../../test/support/log-writer.ts'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { openPostgresLog } from '../open-postgres.ts'
import { migrate } from './migrate.ts'
import { tenantTables } from './roles.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

/** Roles belong to the server and not to the database, so each test has its own. */
const newName = (kind: string): string => `${kind}_${randomUUID().slice(0, 8)}`
const newDatabase = async (): Promise<string> => (await server?.createDatabase()) ?? ''

async function rowsOf<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

/** Who sees every tenant, by table. */
async function everyTenant(url: string): Promise<Record<string, string>> {
  const rows = await rowsOf<{ table: string; roles: string }>(
    url,
    `select polrelid::regclass::text as table, polroles::regrole[]::text as roles from pg_policy where polname = 'every_tenant'`,
  )
  return Object.fromEntries(rows.map(({ table, roles }) => [table, roles]))
}
const onEachTable = (roles: string) => Object.fromEntries(tenantTables.map((table) => [table, roles]))

describe.skipIf(!server)('roles', () => {
  test.each(['worker', 'auditor'] as const)(
    'a role that is narrowed from %s to the application sees one tenant',
    async (kind) => {
      const url = await newDatabase()
      const [name, other] = [newName('narrowed'), newName('other')]
      await rowsOf(url, `create role ${name} login password 'test'`)
      await migrate({ url, partitions: 1, roles: { [kind]: name } })
      expect(await everyTenant(url)).toEqual(onEachTable(`{${name}}`))
      await migrate({ url, roles: { worker: other } })
      expect(await everyTenant(url)).toEqual(onEachTable(`{${name},${other}}`))

      await migrate({ url, roles: { app: name } })
      expect(await everyTenant(url)).toEqual(onEachTable(`{${other}}`))
      const app = Object.assign(new URL(url), { username: name, password: 'test' }).href
      await using log = await openPostgresLog({ url: app })
      await appendTo(log, newKey('acme'), [{}])
      expect(await rowsOf(app, 'select tenant from envelope')).toEqual([])
      const foreign = `insert into interaction values (0, 'victim', 's', 1, 1, 1, true, 0, false, '[]', '')`
      await expect(rowsOf(app, foreign)).rejects.toMatchObject({ code: '42501' })

      await migrate({ url, roles: { app: other } })
      expect(await everyTenant(url)).toEqual({})
      await migrate({ url, roles: { worker: name } })
      expect(await everyTenant(url)).toEqual(onEachTable(`{${name}}`))
    },
  )

  test('a policy for workers that was given to everybody is theirs alone again', async () => {
    const url = await newDatabase()
    const [app, worker] = [newName('app'), newName('worker')]
    await migrate({ url, partitions: 1, roles: { worker } })
    await rowsOf(url, 'alter policy every_tenant on media to public')
    await migrate({ url, roles: { worker } })
    expect(await everyTenant(url)).toEqual(onEachTable(`{${worker}}`))
    await rowsOf(url, 'alter policy every_tenant on media to public')
    await migrate({ url, roles: { app } })
    expect(Object.keys(await everyTenant(url)).sort()).toEqual(tenantTables.filter((table) => table !== 'media').sort())
  })

  test('one name for two kinds is refused, and nothing is made', async () => {
    const url = await newDatabase()
    const name = newName('both')
    await expect(migrate({ url, partitions: 1, roles: { app: name, auditor: name } })).rejects.toMatchObject({
      code: 'id_invalid',
      details: { kind: `role ${name} (auditor)` },
    })
    expect(await rowsOf(url, `select from pg_roles where rolname = '${name}'`)).toEqual([])
  })

  test('any number of processes give the same roles at once, in one database and in several', async () => {
    const roles = { app: newName('app'), worker: newName('worker'), auditor: newName('auditor') }
    const urls = await Promise.all([newDatabase(), newDatabase()])
    const created: string[] = []
    for (let round = 0; round < 3; round++) {
      const made = await Promise.all([...urls, ...urls, ...urls].map((url) => migrate({ url, partitions: 4, roles })))
      created.push(...made.flatMap(({ createdRoles }) => createdRoles))
      for (const url of urls)
        expect(Object.values(await everyTenant(url))).toEqual(tenantTables.map(() => `{${roles.worker},${roles.auditor}}`))
    }
    expect(created.sort()).toEqual(Object.values(roles).sort())
  })
})
