/** Who installs a package can compile against it: also the types come with it that its declarations name and a dependency lacks. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

test('a package with declarations depends on the types of what it depends on', async () => {
  const missing: string[] = []
  for (const name of await readdir(join(root, 'packages'))) {
    const file = join(root, 'packages', name, 'package.json')
    if (!existsSync(file)) continue
    const { exports, dependencies = {}, peerDependencies } = JSON.parse(await readFile(file, 'utf8'))
    if (!JSON.stringify(exports ?? null).includes('"types"')) continue
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
      const types = `@types/${dependency.replace(/^@/, '').replace('/', '__')}`
      if (existsSync(join(root, 'node_modules', types)) && !(types in dependencies)) missing.push(`${name}: ${types}`)
    }
  }
  expect(missing).toEqual([])
})
