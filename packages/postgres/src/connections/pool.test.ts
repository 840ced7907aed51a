import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { openTestPool } from '../../../../test/support/test-pool.ts'
import { connectPool, connectUrls } from './pool.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const asItIs = (text: string): string => text

const timeouts = { statementMs: 10_000, appendMs: 10_000 }

test.skipIf(!server)('a row is had before the next one is made, bytes as the text that they are', async () => {
  const url = (await server?.createDatabase()) as string
  const holder = new pg.Client(url)
  await holder.connect()
  const pool = openTestPool({ connectionString: url })
  // Larger than what a server keeps back, of which the second one pushes out what was kept of the first. The third waits for the lock,
  // which is let go of when the first has come.
  const text = `select convert_to(repeat('\u00e4', 100000), 'UTF8'), $1 from generate_series(1, 2)
    union all select convert_to(pg_advisory_xact_lock(1)::text, 'UTF8'), null`
  for (const connection of [await connectUrls([url], timeouts), await connectPool(pool, timeouts)]) {
    await holder.query('select pg_advisory_lock(1)')
    const rows: (readonly unknown[])[] = []
    await connection.readRows?.('some tenant', { name: 'waits', text, values: ['x'] }, (row) => {
      rows.push(row)
      if (rows.length === 1) void holder.query('select pg_advisory_unlock(1)')
    })
    expect(rows).toEqual([
      ['\u00e4'.repeat(100_000), 'x'],
      ['\u00e4'.repeat(100_000), 'x'],
      ['', null],
    ])
    for (let turn = 0; turn < 2; turn++) {
      const statement = {
        name: 'asks',
        text: 'select $1::text as told, $2::text as empty',
        columns: [
          ['told', asItIs],
          ['empty', asItIs],
        ] as const,
      }
      // What types forbid, and what is null both before it is prepared and after.
      const values = [undefined as unknown as null, '']
      const told = await connection.withAppendSession?.((session) => session.query(statement, values))
      expect(told).toEqual([{ told: null, empty: '' }])
    }
    const wrong = { name: 'wrong', text: 'select 1 / $1::int', values: [0] }
    await expect(connection.readRows?.('some tenant', wrong, () => {})).rejects.toMatchObject({ code: '22012' })
    await connection.close()
  }
  await pool.end()
  await holder.end()
})
