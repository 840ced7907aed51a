import fc from 'fast-check'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { setTenant } from './tenant-session.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

test.skipIf(!server)('a tenant is set under exactly its name, whatever that is, and is gone after the transaction', async () => {
  const client = new pg.Client(await server?.createDatabase())
  await client.connect()
  const name = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }),
    fc.string({ unit: fc.constantFrom('\\', '"', "'", '{', '}', ',', ' ', 'NULL', ';', '--', '$$'), minLength: 1 }),
  )
  const read = `select nullif(current_setting('app.tenants', true), '')::text[] as tenants`
  // Also where backslashes escape in every string.
  for (const standard of ['on', 'off']) {
    await client.query(`set standard_conforming_strings = ${standard}`)
    await fc.assert(
      fc.asyncProperty(
        name.filter((tenant) => !tenant.includes('\u0000') && tenant.isWellFormed()),
        async (tenant) => {
          await client.query('begin')
          await client.query(setTenant(tenant))
          expect((await client.query(read)).rows).toEqual([{ tenants: [tenant] }])
          await client.query('commit')
          expect((await client.query(read)).rows).toEqual([{ tenants: null }])
        },
      ),
    )
  }
  await client.end()
})
