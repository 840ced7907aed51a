import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresServer } from '../support/postgres-server.ts'
import { type Chaos, type Row, ServiceMissing } from './row.ts'

export interface RowReport {
  readonly id: string
  /** `broken`: the row itself did not run. A mutant that is found is `red`, as it should be. */
  readonly verdict: 'green' | 'red' | 'skipped' | 'broken'
  readonly facts: Readonly<Record<string, number | string>>
  readonly wrong: readonly string[]
  readonly seconds: number
}

export type RunOptions = Omit<Chaos, 'directory' | 'postgres'> & { readonly postgres: PostgresServer | undefined }

/** Runs a row in a directory of its own. Never throws. */
export async function runRow(row: Row, { postgres, ...options }: RunOptions): Promise<RowReport> {
  const start = performance.now()
  const report = (verdict: RowReport['verdict'], wrong: readonly string[], facts: RowReport['facts'] = {}): RowReport => ({
    id: row.id,
    verdict,
    facts,
    wrong,
    seconds: (performance.now() - start) / 1000,
  })
  if (row.service === 'postgres' && postgres === undefined) return report('skipped', ['it needs a Postgres'])
  const directory = await mkdtemp(join(tmpdir(), `colloquy-chaos-${row.id}-`))
  await chmod(directory, 0o755)
  try {
    const { facts, wrong } = await row.run({ ...options, directory, postgres: postgres as PostgresServer })
    return report(wrong.length === 0 ? 'green' : 'red', wrong, facts)
  } catch (error) {
    if (error instanceof ServiceMissing) return report('skipped', [error.message])
    return report('broken', [error instanceof Error ? (error.stack ?? error.message) : String(error)])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
