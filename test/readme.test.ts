/** The README is held to the truth: its program runs, its output is real, its error codes are all there are. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { errorCodes } from '@colloquy/core'
import { expect, test } from 'vitest'
import { run as runCommand } from '../packages/cli/src/program.ts'
import { capturedIo } from './cli/captured-io.ts'
import { reportOf } from './support/report-of.ts'

const root = new URL('..', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')
const run = promisify(execFile)

/** What stands between `<!-- name -->` and `<!-- /name -->`, without the fence. */
function section(name: string): string {
  const [, text = ''] = readme.split(`<!-- ${name} -->\n`)
  return (text.split(`<!-- /${name} -->`)[0] ?? '').replace(/^```\w*\n/, '').replace(/```\n$/, '')
}

const programs = ['program', 'rules', 'proofs', 'subscription', 'turn', 'recovery', 'recall', 'budgets', 'compaction']

test.each(programs)('the %s in the README runs as it stands and prints what the README says', async (name) => {
  const folder = await mkdtemp(new URL('.readme-', import.meta.url).pathname)
  try {
    const file = `${folder}/program.ts`
    await writeFile(file, section(name))
    const { stdout, stderr } = await run(process.execPath, ['--conditions=@colloquy/source', file])
    expect(stdout).toBe(section(`${name}-output`))
    expect(stderr).toBe('')
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('the tests in the README pass, and are those that the README names', async () => {
  const passed = [...(await reportOf(section('tests'))).matchAll(/^ *(✓|×) program\.ts > (.*?)( \d+ms)?$/gm)]
  expect(passed.map(([, mark, name]) => `${mark} ${name}\n`).join('')).toBe(section('tests-output'))
})

test('the programs in the README are what TypeScript takes with our own settings', async () => {
  const folder = await mkdtemp(new URL('.readme-', import.meta.url).pathname)
  try {
    for (const name of [...programs, 'tests']) await writeFile(`${folder}/${name}.ts`, section(name))
    const settings = { extends: new URL('tsconfig.check.json', root).pathname, include: ['*.ts'] }
    await writeFile(`${folder}/tsconfig.json`, JSON.stringify(settings))
    const { stdout } = await run(process.execPath, [new URL('node_modules/.bin/tsc', root).pathname, '-p', folder]).catch(
      (failed) => failed,
    )
    expect(stdout).toBe('')
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('the demo prints what the README says, but for the folder, hashes and times of the run', async () => {
  const { stdout } = await run(process.execPath, [
    '--conditions=@colloquy/source',
    new URL('packages/cli/src/main.ts', root).pathname,
    'demo',
  ])
  const lasting = (text: string) =>
    text
      .replaceAll(/\S*colloquy-demo-\S+/g, '<folder>')
      .replaceAll(/[0-9a-f]{16}…/g, '<hash>')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, '<uuid>')
      .replace(/tools of 300 ms took .*/, 'tools')
      .replace(/Done in [\d.]+ s/, 'Done')
      // The commands at the end name the program as it was started.
      .replaceAll(/npm run -s colloquy --|npx colloquy/g, 'colloquy')
      .trim()
  expect(lasting(stdout)).toBe(lasting(section('demo')))
})

test('the program is as short as it is said to be', () => {
  expect(section('program').trim().split('\n').length).toBeLessThanOrEqual(25)
})

test('every error code is documented, and no other', () => {
  const documented = [...section('errors').matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code)
  expect(documented.toSorted()).toEqual([...errorCodes].toSorted())
})

test('every command is in the table, and what it names of a command is in its help', async () => {
  const help = async (...words: string[]): Promise<string> => {
    const io = capturedIo()
    expect(await runCommand([...words, '--help'], io)).toBe(0)
    return io.stdout.text
  }
  const [, table = ''] = /^\| command \|[^\n]*\n([^]*?)\n\n/m.exec(readme) ?? []
  const rows = new Map([...table.matchAll(/^\| `(\w+)[^\n]*/gm)].map(([row, command = '']) => [command, row]))
  const [, listed = ''] = /^Commands:\n([^]*?)\n\n/m.exec(await help()) ?? []
  const commands = [...listed.matchAll(/^ {2}(\w+)/gm)].map(([, command]) => command)
  expect([...rows.keys(), 'help'].toSorted()).toEqual(commands.toSorted())
  for (const [command, row] of rows) {
    const known = await help(command)
    for (const [option] of row.matchAll(/--[a-z][a-z-]+/g)) expect(known, `${command} ${option}`).toContain(`${option} `)
  }
})

test('every bench is named, and no other', async () => {
  const named = [...section('benches').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => `${name}.bench.ts`)
  const files = await readdir(new URL('test/bench/', root))
  expect(named).toEqual(files.filter((file) => file.endsWith('.bench.ts')).toSorted())
})

/** The whole path of one that is named from a folder on: `base`, or one around it. Undefined where there is none. */
function placeOf(name: string, base: string): string | undefined {
  if (/^(packages|migrations|test)\//.test(name)) return existsSync(new URL(name, root)) ? name : undefined
  for (let folder = base; folder !== '.'; folder = dirname(folder)) {
    if (existsSync(new URL(`${folder}/${name}`, root))) return `${folder}/${name}`
  }
  return undefined
}

test('every file that the README names is there, and what is named behind it lies in its folder or around it', () => {
  const named = [...readme.matchAll(/`((?:packages|migrations|test)\/[\w./-]+)`/g)].map(([, path]) => path ?? '')
  expect(named.filter((path) => placeOf(path, '.') === undefined)).toEqual([])
  const [, order = ''] = /^## Read the code in this order\n([^]*?)^## /m.exec(readme) ?? []
  const steps = order.split(/^\d+\. /m).slice(1)
  expect(steps.length).toBeGreaterThan(8)
  for (const step of steps) {
    let folder = '.'
    for (const [, name = ''] of step.matchAll(/`([\w./-]*[./][\w./-]*)`/g)) {
      const place = placeOf(name, folder)
      expect(place, `${name} in step "${step}"`).toBeDefined()
      if (name.startsWith('packages/')) folder = dirname(name)
    }
  }
})
