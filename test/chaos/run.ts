/**
 * `npm run chaos [-- rows...] [--quick | --full] [--seed N] [--mutant NAME | --mutants] [--minutes N]`: kills, cuts and fills things up
 * under real processes, and counts what is lost. `--mutants` breaks the product on purpose, and fails where a row does not notice.
 */
import { parseArgs } from 'node:util'
import { startPostgres } from '../support/postgres-server.ts'
import { type MutantName, mutants } from './mutants.ts'
import type { Scale } from './row.ts'
import { rows } from './rows.ts'
import { runRow } from './run-row.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    seed: { type: 'string' },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '1' },
  },
})

function refuse(problem: string): never {
  process.stderr.write(`${problem}\n`)
  process.exit(2)
}

const wanted = positionals.map((id) => id.toUpperCase())
for (const id of wanted)
  if (!rows.some((row) => row.id === id)) refuse(`There is no row ${id}. One of: ${rows.map((row) => row.id).join(', ')}.`)
if (values.mutant !== undefined && !(values.mutant in mutants))
  refuse(`There is no mutant ${values.mutant}. One of: ${Object.keys(mutants).join(', ')}.`)
const scale: Scale = values.full ? 'full' : 'quick'
const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000_000) : Number(values.seed)
const minutes = Number(values.minutes)
if (!Number.isInteger(seed) || !(minutes > 0)) refuse('--seed takes a whole number, and --minutes more than 0.')

const chosen = rows.filter((row) => (wanted.length === 0 ? row.byHand !== true : wanted.includes(row.id)))
const runs = chosen.flatMap((row): { row: (typeof rows)[number]; mutant: MutantName | undefined }[] => {
  if (values.mutants) return row.mutants.map((mutant) => ({ row, mutant }))
  if (values.mutant === undefined) return [{ row, mutant: undefined }]
  return row.mutants.includes(values.mutant as MutantName) ? [{ row, mutant: values.mutant as MutantName }] : []
})
if (runs.length === 0) refuse('No row matches.')

const postgres = runs.some(({ row }) => row.service === 'postgres') ? await startPostgres() : undefined
let failures = 0
try {
  for (const { row, mutant } of runs) {
    const { verdict, facts, wrong, seconds } = await runRow(row, { seed, scale, minutes, mutant, postgres })
    const isFine = verdict === 'skipped' ? process.env['CI'] !== 'true' : verdict === (mutant === undefined ? 'green' : 'red')
    if (!isFine) failures += 1
    const figures = Object.entries(facts).map(([name, figure]) => `${name} ${figure}`)
    const subject = mutant === undefined ? row.id : `${row.id} ${mutant}`
    const word = mutant !== undefined && verdict === 'green' ? 'NOT NOTICED' : verdict
    process.stdout.write(`${subject.padEnd(4)}  ${word}  ${figures.join(', ')}  ${seconds.toFixed(1)} s  seed ${seed}\n`)
    for (const text of wrong) process.stdout.write(`      ${text}\n`)
  }
} finally {
  await postgres?.stop()
}
process.exitCode = failures === 0 ? 0 : 1
