import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { sha256, stampedAt } from '../../../test/support/core-log.ts'
import { reportOf } from '../../../test/support/report-of.ts'
import { defineAction } from './action.ts'
import { toHex } from './bytes.ts'
import { combineSlices } from './combine-slices.ts'
import { defineSlice } from './slice.ts'
import { stateHash } from './state-hash.ts'
import { Vector } from './vector.ts'

const count = (length: number): number[] => Array.from({ length }, (_, index) => index)
/** Lengths on both sides of a full tail, a full node and a full tree of one and of two levels. */
const edges = [0, 1, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 1055, 1056, 1057, 1088, 32_767, 32_768, 32_769, 32_800, 32_833]
const someLength = fc.oneof(fc.nat({ max: 200 }), fc.constantFrom(...edges.filter((n) => n < 1100)))
const someIndex = fc.integer({ min: -250, max: 1200 })

/** A list, read in every way there is. */
const readings = (list: Vector<number> | readonly number[]) => ({
  length: list.length,
  items: [...list],
  json: JSON.stringify(list),
  at: [0, 31, 32, 1023, 1024, list.length - 1, list.length, -1, -33, -list.length].map((index) => list.at(index)),
})

describe('a vector is an array that is never changed', () => {
  test.each(edges)('with %i elements it reads like one', (length) => {
    const vector = Vector.from(count(length))
    expect(readings(vector)).toEqual(readings(count(length)))
    expect(JSON.stringify(vector)).toBe(JSON.stringify(count(length)))
  })

  test.each([32_768, 32_800, 32_801])('with %i elements every index is found and can be replaced', (length) => {
    const vector = Vector.from(count(length))
    expect(count(length).filter((index) => vector.at(index) !== index)).toEqual([])
    for (const index of [0, 1023, 1024, 31_999, 32_767, length - 1]) {
      expect(readings(vector.with(index, -1))).toEqual(readings(count(length).with(index, -1)))
    }
    expect(readings(vector)).toEqual(readings(count(length)))
  })

  type Step = { readonly kind: 'append' | 'with' | 'splice'; readonly at: number; readonly to: number; readonly items: number[] }
  const someStep: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('append', 'with', 'splice'),
    at: someIndex,
    to: someIndex,
    items: fc.array(fc.integer(), { maxLength: 40 }),
  })

  function stepped(vector: Vector<number>, { kind, at, to, items }: Step): Vector<number> {
    if (kind === 'append') return items.reduce((grown, item) => grown.append(item), vector)
    return kind === 'with' ? vector.with(at, items.length) : vector.splice(at, to, items)
  }

  function steppedArray(array: readonly number[], { kind, at, to, items }: Step): number[] {
    if (kind === 'append') return [...array, ...items]
    if (kind === 'with') return at < 0 || at >= array.length ? [...array] : array.with(at, items.length)
    const before = array.slice(0, at)
    return [...before, ...items, ...array.slice(Math.max(before.length, array.length - array.slice(to).length))]
  }

  test('any steps from any version lead where they lead with arrays, and every older version stays as it was', () => {
    fc.assert(
      fc.property(someLength, fc.array(fc.tuple(fc.nat(), someStep), { maxLength: 12 }), (length, steps) => {
        const versions = [{ vector: Vector.from(count(length)), array: count(length) }]
        for (const [pick, step] of steps) {
          const { vector, array } = versions[pick % versions.length] as (typeof versions)[0]
          versions.push({ vector: stepped(vector, step), array: steppedArray(array, step) })
        }
        for (const { vector, array } of versions) expect(readings(vector)).toEqual(readings(array))
      }),
      { numRuns: 300 },
    )
  })

  test('slice, find, findIndex, map and filter answer as those of an array do', () => {
    fc.assert(
      fc.property(someLength, someIndex, someIndex, fc.integer({ min: 1, max: 50 }), (length, from, to, divisor) => {
        const vector = Vector.from(count(length))
        const array = count(length)
        expect(vector.slice(from, to)).toEqual(array.slice(from, to))
        expect(vector.slice(from)).toEqual(array.slice(from))
        expect(vector.at(from)).toBe(array.at(from))
        expect(vector.find((n) => n >= from)).toBe(array.find((n) => n >= from))
        expect(vector.findIndex((n, index) => n + index > to)).toBe(array.findIndex((n, index) => n + index > to))
        const change = (n: number, index: number) => (n % divisor === 0 ? n * index : n)
        expect(readings(vector.map(change))).toEqual(readings(array.map(change)))
        const keep = (n: number, index: number) => (n + index) % divisor > 0
        expect(readings(vector.filter(keep))).toEqual(readings(array.filter(keep)))
      }),
      { numRuns: 300 },
    )
  })

  test.each([Number.NaN, 0.7, 1.5, -0.5, -1.5, Infinity, -Infinity])('the index %d means what it means for an array', (index) => {
    const vector = Vector.from(count(40))
    expect(vector.at(index)).toBe(count(40).at(index))
    expect(vector.slice(index)).toEqual(count(40).slice(index))
    expect(vector.slice(0, index)).toEqual(count(40).slice(0, index))
  })

  test('what changes nothing gives the same vector back', () => {
    const vector = Vector.from(count(70))
    expect(vector.map((n) => n)).toBe(vector)
    expect(vector.filter(() => true)).toBe(vector)
    for (const outside of [70, -1, 0.5, Number.NaN]) expect(vector.with(outside, 0)).toBe(vector)
  })

  test('two vectors with the same elements are equal, however they were built, and no others', () => {
    const built = Vector.from(count(100)).splice(10, 90, [])
    const same = Vector.from([...count(10), ...count(100).slice(90)])
    // A hash that one of them remembers, and a tail that it shares with a longer one, are no part of it.
    stateHash({ list: built }, sha256)
    same.append(-1)
    expect(built).toEqual(same)
    expect(built).toStrictEqual(same)
    expect({ deep: [built] }).toEqual({ deep: [same] })
    for (const other of [same.with(0, -1), same.with(19, -1), same.append(-1), same.splice(19, 20, []), Vector.empty<number>()]) {
      expect(built).not.toEqual(other)
      expect({ deep: [built] }).not.toEqual({ deep: [other] })
      expect({ deep: [built] }).not.toStrictEqual({ deep: [other] })
    }
  })

  test('neither the vector nor its elements can be changed, nor an array it was read into change it', () => {
    const vector = Vector.from([{ a: { b: 1 } }])
    expect(Object.isFrozen(vector)).toBe(true)
    expect(Object.isFrozen(vector.at(0)?.a)).toBe(true)
    vector.slice().push({ a: { b: 2 } })
    vector.toJSON().length = 0
    expect(vector.toJSON()).toEqual([{ a: { b: 1 } }])
  })
})

describe('a vector shows its elements', () => {
  const says = (text: string) => ({ position: 1, messages: Vector.from([{ id: 'm1', text }]) })

  test('in console.log, as deep as an array shows them', () => {
    expect(inspect(says('hi').messages)).toBe("Vector(1) [ { id: 'm1', text: 'hi' } ]")
    expect(inspect(says('hi'))).toBe("{ position: 1, messages: Vector(1) [ { id: 'm1', text: 'hi' } ] }")
    expect(inspect({ a: { b: says('hi') } })).toBe('{ a: { b: { position: 1, messages: Vector(1) [Array] } } }')
    expect(inspect(Vector.from(count(1000)))).toContain('... 900 more items')
    expect(inspect(Vector.empty())).toBe('Vector(0) []')
  })

  test('in a test that fails, where they differ', async () => {
    const shown = await reportOf(`
      import { Vector } from '@colloquy/core'
      import { expect, test } from 'vitest'
      const says = (text) => ({ position: 1, messages: Vector.from([{ id: 'm1', text }]) })
      test('alone', () => expect(says('one').messages).toEqual(says('two').messages))
      test('in a state', () => expect(says('three')).toEqual(says('four')))
      test('strictly', () => expect(says('five')).toStrictEqual(says('six')))
    `)
    const changed = [...shown.matchAll(/^[-+] +"text": "(\w+)"/gm)].map(([, text]) => text)
    expect(changed).toEqual(['two', 'one', 'four', 'three', 'six', 'five'])
  })
})

describe('a vector in a recipe', () => {
  interface Todo {
    readonly title: { readonly text: string }
  }
  const done = defineAction('todoDone', z.strictObject({ index: z.int() }))
  const todos = combineSlices([
    defineSlice({
      name: 'todos',
      version: 1,
      initial: () => ({ open: [{ title: { text: 'buy milk' } }] as readonly Todo[], done: Vector.empty<Todo>() }),
      actions: [done],
      reduce(draft, action) {
        const todo = draft.open[action.payload.index]
        if (todo === undefined) return
        todo.title.text += '!'
        draft.done = draft.done.append(todo).append({ title: todo.title }).with(0, todo)
        draft.open.splice(action.payload.index, 1)
      },
    }),
  ])

  test('takes drafts in as what they stand for', () => {
    const before = todos.initial()
    const after = todos.reduce(before, stampedAt(1, done({ index: 0 })))
    const milk = { title: { text: 'buy milk!' } }
    expect(after.todos.done.toJSON()).toEqual([milk, milk])
    expect(before.todos.open).toEqual([{ title: { text: 'buy milk' } }])
    expect(Object.isFrozen(after.todos.done.at(1)?.title)).toBe(true)
  })
})

describe('what a vector remembers of its hash', () => {
  const hashOf = (vector: Vector<number>): Uint8Array => stateHash({ list: vector }, sha256)
  /** The same elements in a vector that remembers nothing. */
  const fresh = (vector: Vector<number>): Uint8Array => hashOf(Vector.from([...vector]))

  test('is never that of another branch, above or below what was hashed', () => {
    const base = Vector.from(count(40))
    hashOf(base)
    const branches = [base.append(1), base.append(2), base.with(0, -1), base.with(39, -1), base.append(1).with(40, -1)]
    for (const branch of branches) expect(hashOf(branch)).toEqual(fresh(branch))
    expect(new Set(branches.map((branch) => toHex(hashOf(branch)))).size).toBe(branches.length)
    expect(hashOf(base)).toEqual(fresh(base))
  })

  test('holds for any tree of versions, hashed in any order', () => {
    const step = fc.record({ from: fc.nat(), at: fc.nat({ max: 80 }), kind: fc.constantFrom('append', 'with', 'splice', 'hash') })
    fc.assert(
      fc.property(fc.nat({ max: 70 }), fc.array(step, { maxLength: 30 }), (length, steps) => {
        const versions = [Vector.from(count(length))]
        for (const [value, { from, at, kind }] of steps.entries()) {
          const vector = versions[from % versions.length] as Vector<number>
          if (kind === 'hash') hashOf(vector)
          else if (kind === 'append') versions.push(vector.append(1000 + value))
          else if (kind === 'with') versions.push(vector.with(at, 1000 + value))
          else versions.push(vector.splice(at, at + 2, [1000 + value]))
        }
        for (const vector of versions) expect(hashOf(vector)).toEqual(fresh(vector))
      }),
      { numRuns: 200 },
    )
  })

  test('makes the hash of a vector that grew by one cost the same at any length', () => {
    let calls = 0
    const counting = (...parts: readonly Uint8Array[]) => {
      calls += 1
      return sha256(...parts)
    }
    const cost = (length: number): number => {
      const vector = Vector.from(count(length))
      stateHash({ list: vector }, counting)
      calls = 0
      stateHash({ list: vector.append(-1) }, counting)
      return calls
    }
    expect(cost(5000)).toBe(cost(10))
  })
})
