/**
 * `npm run bench -- <name> [--json] [--quick]`: figures that anyone can reproduce. Variants are interleaved in one run and compared by medians:
 * on a shared machine only ratios within a run count.
 */
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Bench, printJson, printTable } from './report.ts'

const benches = readdirSync(new URL('.', import.meta.url))
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.replace('.bench.ts', ''))

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
})
const name = positionals[0]
if (name === undefined || !benches.includes(name)) {
  process.stderr.write(`Which bench? One of: ${benches.join(', ')}. For example: npm run bench -- ${benches[0]}\n`)
  process.exit(2)
}
const { run } = (await import(`./${name}.bench.ts`)) as { run: Bench }
const report = await run((text) => void process.stderr.write(`${text}\n`), { isQuick: values.quick })
if (values.json) printJson(report)
else printTable(report)
process.exitCode = report.checks.every(({ holds }) => holds) ? 0 : 1
