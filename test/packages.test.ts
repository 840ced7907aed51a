/** What a package hands out when it is packed. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const root = new URL('..', import.meta.url)
const run = promisify(execFile)
const read = (path: string) => readFile(new URL(path, root), 'utf8')

interface Manifest {
  readonly name: string
  readonly dependencies?: Record<string, string>
  readonly exports?: Record<string, { readonly '@colloquy/source': string }>
}

const names = (await readdir(new URL('packages/', root))).filter((name) =>
  existsSync(new URL(`packages/${name}/package.json`, root)),
)

test('every package is packed with a README and with the licence of the repository', async () => {
  // Without scripts: those of a package make files for the moment of packing, which another test may be looking at.
  const { stdout } = await run('npm', ['pack', '--workspaces', '--dry-run', '--json', '--ignore-scripts'], { cwd: root })
  const packed = JSON.parse(stdout) as { readonly name: string; readonly files: readonly { readonly path: string }[] }[]
  expect(packed.map(({ name }) => name).toSorted()).toEqual(names.map((name) => `@colloquy/${name}`).toSorted())
  for (const { name, files } of packed) {
    expect(
      files.map(({ path }) => path),
      name,
    ).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']))
  }
  for (const name of names) expect(await read(`packages/${name}/LICENSE`)).toBe(await read('LICENSE'))
})

test.each(names)('the README of %s names its entry points, and only what they export', async (name) => {
  const readme = await read(`packages/${name}/README.md`)
  const manifest = JSON.parse(await read(`packages/${name}/package.json`)) as Manifest
  expect(readme).toContain(`# ${manifest.name}\n`)
  const entries = Object.entries(manifest.exports ?? {})
  for (const [path] of entries) expect(readme).toContain(`${manifest.name}${path.slice(1)}`)
  for (const [, imported = '', path = ''] of readme.matchAll(/^import \{ (.+) \} from '(.+)'$/gm)) {
    const [, entry] = entries.find(([subPath]) => manifest.name + subPath.slice(1) === path) ?? []
    expect(entry, path).toBeDefined()
    const exported = await import(new URL(`packages/${name}/${entry?.['@colloquy/source']}`, root).href)
    expect(Object.keys(exported)).toEqual(expect.arrayContaining(imported.split(', ')))
  }
})

test.each(names)('%s brings the types of what it imports, where those are a package of their own', async (name) => {
  const { dependencies = {} } = JSON.parse(await read(`packages/${name}/package.json`)) as Manifest
  const files = await readdir(new URL(`packages/${name}/src`, root), { recursive: true })
  for (const file of files.filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))) {
    for (const [, imported = ''] of (await read(`packages/${name}/src/${file}`)).matchAll(/ from '([a-z][^:/']*)'/g)) {
      const types = `@types/${imported}`
      if (existsSync(new URL(`node_modules/${types}`, root))) expect(Object.keys(dependencies), file).toContain(types)
    }
  }
})

test('what is built names no source map: the sources that it would lead to are not packed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'colloquy-built-'))
  try {
    const tsc = new URL('node_modules/typescript/bin/tsc', root).pathname
    const project = new URL('packages/cache/tsconfig.build.json', root).pathname
    await run(process.execPath, [tsc, '-p', project, '--outDir', folder, '--tsBuildInfoFile', join(folder, 'info')])
    const files = await readdir(folder)
    expect(files).toEqual(expect.arrayContaining(['index.js', 'index.d.ts']))
    expect(files.filter((file) => file.endsWith('.map'))).toEqual([])
    for (const file of files) expect(await readFile(join(folder, file), 'utf8')).not.toContain('sourceMappingURL=')
  } finally {
    await rm(folder, { recursive: true })
  }
})
