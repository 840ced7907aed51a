import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { type Mutant, mutants } from './mutants.ts'
import { rows } from './rows.ts'
import { runRow } from './run-row.ts'

/** Fixed, so that a run that fails is the run that others have; `npm run chaos` takes another one each time. */
const seed = 20_260_101

let postgres: PostgresServer | undefined
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres?.stop())

test.each(Object.entries<Mutant>(mutants))('the mutant %s still fits what it breaks', (_name, { patches = [], sql }) => {
  for (const { file, find } of patches) expect([file, find, timesIn(textOf(file), find)]).toEqual([file, find, 1])
  for (const { name, find } of sql?.functions ?? []) expect([name, find, timesIn(bodyOf(name), find)]).toEqual([name, find, 1])
})

const textOf = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const timesIn = (text: string, part: string): number => text.split(part).length - 1

/** Of a function of the schema, as the server keeps it: by its last definition. */
function bodyOf(name: string): string {
  const all = readdirSync(new URL('../../migrations', import.meta.url))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => textOf(`migrations/${file}`))
    .join('\n')
  const definition = all.slice(all.lastIndexOf(`function ${name}(`))
  const [, tag = ''] = /as (\$\w*\$)/.exec(definition) ?? []
  return definition.split(tag)[1] ?? ''
}

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
