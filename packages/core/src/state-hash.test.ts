import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyHistory, anyValue } from '../../../test/support/core-arbitraries.ts'
import { given, sha256 } from '../../../test/support/core-log.ts'
import { toHex } from './bytes.ts'
import { freezeState } from './combine-slices.ts'
import { type Json, ownJson } from './json.ts'
import { parseJson } from './parse-json.ts'
import { decodeState, encodeState } from './snapshot.ts'
import { canonicalJson, stateHash } from './state-hash.ts'
import { Vector } from './vector.ts'

const hashOf = (state: object): string => toHex(stateHash(state, sha256))

/** The same JSON with the keys of every object the other way round. */
function reversed(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(reversed)
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, child]) => [key, reversed(child)]),
  )
}

describe('the state hash', () => {
  test('is this for this state, in every version to come', () => {
    // Computed by another program (Python's hashlib) from the description in state-hash.ts.
    const list = Vector.from([{ n: 1, id: 'm1' }, 'x', null])
    expect(hashOf({ list, a: { z: [true, null, '\ud800'], ä: 3, b: 1, Z: 2 } })).toBe(
      '9b11b907afabd204930ca3bc131df0bfea6cbed5a87f6f4621f0267866a6cff5',
    )
  })

  test('does not depend on the order of keys or of slices', () => {
    fc.assert(
      fc.property(anyValue, anyValue, (a, b) => {
        const state = ownJson({ a, b, both: [a, b] })
        expect(hashOf(reversed(state) as object)).toBe(hashOf(state as object))
      }),
    )
  })

  test('tells any two states apart, and finds equal ones equal', () => {
    fc.assert(
      fc.property(anyValue, anyValue, (a, b) => {
        expect(hashOf({ s: a }) === hashOf({ s: b })).toBe(canonicalJson(a) === canonicalJson(b))
      }),
      {
        examples: [
          [1, '1'],
          [[], {}],
          [null, 'null'],
          ['list:0:', []],
          [{ a: 1 }, { a: '1' }],
          ['\ud800', '\udfff'],
          ['\ud800', '\\ud800'],
        ],
      },
    )
  })

  test('tells a vector from an array, and two vectors by length, order and every element', () => {
    const lists = [[], [1], [2], [1, 2], [2, 1], [[1, 2]], [[1], [2]], [null], [{ a: 1 }], [{ a: 2 }]]
    const states = lists.flatMap((list) => [{ list }, { list: Vector.from<unknown>(list) }])
    expect(new Set(states.map(hashOf)).size).toBe(states.length)
  })

  test('does not depend on how a vector was built', () => {
    fc.assert(
      fc.property(fc.array(anyValue, { maxLength: 70 }), fc.nat({ max: 70 }), (items, cut) => {
        const whole = Vector.from(items)
        const parts = Vector.from([0, ...items.slice(0, cut), 0])
        const pieced = items
          .slice(cut)
          .reduce<Vector<Json>>((list, item) => list.append(item), parts.splice(0, 1, []).splice(-1, Infinity, []))
        expect(hashOf({ list: pieced })).toBe(hashOf({ list: whole }))
      }),
    )
  })

  test('changes with every value of a state', () => {
    const state = { a: { n: 1, text: 'x', none: null, yes: true }, list: Vector.from([{ id: 'm', parts: [{ text: 'x' }] }]) }
    const changes = [
      { ...state, a: { ...state.a, n: 2 } },
      { ...state, a: { ...state.a, text: 'X' } },
      { ...state, a: { ...state.a, none: false } },
      { ...state, a: { ...state.a, more: 1 } },
      { ...state, b: {} },
      { a: state.a },
      { ...state, list: state.list.with(0, { id: 'm', parts: [{ text: 'y' }] }) },
      { ...state, list: state.list.append({ id: 'n', parts: [] }) },
    ]
    expect(new Set([state, ...changes].map(hashOf)).size).toBe(changes.length + 1)
  })

  test('survives a snapshot, and a snapshot survives everything', () => {
    fc.assert(
      fc.property(anyHistory, (actions) => {
        const { state } = given(...actions)
        const decoded = decodeState(encodeState(state))
        expect(decoded).toEqual(state)
        expect(hashOf(decoded)).toBe(hashOf(state))
      }),
      { numRuns: 100 },
    )
  })

  test('survives a snapshot although a reducer wrote undefined', () => {
    const state = { a: { b: undefined, c: 1 }, gone: undefined, list: [{ d: undefined }] }
    expect(hashOf(decodeState(encodeState(state)))).toBe(hashOf(state))
  })

  test('of an object that is not frozen is not remembered', () => {
    const state = { a: { n: 1 } }
    const before = hashOf(state)
    state.a.n = 2
    expect(hashOf(state)).not.toBe(before)
  })

  test('is the same in another process, time zone and locale', () => {
    const program = String.raw`
      import { createHash } from 'node:crypto'
      import { conversationReducer, messageAdded, metadataChanged, stateHash, toHex } from '@colloquy/core'
      const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
      const text = '\u0130stanbul \ud800 \0'
      const actions = [
        metadataChanged({ set: { '\u00e4': 1, z: 2, a: 3, Z: 1234567.891, '\u0131': [0.1, 1e15] } }),
        messageAdded({ message: { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text }] }, tokenCount: 3 }),
      ]
      const state = actions.reduce(
        (state, action, index) => conversationReducer.reduce(state, { ...action, position: index + 1, occurredAt: index, actor: null }),
        conversationReducer.initial(),
      )
      console.log(toHex(stateHash(state, sha256)), new Date(0).getHours(), (1234.5).toLocaleString())
    `
    const run = (env: Record<string, string>): string =>
      execFileSync(process.execPath, ['--conditions=@colloquy/source', '--input-type=module', '--eval', program], {
        cwd: import.meta.dirname,
        env: { ...process.env, NODE_OPTIONS: '', ...env },
        encoding: 'utf8',
      }).trim()
    const [hash, ...here] = run({ TZ: 'UTC', LANG: 'C', LC_ALL: 'C' }).split(' ')
    const [otherHash, ...there] = run({ TZ: 'Pacific/Kiritimati', LANG: 'de_DE.UTF-8', LC_ALL: 'de_DE.UTF-8' }).split(' ')
    expect(there).not.toEqual(here)
    expect(hash).toMatch(/^[0-9a-f]{64}$/)
    expect(otherHash).toBe(hash)
  })
})

describe('canonicalJson', () => {
  test('is JSON of the same value, with sorted keys', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(parseJson(canonicalJson(value))).toEqual(value)
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value))
      }),
    )
    expect(canonicalJson({ b: [1, { d: 1, c: null }], a: 'x' })).toBe('{"a":"x","b":[1,{"c":null,"d":1}]}')
  })
})

test.each<[string, unknown, string]>([
  ['NaN', { deep: [1, Number.NaN] }, 'its state holds NaN at $.mine.deep[1], which JSON cannot hold'],
  ['Infinity', Infinity, 'its state holds Infinity at $.mine,'],
  ['a Date', { at: new Date(0) }, 'an instance of Date at $.mine.at,'],
  ['a Map', { m: new Map() }, 'an instance of Map at $.mine.m,'],
  ['a function', { f: () => 1 }, 'a function at $.mine.f,'],
  ['a bigint', { n: 1n }, 'a bigint at $.mine.n,'],
  ['undefined in a list', { list: [undefined] }, 'undefined at $.mine.list[0],'],
  ['NaN in a vector', { list: Vector.from([{ n: 1 }, { n: Number.NaN }]) }, 'NaN at $.mine.list[1].n,'],
])('a state with %s has no hash: the slice and the place are named', (_what, mine, problem) => {
  expect(() => stateHash(freezeState({ other: 1, mine }), sha256)).toThrow(
    expect.objectContaining({
      code: 'slice_invalid',
      details: { slice: 'mine', problem: expect.stringContaining(problem) },
    }),
  )
})
