/**
 * `npm run chaos [-- row ...] [--quick] [--seed N] [--mutant name | --mutants] [--minutes N]`: promises under attack.
 *
 * Each row counts what happened while it killed, cut, raced and filled up, and compares it with what was promised. `--mutant` breaks
 * the product first, and `--mutants` does so with each mutant of each row: then the row must fail.
 */
import { parseArgs } from 'node:util'
import { startPostgres } from '../support/postgres-server.ts'
import { describeFact, holds } from './fact.ts'
import { isMutant, type MutantName, mutants } from './mutants.ts'
import type { Row } from './row.ts'
import { rows } from './rows.ts'
import { type Order, type Report, startRow } from './start-row.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    seed: { type: 'string' },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '60' },
  },
})
const say = (text: string): void => void process.stdout.write(`${text}\n`)

const unknown = positionals.filter((id) => !rows.some((row) => row.id === id))
if (unknown.length > 0) stop(`There is no row ${unknown.join(', ')}. There are: ${rows.map(({ id }) => id).join(', ')}.`)
if (values.mutant !== undefined && !isMutant(values.mutant))
  stop(`There is no mutant "${values.mutant}". There are: ${Object.keys(mutants).join(', ')}.`)
if (values.quick && values.full) stop('Either --quick or --full.')

const order = {
  tier: values.quick ? ('quick' as const) : ('full' as const),
  seed: Number(values.seed ?? Math.floor(Math.random() * 2 ** 32)),
  minutes: Number(values.minutes),
}
const chosen = rows.filter(({ id, byHand }) => (positionals.length === 0 ? byHand !== true : positionals.includes(id)))

// One server for all rows that do not kill theirs: it takes seconds to make.
const server = await startPostgres()
if (server && process.env['COLLOQUY_TEST_URL'] === undefined) process.env['COLLOQUY_TEST_URL'] = await server.createDatabase()
let bad = 0
try {
  for (const row of chosen) for (const mutant of mutantsFor(row)) if (!(await carryOut(row, mutant))) bad += 1
} finally {
  await server?.stop()
}
say(bad === 0 ? 'All as promised.' : `${bad} not as promised. Again: npm run chaos -- <row> --${order.tier} --seed ${order.seed}`)
process.exitCode = bad === 0 ? 0 : 1

function mutantsFor(row: Row): readonly (MutantName | undefined)[] {
  if (values.mutants) return row.mutants
  return [values.mutant as MutantName | undefined]
}

async function carryOut(row: Row, mutant: MutantName | undefined): Promise<boolean> {
  const start = performance.now()
  const report = await startRow({ id: row.id, ...order } satisfies Order, mutant)
  const { verdict, good } = judge(report, mutant)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  say(`${row.id.padEnd(4)} ${verdict.padEnd(7)} ${seconds.padStart(6)} s  seed ${order.seed}  ${mutant ?? row.proves}`)
  say(`     ${describeReport(report)}`)
  return good
}

function judge(report: Report, mutant: MutantName | undefined): { readonly verdict: string; readonly good: boolean } {
  if (report.kind === 'failed') return { verdict: 'FAILED', good: false }
  if (report.kind === 'unavailable') return { verdict: 'SKIPPED', good: process.env['CI'] !== 'true' }
  const kept = report.facts.every(holds)
  if (mutant === undefined) return kept ? { verdict: 'holds', good: true } : { verdict: 'BROKEN', good: false }
  return kept ? { verdict: 'BLIND', good: false } : { verdict: 'noticed', good: true }
}

function describeReport(report: Report): string {
  if (report.kind === 'counted') return report.facts.map(describeFact).join(', ')
  return report.kind === 'failed' ? report.problem : `SKIPPED: ${report.reason}`
}

function stop(problem: string): never {
  process.stderr.write(`${problem}\n`)
  process.exit(2)
}
