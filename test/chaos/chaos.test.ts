/** The quick tier of `npm run chaos`. Each row runs in processes of its own; its seed is in the name of what fails. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPostgres } from '../support/postgres-server.ts'
import { describeFact, holds } from './fact.ts'
import { rows } from './rows.ts'
import { startRow } from './start-row.ts'

const seed = Number(process.env['COLLOQUY_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
const isServerGiven = process.env['COLLOQUY_TEST_URL'] !== undefined
let stop: (() => Promise<void>) | undefined

beforeAll(async () => {
  const server = await startPostgres()
  stop = server?.stop
  // The rows' processes find it there.
  if (server && !isServerGiven) process.env['COLLOQUY_TEST_URL'] = await server.createDatabase()
})
afterAll(async () => {
  if (!isServerGiven) delete process.env['COLLOQUY_TEST_URL']
  await stop?.()
})

for (const { id, proves } of rows.filter((row) => row.byHand !== true)) {
  test(`${id}: ${proves}`, async (context) => {
    const report = await startRow({ id, tier: 'quick', seed, minutes: 0 })
    if (report.kind === 'unavailable' && process.env['CI'] !== 'true') {
      console.warn(`SKIPPED: ${id}, for ${report.reason}`)
      context.skip(report.reason)
    }
    const told = report.kind === 'counted' ? report.facts.map(describeFact) : report
    expect(report.kind === 'counted' && report.facts.every(holds), `seed ${seed}: ${JSON.stringify(told, null, 2)}`).toBe(true)
  })
}
