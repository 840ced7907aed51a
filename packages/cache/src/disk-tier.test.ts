import { mkdtempSync, readdirSync, statSync } from 'node:fs'
import { chmod, copyFile, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type DiskTierOptions, diskTier } from './disk-tier.ts'

let directory: string
let time: number

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'colloquy-disk-'))
  time = Date.now()
})
afterEach(async () => rm(directory, { recursive: true, force: true }))

const open = (options: Partial<DiskTierOptions> = {}) => diskTier({ directory, now: () => time, ...options })
const entry = (text: string, { tags = [] as string[], ttlMs = 60_000 } = {}) => ({
  text: JSON.stringify(text),
  tags,
  expiresAt: time + ttlMs,
})

const files = (below = '') =>
  readdirSync(join(directory, below), { recursive: true, withFileTypes: true })
    .filter((found) => found.isFile())
    .map((found) => join(found.parentPath, found.name))

const theFile = () => files('entries')[0] as string

describe('a file', () => {
  test('is one for each key, named by its whole SHA-256, and readable by its owner only', async () => {
    await open().set('k', entry('1', { tags: ['secret tag'] }))
    const sha256OfK = '8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a'
    expect(theFile()).toBe(join(directory, 'entries', '82', sha256OfK))
    expect(statSync(theFile()).mode & 0o777).toBe(0o600)
    expect(statSync(dirname(theFile())).mode & 0o777).toBe(0o700)
    expect(files().join()).not.toContain('secret')
  })

  test('is read by another process that has the directory', async () => {
    await open().set('k', entry('1'))
    expect(await open().get('k')).toEqual(entry('1'))
  })

  test.each([
    ['cut off', async (file: string) => truncate(file, 80)],
    ['empty', async (file: string) => truncate(file, 0)],
    ['of zeros', async (file: string) => writeFile(file, Buffer.alloc(200))],
    ['no text', async (file: string) => writeFile(file, Buffer.from([0xff, 0xfe, 0x0a]))],
    [
      'changed in one byte of the value',
      async (file: string) => {
        const bytes = await readFile(file)
        bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1
        await writeFile(file, bytes)
      },
    ],
  ])('that is %s is a miss, and is removed', async (_, damage) => {
    const tier = open()
    await tier.set('k', entry('a value', { tags: ['t'] }))
    await damage(theFile())
    expect(await tier.get('k')).toBeUndefined()
    expect(files('entries')).toEqual([])
    await tier.set('k', entry('again'))
    expect(await tier.get('k')).toMatchObject({ text: '"again"' })
  })

  test('that was copied to the name of another key is not that key’s', async () => {
    const tier = open()
    await tier.set('k', entry('k'))
    const copy = theFile()
    await tier.set('other', entry('other'))
    const other = files('entries').find((file) => file !== copy) as string
    await copyFile(copy, other)
    expect(await tier.get('other')).toBeUndefined()
  })

  test('is never seen half written', async () => {
    const tier = open()
    const long = (letter: string) => letter.repeat(200_000)
    await tier.set('k', entry(long('a')))
    let isDone = false
    let reads = 0
    const writing = (async () => {
      for (let i = 0; i < 40 || reads < 10; i++) await tier.set('k', entry(long(i % 2 ? 'a' : 'b')))
      isDone = true
    })()
    while (!isDone) {
      expect(['a', 'b'].map((letter) => JSON.stringify(long(letter)))).toContain((await tier.get('k'))?.text)
      reads += 1
    }
    await writing
    expect(files('entries')).toHaveLength(1)
  })
})

describe('a tag', () => {
  test('finds what is written while it is deleted by another process, or finds it the next time', async () => {
    const [one, other] = [open(), open()]
    for (let i = 0; i < 60; i++) {
      const keys = Array.from({ length: 8 }, (_, k) => `k${k} ${i}`)
      await Promise.all([
        ...keys.map(async (key) => one.set(key, entry('1', { tags: ['t'] }))),
        ...keys.map(async (_, n) => {
          for (let turn = 0; turn < n; turn++) await new Promise((resolve) => setImmediate(resolve))
          await other.deleteTag('t')
          await other.sweep()
        }),
      ])
      await other.deleteTag('t')
      for (const key of keys) expect(await one.get(key)).toBeUndefined()
    }
    expect(files()).toEqual([])
  })

  test('that cannot be noted keeps the entry from being stored: it could not be found again', async () => {
    const tier = open()
    await writeFile(join(directory, 'tags'), '')
    await expect(tier.set('k', entry('1', { tags: ['t'] }))).rejects.toThrow('ENOTDIR')
    expect(await tier.get('k')).toBeUndefined()
  })
})

describe('a sweep', () => {
  test('removes what has expired, and after an hour the marks of its tags', async () => {
    const tier = open()
    await tier.set('short', entry('1', { tags: ['a'], ttlMs: 1_000 }))
    await tier.set('long', entry('2', { tags: ['b'], ttlMs: 9_000_000 }))
    time += 1_000
    expect(await tier.sweep()).toBe(1)
    expect(files('entries')).toHaveLength(1)
    expect(files('tags')).toHaveLength(2)
    time += 3_700_000
    expect(await tier.sweep()).toBe(1)
    expect(files('tags')).toHaveLength(1)
    expect(await tier.get('long')).toBeDefined()
  })

  test('removes what expires first where there is too much', async () => {
    const tier = open({ maxEntries: 3 })
    for (let i = 1; i <= 5; i++) await tier.set(`k${i}`, entry('x', { ttlMs: i * 1_000 }))
    expect(await tier.sweep()).toBe(3)
    expect(await Promise.all([1, 2, 3].map(async (i) => (await tier.get(`k${i}`)) !== undefined))).toEqual([false, false, true])
  })

  test('counts bytes as well', async () => {
    const tier = open({ maxBytes: 2_500 })
    for (let i = 1; i <= 5; i++) await tier.set(`k${i}`, entry('x'.repeat(1_000), { ttlMs: i * 1_000 }))
    expect(await tier.sweep()).toBe(2)
  })

  test('removes what a writer that crashed left behind, but not what is being written', async () => {
    const tier = open()
    await tier.set('k', entry('1'))
    const abandoned = `${theFile()}.crash.tmp`
    await writeFile(abandoned, 'half')
    await tier.sweep()
    expect(files('entries')).toContain(abandoned)
    time += 3_700_000
    await tier.sweep()
    expect(files('entries')).toEqual([])
  })

  test('comes by itself while the directory is written to', async () => {
    const tier = open({ sweepEveryMs: 10_000 })
    await tier.set('old', entry('1', { ttlMs: 1_000 }))
    time += 10_000
    await tier.set('new', entry('2'))
    await tier.close()
    expect(files('entries')).toHaveLength(1)
    const small = open({ maxEntries: 20 })
    for (let i = 0; i < 60; i++) await small.set(`k${i}`, entry('x'))
    await small.close()
    expect(files('entries').length).toBeLessThan(25)
  })
})

test('a directory that cannot be written to is an error of the tier', async () => {
  const file = join(directory, 'file')
  await writeFile(file, '')
  await expect(open({ directory: join(file, 'below') }).set('k', entry('1'))).rejects.toThrow('ENOTDIR')
  await mkdir(join(directory, 'made'))
  await chmod(join(directory, 'made'), 0o700)
  await expect(open({ directory: join(directory, 'made') }).set('k', entry('1'))).resolves.toBeUndefined()
})
