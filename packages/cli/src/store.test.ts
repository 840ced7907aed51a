import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { run } from './program.ts'
import { isThere, type Place, placeName, placeOf, readPlaceOf } from './store.ts'

const scratch = await mkdtemp(join(tmpdir(), 'colloquy-store-'))
afterAll(() => rm(scratch, { recursive: true, force: true }))

/** The places that a command opened, and how it ended. */
async function places(...given: string[]) {
  const opened: Place[] = []
  const io = capturedIo()
  const openLog = (place: Place) => {
    opened.push(place)
    return io.openLog()
  }
  const code = await run(given, { ...io, openLog })
  return { code, opened, stdout: io.stdout.text, stderr: io.stderr.text }
}

describe('the store', () => {
  test.each<[string | undefined, string | undefined, Place]>([
    [undefined, undefined, { kind: 'directory', directory: resolve('.colloquy') }],
    [undefined, '/data/c', { kind: 'directory', directory: '/data/c' }],
    ['memory:', '/data/c', { kind: 'memory' }],
    ['postgres://h/d', undefined, { kind: 'postgres', url: 'postgres://h/d' }],
    ['postgresql://h/d', undefined, { kind: 'postgres', url: 'postgresql://h/d' }],
    ['./here', undefined, { kind: 'directory', directory: resolve('here') }],
  ])('--db %s with COLLOQUY_DB %s', (db, variable, place) => {
    expect(placeOf(db, { COLLOQUY_DB: variable })).toEqual(place)
  })

  test.each(['mysql://u:secret@h/d', 'postgres:/u:secret@h/d', 'postgres:u:secret', ''])(
    '%s is refused, and not repeated',
    (db) => {
      expect(() => placeOf(db, {})).toThrow(expect.objectContaining({ code: 'usage_invalid' }))
      expect(() => placeOf(db, {})).not.toThrow(/secret/)
    },
  )

  test.each([
    ['postgres://ann:secret@db.example:5433/talks?sslmode=require&password=secret', 'postgres://db.example:5433/talks'],
    ['postgres://ann:sec%ret@[broken/talks', 'postgres'],
  ])('%s is named without user and password', (url, name) => {
    expect(placeName({ kind: 'postgres', url })).toBe(name)
  })
})

describe('the read url', () => {
  const primary = 'postgres://primary/talk'
  const standby = 'postgres://ann:secret@standby/talk'
  const sample = new URL('../samples/claude-code.jsonl', import.meta.url).pathname

  /** The places that a command opened. */
  async function opened(given: readonly string[], env: Record<string, string>): Promise<Place[]> {
    const places: Place[] = []
    const io = capturedIo({ env })
    await run(given, {
      ...io,
      openLog: (place: Place) => {
        places.push(place)
        return io.openLog()
      },
    })
    expect(io.stdout.text + io.stderr.text).not.toContain('secret')
    return places
  }

  test.each([
    [['show', 'c']],
    [['replay', 'c']],
    [['diff', 'c', '--from', '0', '--to', '1']],
    [['verify', '--all']],
    [['export', 'c', '--format', 'json']],
    [['list']],
  ])('%j goes there', async (command) => {
    const there: Place[] = [{ kind: 'postgres', url: standby }]
    expect(await opened(command, { COLLOQUY_DB: primary, COLLOQUY_READ_URL: standby })).toEqual(there)
    expect(await opened([...command, '--read-url', standby], { COLLOQUY_DB: primary })).toEqual(there)
    expect(await opened(command, { COLLOQUY_DB: primary })).toEqual([{ kind: 'postgres', url: primary }])
  })

  test.each([[['import', sample]], [['fork', 'c', '--at', '1']]])('%j writes, and does not', async (command) => {
    const env = { COLLOQUY_DB: primary, COLLOQUY_READ_URL: standby }
    expect(await opened(command, env)).toEqual([{ kind: 'postgres', url: primary }])
  })

  test('a store named on the command line is the one that is read, unless a read url is named there too', () => {
    const env = { COLLOQUY_DB: primary, COLLOQUY_READ_URL: standby }
    expect(readPlaceOf({ db: 'memory:' }, env)).toEqual({ kind: 'memory' })
    expect(readPlaceOf({ db: 'memory:', readUrl: primary }, env)).toEqual({ kind: 'postgres', url: primary })
  })

  test.each(['memory:', './here', ''])('%j is refused: a standby is a server', (readUrl) => {
    expect(() => readPlaceOf({ readUrl }, {})).toThrow(expect.objectContaining({ code: 'usage_invalid' }))
  })
})

describe('a directory', () => {
  const nowhere = join(scratch, 'nowhere')

  test.each([
    [['budget', 'c', '--set', 'tokens=5']],
    [['budget', '--release', 'r1']],
    [['fork', 'c', '--at', '1']],
    [['compact', 'c']],
    [['uncompact', 'c']],
  ])('without a store takes no %j: what is appended must stay somewhere', async (given) => {
    expect(await places(...given, '--db', nowhere)).toMatchObject({
      code: 1,
      opened: [],
      stdout: '',
      stderr: expect.stringMatching(/^store_missing: .*nowhere/),
    })
  })

  test('gets a store with the first limit of a tenant, which needs no conversation', async () => {
    expect(await places('budget', '--set', 'tokens=5', '--db', nowhere)).toMatchObject({
      code: 0,
      opened: [{ kind: 'directory', directory: nowhere }],
      stderr: expect.stringContaining('Creating an embedded database'),
    })
    // Without a limit there is nothing to keep.
    expect(await places('budget', '--db', nowhere)).toMatchObject({ code: 0, opened: [{ kind: 'memory' }] })
  })

  test('holds a store when a database is in it, and may get one when its place is free', async () => {
    const there = (name: string) => isThere({ kind: 'directory', directory: join(scratch, name) })
    await mkdir(join(scratch, 'store/postgres'), { recursive: true })
    expect(there('store')).toBe(false)
    await writeFile(join(scratch, 'store/postgres/PG_VERSION'), '18\n')
    expect(there('store')).toBe(true)
    expect(there('nowhere')).toBe(false)
  })

  test('whose postgres is another folder or a file is no store, nor is a file', async () => {
    await mkdir(join(scratch, 'project/postgres'), { recursive: true })
    await writeFile(join(scratch, 'project/postgres/init.sql'), 'select 1')
    await mkdir(join(scratch, 'notes'))
    await writeFile(join(scratch, 'notes/postgres'), '')
    for (const name of ['project', 'notes', 'notes/postgres'])
      for (const command of [['list'], ['budget', '--set', 'tokens=5'], ['doctor'], ['migrate']])
        expect(await places(...command, '--db', join(scratch, name))).toMatchObject({
          code: 2,
          opened: [],
          stdout: '',
          stderr: expect.stringMatching(/^usage_invalid: .*(no database of ours|a directory, and)/),
        })
  })
})
