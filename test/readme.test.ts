/** The README is held to the truth: its program runs, its output is real, its error codes are all there are. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { errorCodes } from '@colloquy/core'
import { expect, test } from 'vitest'

const root = new URL('..', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')
const run = promisify(execFile)

/** What stands between `<!-- name -->` and `<!-- /name -->`, without the fence. */
function section(name: string): string {
  const [, text = ''] = readme.split(`<!-- ${name} -->\n`)
  return (text.split(`<!-- /${name} -->`)[0] ?? '').replace(/^```\w*\n/, '').replace(/```\n$/, '')
}

const programs = ['program', 'subscription', 'turn', 'recovery', 'recall', 'budgets', 'compaction']

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

test('every bench is named, and no other', async () => {
  const named = [...section('benches').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => `${name}.bench.ts`)
  const files = await readdir(new URL('test/bench/', root))
  expect(named).toEqual(files.filter((file) => file.endsWith('.bench.ts')).toSorted())
})

test('every file that the README names to be read is there', async () => {
  const named = [...readme.matchAll(/`((?:packages|migrations|test)\/[\w./-]+)`/g)].map(([, path]) => path ?? '')
  expect(named.length).toBeGreaterThan(8)
  await Promise.all(
    named.map((path) => readFile(new URL(path, root)).catch((error: NodeJS.ErrnoException) => expect(error.code).toBe('EISDIR'))),
  )
})
