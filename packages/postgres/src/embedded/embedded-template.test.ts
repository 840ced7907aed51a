import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { cachedTemplate, type Template, unpackTemplate } from './embedded-template.ts'

let base = ''
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'colloquy-template-'))
  vi.stubEnv('COLLOQUY_CACHE', join(base, 'cache'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(base, { recursive: true, force: true })
})

/** A tar of one directory and files in it. */
function tarOf(files: Readonly<Record<string, string | null>>): Template {
  const blocks = Object.entries(files).flatMap(([name, content]) => {
    const header = Buffer.alloc(512)
    header.write(name)
    header.write((content?.length ?? 0).toString(8).padStart(11, '0'), 124)
    header.write(content === null ? '5' : '0', 156)
    const body = Buffer.alloc(Math.ceil((content?.length ?? 0) / 512) * 512)
    body.write(content ?? '')
    return [header, body]
  })
  return Uint8Array.from(Buffer.concat([...blocks, Buffer.alloc(1024)]))
}

const tar = tarOf({ '/base': null, '/base/1': null, '/base/1/112': 'x'.repeat(600), '/empty': null, '/PG_VERSION': '18\n' })
const cached = async () => (await readdir(join(base, 'cache'))).sort()

test('a template is made once, by whichever process comes first, and for only its own parts', async () => {
  const make = vi.fn(async () => tar)
  const all = await Promise.all(Array.from({ length: 5 }, () => cachedTemplate(['a', '1'], make)))
  for (const one of all) expect(Buffer.from(one).equals(tar)).toBe(true)
  make.mockClear()
  expect(Buffer.from(await cachedTemplate(['a', '1'], make)).equals(tar)).toBe(true)
  expect(make).not.toHaveBeenCalled()
  await cachedTemplate(['a', '2'], make)
  await cachedTemplate(['a1'], make)
  expect(make).toHaveBeenCalledTimes(2)
  expect(await cached()).toHaveLength(3)
  expect((await stat(join(base, 'cache'))).mode & 0o077).toBe(0)
})

test('a new one takes the place of those that are a month old, and of nothing else', async () => {
  await cachedTemplate(['old'], async () => tar)
  const [old] = (await cached()) as [string]
  await writeFile(join(base, 'cache', 'notes.txt'), 'not ours')
  const longAgo = new Date(Date.now() - 40 * 24 * 60 * 60 * 1000)
  for (const name of await cached()) await utimes(join(base, 'cache', name), longAgo, longAgo)
  await cachedTemplate(['new'], async () => tar)
  await cachedTemplate(['newer'], async () => tar)
  expect(await cached()).toEqual([expect.stringMatching(/^embedded-/), expect.stringMatching(/^embedded-/), 'notes.txt'])
  expect(await cached()).not.toContain(old)
})

test('a file that is cut off is not used, and replaced', async () => {
  await cachedTemplate(['a'], async () => tar)
  const file = join(base, 'cache', (await cached())[0] as string)
  for (const length of [0, 100, 1024, tar.length - 512]) {
    await truncate(file, length)
    const make = vi.fn(async () => tar)
    expect(Buffer.from(await cachedTemplate(['a'], make)).equals(tar)).toBe(true)
    expect(make).toHaveBeenCalledTimes(1)
    expect((await readFile(file)).equals(tar)).toBe(true)
  }
})

test('where nothing can be kept, each one is made', async () => {
  await writeFile(join(base, 'cache'), 'a file where the directory should be')
  const make = vi.fn(async () => tar)
  for (let round = 0; round < 2; round++) expect(await cachedTemplate(['a'], make)).toEqual(tar)
  expect(make).toHaveBeenCalledTimes(2)
})

test('is unpacked whole, or not at all', async () => {
  const directory = join(base, 'postgres')
  await unpackTemplate(tar, directory)
  expect((await readdir(directory)).sort()).toEqual(['PG_VERSION', 'base', 'empty'])
  expect(await readFile(join(directory, 'base', '1', '112'), 'utf8')).toBe('x'.repeat(600))
  expect((await stat(directory)).mode & 0o777).toBe(0o700)

  const other = join(base, 'other')
  await expect(unpackTemplate(tarOf({ '/a': 'x', '/a/b': 'y' }), other)).rejects.toThrow(/^E[A-Z]+:/)
  expect((await readdir(base)).sort()).toEqual(['postgres'])
})

test('what a process left that was killed over it is removed, and nothing else', async () => {
  await mkdir(join(base, 'postgres.0.draft', 'base'), { recursive: true })
  await mkdir(join(base, 'other.0.draft'))
  await unpackTemplate(tar, join(base, 'postgres'))
  expect((await readdir(base)).sort()).toEqual(['other.0.draft', 'postgres'])
})
