/** How many queries a replay costs, on a real Postgres. What it gives is held by the contract of logs. */
import { afterAll, expect, test } from 'vitest'
import { appendTo, newKey, utf8 } from '../../../../test/support/log-writer.ts'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { openTestPool } from '../../../../test/support/test-pool.ts'
import { openPostgresLog } from '../open-postgres.ts'
import { migrate } from '../schema/migrate.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const small = (count: number) => Array.from({ length: count }, () => ({}))
const large = (bytes: number, count: number) =>
  Array.from({ length: count }, () => ({ body: utf8(JSON.stringify('x'.repeat(bytes))) }))

test.skipIf(!server).each([
  ['small ones', [small(12_000)], 5],
  ['small ones behind one that is too large for any group', [small(100), large(140_000, 1), small(12_000)], 6],
  ['small ones behind many that are too large for a page of as many', [large(20_000, 300), small(12_000)], 14],
] as const)('%s are read in few queries', async (_, parts, limit) => {
  const url = (await server?.createDatabase()) as string
  await migrate({ url })
  const pool = openTestPool({ connectionString: url })
  const log = await openPostgresLog({ pool })
  const key = newKey()
  let end = 0
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 100) end = (await appendTo(log, key, part.slice(i, i + 100))).at(-1)?.position ?? end
  }
  let queries = 0
  pool.on('acquire', () => queries++)
  let read = 0
  for await (const page of log.actions(key, { from: 1, to: end })) read += page.length
  expect(read).toBe(end)
  expect(queries).toBeLessThanOrEqual(limit)
  await log.close()
  await pool.end()
})
