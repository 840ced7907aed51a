import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { runs } from '../../../test/formats/runs.ts'
import { acceptedHistory, anyHistory } from '../../../test/support/core-arbitraries.ts'
import {
  actionsIn,
  envelopesOf,
  given,
  pagesOf,
  readFrom,
  resolveNothing,
  sha256,
  stampedAt,
  testKey,
  timeAt,
} from '../../../test/support/core-log.ts'
import { type Action, defineAction } from './action.ts'
import { toHex } from './bytes.ts'
import { combineSlices, ownState } from './combine-slices.ts'
import { type ConversationState, conversationReducer, conversationSlices } from './conversation/conversation.ts'
import { conversationTitled } from './conversation/lifecycle.ts'
import { messageAdded } from './conversation/messages.ts'
import type { StoredEnvelope } from './envelope.ts'
import { deepFreeze } from './json.ts'
import { type Folded, readAction, replay, resolveAction, resolverOf, startFold } from './replay.ts'
import { defineSlice } from './slice.ts'
import { decodeState, encodeState } from './snapshot.ts'
import { stateHash } from './state-hash.ts'
import { Vector } from './vector.ts'

const say = (id: string, tokenCount = 1) =>
  messageAdded({ message: { v: 1, id, role: 'user', parts: [{ type: 'text', text: id }] }, tokenCount })
const hashOf = (state: object): string => toHex(stateHash(state, sha256))

/** Replays envelopes as a log would give them. */
function replayed(envelopes: readonly StoredEnvelope[], options: { from?: Folded<ConversationState>; end?: object } = {}) {
  const resolve = resolverOf(readFrom(envelopes), testKey, conversationReducer)
  const rest = envelopes.filter(({ position }) => position > (options.from?.position ?? 0))
  return replay(conversationReducer, pagesOf(rest), { resolve, ...options })
}

describe('replay', () => {
  test('leads to the state that dispatching led to, action by action, for any history', async () => {
    await fc.assert(
      fc.asyncProperty(anyHistory, async (actions) => {
        const live = given(...actions).state
        const { state, position, unappliedCount } = await replayed(envelopesOf(actions))
        expect(state).toEqual(live)
        expect(hashOf(state)).toBe(hashOf(live))
        expect({ position, unappliedCount }).toEqual({ position: actions.length, unappliedCount: 0 })
        expect(isDeeplyFrozen(state)).toBe(true)
      }),
      { numRuns: 150 },
    )
  })

  test('onto a snapshot leads where replay from the beginning does, wherever it was taken', async () => {
    await fc.assert(
      fc.asyncProperty(anyHistory, async (actions) => {
        const envelopes = envelopesOf(actions)
        const whole = await replayed(envelopes)
        for (let cut = 0; cut <= actions.length; cut++) {
          const before = given(...actions.slice(0, cut)).state
          const from = { state: decodeState(encodeState(before)) as ConversationState, position: cut, occurredAt: 0 }
          const { state, position } = await replayed(envelopes, { from })
          expect(position).toBe(actions.length)
          expect(hashOf(state)).toBe(hashOf(whole.state))
        }
      }),
      { numRuns: runs(40) },
    )
  })

  test('onto a state that somebody else holds leaves it as it is', async () => {
    const held = given(say('m1')).state
    const { state } = await replayed(envelopesOf([say('m1'), say('m2')]), { from: { state: held, position: 1, occurredAt: 0 } })
    expect(state.messages.length).toBe(2)
    expect(held.messages.length).toBe(1)
  })

  test('stops after a position', async () => {
    const envelopes = envelopesOf([say('m1'), say('m2'), say('m3')])
    for (const position of [0, 1, 2, 3]) {
      const folded = await replayed(envelopes, { end: { position } })
      expect(folded).toMatchObject({ position, occurredAt: position === 0 ? 0 : timeAt(position) })
      expect(folded.state.messages.length).toBe(position)
    }
    expect((await replayed(envelopes, { end: { position: 9 } })).position).toBe(3)
  })

  test('stops after the longest prefix that is not later than a time', async () => {
    const envelopes = envelopesOf(['m1', 'm2', 'm3', 'm4'].map((id) => say(id)))
    const at = (occurredAt: number) => replayed(envelopes, { end: { occurredAt } })
    expect((await at(timeAt(1) - 1)).position).toBe(0)
    expect((await at(timeAt(2))).position).toBe(2)
    expect((await at(timeAt(2) + 1)).position).toBe(2)
    // A time that ran backwards in a foreign log: the prefix ends at the first later one.
    const crooked = envelopes.map((e) => (e.position === 2 ? { ...e, occurredAt: timeAt(9) } : e))
    expect(
      (await replay(conversationReducer, [crooked], { resolve: resolveNothing, end: { occurredAt: timeAt(4) } })).position,
    ).toBe(1)
  })

  test('closes the log that it stopped reading', async () => {
    let closed = false
    async function* pages() {
      try {
        yield* pagesOf(envelopesOf([say('m1'), say('m2')]), 1)
      } finally {
        closed = true
      }
    }
    await replay(conversationReducer, pages(), { resolve: resolveNothing, end: { position: 1 } })
    expect(closed).toBe(true)
  })

  test('keeps what it cannot apply, and says so, without end', async () => {
    const actions = Array.from({ length: 150 }, (_, n): Action => ({ type: `foreign${n}`, payload: {} }))
    const folded = await replayed(envelopesOf([...actions, say('m1')]))
    expect(folded).toMatchObject({ position: 151, unappliedCount: 150 })
    expect(folded.unapplied).toHaveLength(100)
    expect(folded.unapplied[0]).toEqual({ position: 1, type: 'foreign0', slice: null, problem: 'no slice knows this action' })
    expect(folded.state.messages.length).toBe(1)
  })

  test('needs no guard: a history that none would allow today still loads', async () => {
    await fc.assert(
      fc.asyncProperty(anyHistory, acceptedHistory, async (anything, accepted) => {
        expect((await replayed(envelopesOf(anything))).unappliedCount).toBe(0)
        expect((await replayed(envelopesOf(accepted))).unappliedCount).toBe(0)
      }),
      { numRuns: 30 },
    )
  })
})

describe('recipes', () => {
  /** Runs `fold` in a world without clock and chance. */
  function withoutClockOrChance(fold: () => void): void {
    const refuse = (name: string) => () => {
      throw new Error(`a reducer used ${name}`)
    }
    const spies = [
      vi.spyOn(Date, 'now').mockImplementation(refuse('Date.now')),
      vi.spyOn(globalThis, 'Date').mockImplementation(refuse('Date')),
      vi.spyOn(Math, 'random').mockImplementation(refuse('Math.random')),
      vi.spyOn(crypto, 'randomUUID').mockImplementation(refuse('crypto.randomUUID')),
      vi.spyOn(crypto, 'getRandomValues').mockImplementation(refuse('crypto.getRandomValues')),
      vi.spyOn(performance, 'now').mockImplementation(refuse('performance.now')),
      vi.spyOn(process, 'hrtime').mockImplementation(refuse('process.hrtime')),
      vi.spyOn(globalThis, 'fetch').mockImplementation(refuse('fetch')),
    ]
    try {
      fold()
    } finally {
      for (const spy of spies) spy.mockRestore()
    }
  }

  test('of ours apply any history bare as through immer, change neither payloads nor earlier states, and use no clock or chance', () => {
    fc.assert(
      fc.property(anyHistory, (actions) => {
        withoutClockOrChance(() => {
          const fold = startFold(conversationReducer)
          let live = given()
          for (const action of actions) {
            const next = deepFreeze(live.next(action))
            live = live.when(action)
            fold.apply(next)
          }
          const { state, unapplied } = fold.finish()
          expect(unapplied).toEqual([])
          expect(state).toEqual(live.state)
          expect(hashOf(state)).toBe(hashOf(live.state))
        })
      }),
      { numRuns: 200 },
    )
  })

  test('of a user that throw, count and keep payloads replay as they ran', () => {
    const noted = defineAction('noted', z.strictObject({ tags: z.array(z.string()), fail: z.boolean() }))
    const initialTags = Object.freeze([])
    const notes = defineSlice({
      name: 'notes',
      version: 1,
      initial: () => ({ tags: initialTags as readonly string[], last: null as unknown, all: Vector.empty<unknown>() }),
      actions: [noted],
      reduce(draft, action) {
        draft.last = action.payload
        draft.tags.push(...action.payload.tags)
        draft.all = draft.all.append(action.payload)
        if (action.payload.fail) throw new Error('asked to')
      },
    })
    const reducer = combineSlices([...conversationSlices, notes])
    fc.assert(
      fc.property(fc.array(fc.record({ tags: fc.array(fc.string(), { maxLength: 3 }), fail: fc.boolean() })), (payloads) => {
        let live = reducer.initial()
        const fold = startFold(reducer)
        let failures = 0
        for (const [index, payload] of payloads.entries()) {
          const action = stampedAt(index + 1, noted(payload))
          live = reducer.reduce(live, action, () => failures++)
          fold.apply(action)
        }
        const { state, unappliedCount } = fold.finish()
        expect(hashOf(state)).toBe(hashOf(live))
        expect(unappliedCount).toBe(failures)
      }),
    )
  })
})

describe('an initial state', () => {
  test('that a slice shares between conversations is not changed by a bare replay', () => {
    const counted = defineAction('counted', z.strictObject({}))
    const shared = { n: 0 }
    const reducer = combineSlices([
      defineSlice({
        name: 'counter',
        version: 1,
        replay: 'bare',
        initial: () => shared,
        actions: [counted],
        reduce(draft) {
          draft.n += 1
        },
      }),
    ])
    for (let conversation = 0; conversation < 2; conversation++) {
      const fold = startFold(reducer)
      fold.apply(stampedAt(1, counted({})))
      expect(fold.finish()).toMatchObject({ state: { counter: { n: 1 } }, unappliedCount: 0 })
    }
    expect(shared).toEqual({ n: 0 })
  })
})

describe('a stored action', () => {
  const v1 = defineAction('renamed', z.strictObject({ title: z.string() }))
  const v2 = defineAction('renamed', z.strictObject({ name: z.string() }), { upcasts: [({ title }) => ({ name: title ?? '' })] })
  const names = (creator: typeof v2) =>
    combineSlices([
      defineSlice({
        name: 'names',
        version: 1,
        initial: () => [] as string[],
        actions: [creator],
        reduce(draft, action) {
          draft.push(action.payload.name)
        },
      }),
    ])

  test("of an older schema arrives in today's, in a replay", async () => {
    const envelopes = envelopesOf([v1({ title: 'old' })])
    const { state } = await replay(names(v2), [envelopes], { resolve: resolveNothing })
    expect(state).toEqual({ names: ['old'] })
  })

  test('of a newer schema is kept as it is, applied by nobody, and reported', async () => {
    const envelopes = envelopesOf([v2({ name: 'new' })], { reducer: names(v2) })
    const reducer = names(v1 as never)
    const { state, unapplied } = await replay(reducer, [envelopes], { resolve: resolveNothing })
    expect(state).toEqual({ names: [] })
    expect(unapplied).toMatchObject([
      { type: 'renamed', problem: 'it has schema version 2, newer than 1, the last one known here' },
    ])
    expect(await readAction(reducer, envelopes[0] as StoredEnvelope, resolveNothing)).toMatchObject({ payload: { name: 'new' } })
  })

  test('that names others in the log brings them along, in its order, upcast', async () => {
    const linked = defineAction('linked', z.strictObject({ ranges: z.array(z.tuple([z.int(), z.int()])) }), {
      resolve: ({ ranges }) => ranges,
    })
    const reducer = combineSlices([
      defineSlice({ name: 's', version: 1, initial: () => ({}), actions: [linked, v2, conversationTitled], reduce: () => {} }),
    ])
    const stored = envelopesOf([conversationTitled({ title: 'a' }), v1({ title: 'b' }), conversationTitled({ title: 'c' })])
    const resolve = resolverOf(readFrom(stored), testKey, reducer)
    const action = stampedAt(
      4,
      linked({
        ranges: [
          [3, 3],
          [1, 2],
        ],
      }),
    )
    const { resolved } = await resolveAction(reducer, action, resolve)
    expect(resolved?.map(({ payload }) => payload)).toEqual([{ title: 'c' }, { title: 'a' }, { name: 'b' }])
  })

  test('finds nothing at its own position or later, although a replay could: a dispatch could not', async () => {
    const linked = defineAction('linked', z.strictObject({}), {
      resolve: () => [
        [1, 2],
        [2, 9],
        [3, 3],
        [5, 9],
      ],
    })
    const reducer = combineSlices([
      defineSlice({ name: 's', version: 1, initial: () => ({}), actions: [linked], reduce: () => {} }),
    ])
    const log = [1, 2, 3, 4, 5, 6].map((position) => stampedAt(position, linked({})))
    const resolved = await resolveAction(reducer, log[2] as never, async (ranges) => actionsIn(log, ranges))
    expect(resolved.resolved?.map(({ position }) => position)).toEqual([1, 2, 2])
  })
})

test('ownState copies what is frozen, but not vectors, and takes the rest as it is', () => {
  const { state } = given(say('m1'))
  const owned = ownState(state)
  expect(owned).toEqual(state)
  expect(owned.messages).toBe(state.messages)
  expect(Object.isFrozen(owned.budget)).toBe(false)
  expect(ownState(owned)).toBe(owned)
})

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  const children = Vector.isVector(value) ? [...value] : Object.values(value)
  return Object.isFrozen(value) && children.every(isDeeplyFrozen)
}

test('resolving reads ranges that are near each other as one, and gives what was asked for, in that order', async () => {
  const stored = envelopesOf(Array.from({ length: 200 }, (_, i) => say(`m${i + 1}`)))
  const log = readFrom(stored)
  const read: [number, number][] = []
  const counting: typeof log = {
    actions: (key, range) => {
      read.push([range.from, range.to])
      return log.actions(key, range)
    },
  }
  const every = Array.from({ length: 30 }, (_, i): [number, number] => [2 * i + 1, 2 * i + 1])
  const asked: [number, number][] = [[150, 151], ...every, [3, 4]]
  const found = await resolverOf(counting, testKey, conversationReducer)(asked)
  expect(read).toEqual([
    [1, 59],
    [150, 151],
  ])
  expect(found.map(({ position }) => position)).toEqual([150, 151, ...every.map(([at]) => at), 3, 4])
})
