import { setAutoFreeze } from 'immer'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { stampedAt } from '../../../test/support/core-log.ts'
import { defineAction, type StampedAction } from './action.ts'
import { combineSlices, ownState, type Unapplied } from './combine-slices.ts'
import { conversationReducer, conversationSlices } from './conversation/conversation.ts'
import { conversationTitled } from './conversation/lifecycle.ts'
import { type AnyActionCreator, defineSlice } from './slice.ts'

const added = defineAction('todoAdded', z.strictObject({ text: z.string(), details: z.any().optional() }))
const failed = defineAction('failed', z.strictObject({}))

const todos = defineSlice({
  name: 'todos',
  version: 1,
  initial: () => ({ items: [] as { text: string; details?: unknown }[], count: 0 }),
  actions: [added],
  reduce(draft, action) {
    draft.items.push(action.payload)
    draft.count += 1
  },
})
/** Changes its draft, and then throws. */
const fragile = defineSlice({
  name: 'fragile',
  version: 1,
  initial: () => ({ seen: 0 }),
  actions: [added, failed],
  reduce(draft, action) {
    draft.seen += 1
    if (action.type === 'failed') throw new TypeError('no such thing')
  },
})

const slice = (name: string, actions: readonly AnyActionCreator[] = [], version = 1) =>
  defineSlice({ name, version, initial: () => ({}), actions, reduce: () => {} })
const refused = (sliceName: string, problem: string) =>
  expect.objectContaining({ code: 'slice_invalid', details: { slice: sliceName, problem } })

describe('slices cannot be combined', () => {
  test('when two have one name', () => {
    expect(() => combineSlices([slice('a'), slice('a')])).toThrow(refused('a', 'another slice has this name'))
    expect(() => combineSlices([...conversationSlices, slice('messages')])).toThrow(
      refused('messages', 'another slice has this name'),
    )
  })

  test('when two define one type of action differently', () => {
    const other = defineAction('todoAdded', z.strictObject({ title: z.string() }))
    expect(() => combineSlices([todos, slice('b', [other])])).toThrow(
      refused('b', 'another slice defines "todoAdded" differently'),
    )
    expect(() => combineSlices([todos, slice('b', [added])])).not.toThrow()
  })

  test('when one lists an action twice, and would apply it twice', () => {
    expect(() => combineSlices([slice('a', [added, added])])).toThrow(refused('a', 'it lists an action twice'))
  })

  test.each(['', '1a', 'a-b', '__proto__', 'a b'])('when one is called %j', (name) => {
    expect(() => slice(name)).toThrow(refused(name, 'a name is letters, digits and _, beginning with a letter'))
  })

  test.each([0, -1, 1.5, Number.NaN])('when one has version %d', (version) => {
    expect(() => slice('a', [], version)).toThrow(refused('a', `version ${version} is not a whole number from 1`))
  })
})

describe('a reducer', () => {
  const reducer = combineSlices([todos, fragile, slice('idle')])
  const initial = reducer.initial()

  test('knows its actions', () => {
    expect(reducer.definition('todoAdded')).toBe(added)
    expect(reducer.definition('toString')).toBeUndefined()
    expect(reducer.actionCount).toBe(2)
  })

  test('gives an initial state that nobody can change', () => {
    expect(() => (initial.todos as { count: number }).count++).toThrow(TypeError)
    expect(() => (conversationReducer.initial().budget.used as { messages: number }).messages++).toThrow(TypeError)
  })

  test('changes only the slices that listen, and leaves the old state as it was', () => {
    const next = reducer.reduce(initial, stampedAt(1, added({ text: 'a' })))
    expect(next).toEqual({ todos: { items: [{ text: 'a' }], count: 1 }, fragile: { seen: 1 }, idle: {} })
    expect(next.idle).toBe(initial.idle)
    expect(initial.todos).toEqual({ items: [], count: 0 })
  })

  test('gives the same object back when nothing changed', () => {
    expect(reducer.reduce(initial, stampedAt(1, { type: 'unknown', payload: {} }))).toBe(initial)
    const titled = conversationReducer.reduce(conversationReducer.initial(), stampedAt(1, conversationTitled({ title: 'x' })))
    expect(conversationReducer.reduce(titled, stampedAt(2, conversationTitled({ title: 'x' })))).toBe(titled)
  })

  test('freezes what came from an action that was not frozen, whatever the application told immer', () => {
    const details = { deep: { n: 1 } }
    setAutoFreeze(false)
    try {
      const next = reducer.reduce(initial, { ...stampedAt(1, added({ text: 'a' })), payload: { text: 'a', details } })
      expect(Object.isFrozen(next.todos.items[0])).toBe(true)
      expect(Object.isFrozen(details.deep)).toBe(true)
    } finally {
      setAutoFreeze(true)
    }
  })

  test('takes null as a state, in both ways to replay', () => {
    const cleared = defineAction('cleared', z.strictObject({}))
    for (const replay of ['bare', 'produce'] as const) {
      const one = combineSlices([
        defineSlice({
          name: 'one',
          version: 1,
          replay,
          initial: (): { n: number } | null => ({ n: 1 }),
          actions: [cleared],
          reduce: () => null,
        }),
      ])
      expect(one.reduce(one.initial(), stampedAt(1, cleared({})))).toEqual({ one: null })
      const owned = ownState(one.initial())
      one.applyOwned(owned, stampedAt(1, cleared({})))
      expect(owned).toEqual({ one: null })
    }
  })
})

describe('a reducer that throws', () => {
  const reducer = combineSlices([todos, fragile])
  const initial = reducer.initial()
  const action = stampedAt(7, failed({}))
  const problem: Unapplied = { position: 7, type: 'failed', slice: 'fragile', problem: 'no such thing' }

  test('makes a dispatch fail, with the cause', () => {
    expect(() => reducer.reduce(initial, action)).toThrow(
      expect.objectContaining({
        code: 'reducer_failed',
        details: { type: 'failed', slice: 'fragile', problem: 'no such thing' },
        cause: expect.any(TypeError),
      }),
    )
  })

  test('leaves its slice as it was for an action that is stored already, and is reported', () => {
    const reported: Unapplied[] = []
    expect(reducer.reduce(initial, action, (unapplied) => reported.push(unapplied))).toBe(initial)
    expect(reported).toEqual([problem])
    const owned = ownState(initial)
    expect(reducer.applyOwned(owned, action)).toEqual([problem])
    expect(owned).toEqual(initial)
  })

  test('does not keep other slices from applying the action', () => {
    const both = combineSlices([slice('before', [failed]), fragile, { ...todos, actions: [failed] }])
    const seen: Unapplied[] = []
    const next = both.reduce(both.initial(), action, (unapplied) => seen.push(unapplied))
    const owned = ownState(both.initial())
    expect(both.applyOwned(owned, action)).toEqual(seen)
    expect(owned).toEqual(next)
    expect(next).toMatchObject({ fragile: { seen: 0 }, todos: { count: 1 } })
  })

  test.each([
    ['a string', 'a string'],
    [{ no: 'error' }, 'it threw something that is not an Error'],
    [Object.create(null), 'it threw something that is not an Error'],
  ])('may throw anything: %o', (thrown, text) => {
    const odd = combineSlices([
      defineSlice({
        name: 'odd',
        version: 1,
        initial: () => ({}),
        actions: [failed],
        reduce: () => {
          throw thrown
        },
      }),
    ])
    expect(odd.applyOwned(ownState(odd.initial()), action)).toEqual([{ ...problem, slice: 'odd', problem: text }])
  })
})

describe('an action that no slice can apply', () => {
  const stranger: StampedAction = stampedAt(3, { type: 'stranger', payload: {} })
  const newer: StampedAction = { ...stampedAt(3, added({ text: 'a' })), newerSchemaVersion: 2 }
  const reducer = combineSlices([todos])

  test.each([
    [stranger, { position: 3, type: 'stranger', slice: null, problem: 'no slice knows this action' }],
    [
      newer,
      { position: 3, type: 'todoAdded', slice: null, problem: 'it has schema version 2, newer than 1, the last one known here' },
    ],
  ])('changes nothing and is reported: $type', (action, unapplied) => {
    const initial = reducer.initial()
    const reported: Unapplied[] = []
    expect(reducer.reduce(initial, action, (problem) => reported.push(problem))).toBe(initial)
    expect(reported).toEqual([unapplied])
    expect(reducer.reduce(initial, action)).toBe(initial)
    const owned = ownState(initial)
    expect(reducer.applyOwned(owned, action)).toEqual([unapplied])
    expect(owned).toEqual(initial)
  })
})

describe('the state key', () => {
  const key = (...slices: Parameters<typeof combineSlices>[0]) => combineSlices(slices).stateKey

  test("names format, slices and upcasts, in no order but the alphabet's", () => {
    const upcasted = defineAction('moved', z.strictObject({}), { upcasts: [(payload) => payload] })
    expect(key(slice('b', [added]), slice('a', [upcasted], 3))).toBe('v1;a@3,b@1;moved@2')
    expect(key(slice('a', [upcasted], 3), slice('b', [added]))).toBe('v1;a@3,b@1;moved@2')
  })

  test('is another for another version, another slice, another upcast', () => {
    const moved = (steps: number) =>
      defineAction('moved', z.strictObject({}), { upcasts: Array.from({ length: steps }, () => (payload) => payload) })
    const keys = [
      key(slice('a')),
      key(slice('a', [], 2)),
      key(slice('a'), slice('b')),
      key(slice('a', [moved(1)])),
      key(slice('a', [moved(2)])),
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })
})
