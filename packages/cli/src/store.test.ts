import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { run } from './program.ts'
import { type Place, placeName, placeOf, readPlaceOf } from './store.ts'

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
