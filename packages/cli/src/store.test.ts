import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Place, placeName, placeOf } from './store.ts'

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
