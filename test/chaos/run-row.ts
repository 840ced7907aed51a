/** The process of one row: `run.ts` starts it with an order, and gets back what was counted. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Unavailable } from './row.ts'
import { rows } from './rows.ts'
import type { Order, Report } from './start-row.ts'

process.once('message', (order: Order) => {
  void runRow(order).then((report) => process.send?.(report, () => process.disconnect()))
})

async function runRow({ id, tier, seed, minutes }: Order): Promise<Report> {
  const row = rows.find((row) => row.id === id)
  if (!row) return { kind: 'failed', problem: `There is no row ${id}.` }
  const directory = await mkdtemp(join(tmpdir(), `colloquy-${id}-`))
  const ends: (() => unknown)[] = []
  try {
    const run = { seed, minutes, directory, scale: row.scales[tier], defer: (end: () => unknown) => void ends.unshift(end) }
    return { kind: 'counted', facts: await row.run(run) }
  } catch (error) {
    if (error instanceof Unavailable) return { kind: 'unavailable', reason: error.message }
    return { kind: 'failed', problem: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  } finally {
    for (const end of ends) await end()
    await rm(directory, { recursive: true, force: true })
  }
}
