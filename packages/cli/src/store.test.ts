import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
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

  test('a command that only reads goes where --read-url says, else --db, else COLLOQUY_READ_URL, else COLLOQUY_DB', () => {
    const env = { COLLOQUY_DB: 'postgres://primary/d', COLLOQUY_READ_URL: 'postgres://standby/d' }
    const url = (options: { db?: string; readUrl?: string }, from: Record<string, string> = env) =>
      placeName(readPlaceOf(options, from))
    expect(url({ db: 'postgres://a/d', readUrl: 'postgres://b/d' })).toBe('postgres://b/d')
    expect(url({ db: 'postgres://a/d' })).toBe('postgres://a/d')
    expect(url({})).toBe('postgres://standby/d')
    expect(url({}, { COLLOQUY_DB: 'postgres://primary/d' })).toBe('postgres://primary/d')
  })

  test.each([
    ['postgres://ann:secret@db.example:5433/talks?sslmode=require&password=secret', 'postgres://db.example:5433/talks'],
    ['postgres://ann:sec%ret@[broken/talks', 'postgres'],
  ])('%s is named without user and password', (url, name) => {
    expect(placeName({ kind: 'postgres', url })).toBe(name)
  })
})
