import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { appendTo, newKey, readAll } from '../../../../test/support/log-writer.ts'
import { openEmbeddedLog } from './open-embedded.ts'

let base = ''
/** One for all tests, in their order: making a new one takes seconds. */
let directory = ''
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'colloquy-embedded-'))
  directory = join(base, 'parent', 'log')
})
afterAll(() => rm(base, { recursive: true, force: true }))

describe('a log in a directory', () => {
  test('is there again after it was closed, and for nobody else to look into', async () => {
    const log = await openEmbeddedLog({ directory })
    const key = newKey()
    const stored = await appendTo(log, key, [{ commandId: 'a' }, {}])
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    await log.close()
    await log.close()
    await expect(log.head(key)).rejects.toMatchObject({ code: 'log_closed' })

    await using again = await openEmbeddedLog({ directory })
    expect(again.id).toBe(log.id)
    expect(await readAll(again, key)).toEqual(stored)
    expect((await again.feed({ partition: 0, after: 0, limit: 10 })).envelopes).toEqual(stored)
    await appendTo(again, key, [{}])
  })

  test('is another one than the next, although both began as copies of one template', async () => {
    await using one = await openEmbeddedLog({ memory: true })
    await using other = await openEmbeddedLog({ memory: true })
    expect(one.id).toMatch(/^[0-9a-f]{8}$/)
    expect(other.id).toMatch(/^[0-9a-f]{8}$/)
    expect(other.id).not.toBe(one.id)
  })

  test('keeps what was appended when its process is killed, and opens again at once', async () => {
    const child = spawnHolder(
      directory,
      `
      const { appendTo, newKey } = await import(${JSON.stringify(new URL('../../../../test/support/log-writer.ts', import.meta.url).href)})
      await appendTo(log, newKey('killed'), Array.from({ length: 3 }, () => ({ actor: 'killed' })))`,
    )
    await saidReady(child)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await using log = await openEmbeddedLog({ directory })
    const { envelopes: stored } = await log.feed({ partition: 0, after: 0, limit: 100 })
    expect(stored.slice(-3).map(({ position, actor }) => ({ position, actor }))).toEqual(
      [1, 2, 3].map((position) => ({ position, actor: 'killed' })),
    )
  })

  test('refuses a second process within a second and names the first, and the same process too', async () => {
    const child = spawnHolder(directory)
    await saidReady(child)
    const locked = {
      code: 'directory_locked',
      details: { directory, pid: child.pid, since: expect.stringMatching(/^\d{4}-.*Z$/) },
    }
    // The best of some: a machine that has other work may hold up any of them.
    const took: number[] = []
    for (let tries = 0; tries < 5; tries++) {
      const start = performance.now()
      await expect(openEmbeddedLog({ directory })).rejects.toMatchObject(locked)
      took.push(performance.now() - start)
    }
    expect(Math.min(...took)).toBeLessThan(1000)
    child.stdin?.end()
    await once(child, 'exit')

    await using log = await openEmbeddedLog({ directory })
    expect(log.partitions).toBe(1)
    await expect(openEmbeddedLog({ directory })).rejects.toMatchObject({
      code: 'directory_locked',
      details: { pid: process.pid },
    })
    await appendTo(log, newKey(), [{}])
  })

  test('is small when it is new, since each of its files takes time to make', async () => {
    await using log = await openEmbeddedLog({ directory: join(base, 'small') })
    const { rows } = await sql`select datname from pg_database`.execute(log.kysely)
    expect(rows).toEqual([{ datname: 'postgres' }])
    const files = (await readdir(join(base, 'small'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    const sizes = await Promise.all(files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size))
    expect(files.length).toBeLessThan(450)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(20_000_000)
  })

  test('refuses another number of partitions than it has', async () => {
    await expect(openEmbeddedLog({ directory, partitions: 2 })).rejects.toMatchObject({
      code: 'partitions_differ',
      details: { found: 1, asked: 2 },
    })
    await using log = await openEmbeddedLog({ directory, partitions: 1 })
    expect(log.partitions).toBe(1)
  })

  test('refuses what a newer version migrated, and lets the directory go', async () => {
    const log = await openEmbeddedLog({ directory })
    await sql`insert into colloquy_migration (name, timestamp) values ('0999_future', '2030-01-01T00:00:00.000Z')`.execute(
      log.kysely,
    )
    await log.close()
    for (let round = 0; round < 2; round++) {
      await expect(openEmbeddedLog({ directory })).rejects.toMatchObject({
        code: 'schema_newer',
        details: { found: '0999_future', known: '0003_recall' },
      })
    }
    expect(await readdir(directory)).toEqual(['postgres'])
  })
})

test('a directory that cannot be is refused, and so named', async () => {
  const file = join(base, 'file')
  await writeFile(file, '')
  for (const impossible of [file, join(file, 'x')]) {
    await expect(openEmbeddedLog({ directory: impossible })).rejects.toMatchObject({
      code: 'settings_invalid',
      details: { field: 'directory', problem: expect.stringContaining(impossible) },
    })
  }
})

test("a log in memory is nobody else's and gives bigints as numbers", async () => {
  await using one = await openEmbeddedLog({ memory: true })
  await using two = await openEmbeddedLog({ memory: true })
  const key = newKey()
  const appending = appendTo(one, key, [{}])
  await appending
  expect(await two.head(key)).toBeUndefined()
  expect((await sql`select 9007199254740991::bigint as n`.execute(one.kysely)).rows).toEqual([{ n: 9007199254740991 }])
  await sql`update conversation set head_position = 9007199254740993`.execute(one.kysely)
  await expect(one.head(key)).rejects.toMatchObject({
    code: 'database_failed',
    message: expect.stringContaining('9007199254740993'),
  })
})

test('arrays come back as arrays, of whatever type', async () => {
  await using log = await openEmbeddedLog({ memory: true })
  const known = sql`select ${['a', 'b,c']}::text[] as texts, ${[true]}::bool[] as bools, array[9007199254740991] as bigs, ${[1, 2]}::int[] as ints`
  expect((await known.execute(log.kysely)).rows).toEqual([
    { texts: ['a', 'b,c'], bools: [true], bigs: [9007199254740991], ints: [1, 2] },
  ])
  await sql`create type mood as enum ('calm')`.execute(log.kysely)
  await log.kysely.transaction().execute(async (trx) => {
    const asked = sql`select array['calm']::mood[] as moods, ${[1, 2]}::smallint[] as smalls`
    for (let round = 0; round < 2; round++) expect((await asked.execute(trx)).rows).toEqual([{ moods: ['calm'], smalls: [1, 2] }])
  })
})

test('opening, appending and reading ask the catalog for no types: that would be a fifth of an opening', async () => {
  // So that there is a template.
  await (await openEmbeddedLog({ memory: true })).close()
  const asked = vi.spyOn(PGlite.prototype, 'query')
  try {
    await using log = await openEmbeddedLog({ memory: true })
    const key = newKey()
    await appendTo(log, key, [{ commandId: 'a' }])
    await appendTo(log, newKey(), [{}, {}])
    expect(await readAll(log, key)).toHaveLength(1)
    await log.feed({ partition: 0, after: 0, limit: 10 })
    expect(asked).not.toHaveBeenCalled()
  } finally {
    asked.mockRestore()
  }
})

/** Another process that opens the directory, says so, and closes when its stdin ends. */
function spawnHolder(directory: string, then = ''): ChildProcess {
  const module = new URL('./open-embedded.ts', import.meta.url).href
  const code = `
    const { openEmbeddedLog } = await import(${JSON.stringify(module)})
    const log = await openEmbeddedLog({ directory: ${JSON.stringify(directory)} })
    ${then}
    console.log('ready')
    for await (const _ of process.stdin);
    await log.close()`
  return spawn(process.execPath, ['--conditions=@colloquy/source', '--input-type=module', '--eval', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
}

async function saidReady(child: ChildProcess): Promise<void> {
  for await (const chunk of child.stdout ?? []) if (String(chunk).includes('ready')) return
  throw new Error('The other process ended before it was ready.')
}
