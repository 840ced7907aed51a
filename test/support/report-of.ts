/** What vitest reports of a test file that is a project of its own. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { promisify, stripVTControlCharacters } from 'node:util'

const run = promisify(execFile)
const root = new URL('../..', import.meta.url)
// Not named as a test: a run of all tests that begins meanwhile takes it for none of its own.
const config = `export default {
  ssr: { resolve: { conditions: ['@colloquy/source', 'node'] } },
  test: { include: ['program.ts'] },
}`

/** @returns what is printed, without colours, whether the tests passed or failed */
export async function reportOf(tests: string): Promise<string> {
  const folder = await mkdtemp(new URL('test/.readme-', root).pathname)
  try {
    await writeFile(`${folder}/program.ts`, tests)
    await writeFile(`${folder}/vitest.config.ts`, config)
    const vitest = new URL('node_modules/vitest/vitest.mjs', root).pathname
    const { stdout, stderr } = await run(process.execPath, [vitest, 'run', '--root', folder, '--reporter=verbose']).catch(
      (failed) => failed,
    )
    return stripVTControlCharacters(stdout + stderr)
  } finally {
    await rm(folder, { recursive: true })
  }
}
