import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { rows } from './rows.ts'
import { runRow } from './run-row.ts'

/** Fixed, so that a run that fails is the run that others have; `npm run chaos` takes another one each time. */
const seed = 20_260_101

let postgres: PostgresServer | undefined
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres?.stop())

for (const row of rows.filter(({ byHand }) => byHand !== true)) {
  test(`${row.id}: ${row.promise}`, async (context) => {
    const { verdict, wrong } = await runRow(row, { seed, scale: 'quick', mutant: undefined, minutes: 1, postgres })
    if (verdict === 'skipped' && process.env['CI'] !== 'true') {
      console.warn(`SKIPPED: ${row.id}: ${wrong.join('; ')}`)
      context.skip()
    }
    expect({ verdict, wrong }).toEqual({ verdict: 'green', wrong: [] })
  })
}
