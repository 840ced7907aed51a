import { type Action, defineAction, defineSlice, messageAdded, openEnvelope, stateHash, toHex } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { say, storedIn } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import { sha256 } from './node-ports.ts'
import { verifyChain } from './verify.ts'

const key = { tenant: 'default', conversationId: 'c' }

describe('a reducer that throws', () => {
  /** Counts messages, except that it throws at one. */
  const counterFailingAt = (failing: { at: number }) =>
    defineSlice({
      name: 'counter',
      version: 1,
      initial: () => ({ n: 0 }),
      actions: [messageAdded],
      reduce(draft, action) {
        draft.n += 1
        if (action.position === failing.at) throw new Error(`asked to at ${failing.at}`)
      },
    })

  test('at any of 200 positions refuses the dispatch, stores nothing, and the next one goes on', async () => {
    const failing = { at: 0 }
    const log = openMemoryLog()
    await using engine = createEngine({ log, slices: [counterFailingAt(failing)] })
    const conversation = await engine.open('c')
    const other = await engine.open('other')
    for (let k = 1; k <= 200; k++) {
      failing.at = k
      await expect(conversation.dispatch([say(`a${k}`), say(`b${k}`)])).rejects.toMatchObject({ code: 'reducer_failed' })
      expect((await log.head(key))?.position ?? 0).toBe(k - 1)
      failing.at = 0
      await conversation.dispatch(say(`m${k}`))
    }
    expect(conversation.getState().counter).toEqual({ n: 200 })
    expect(conversation.getState().messages.length).toBe(200)
    expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true, positions: 200 })
    await other.dispatch(say('m1'))
    expect(other.position).toBe(1)
  })

  test('at any of 200 stored positions is reported with it, leaves its slice as it was, and all others go on', async () => {
    const log = openMemoryLog()
    const failing = { at: 0 }
    await using engine = createEngine({ log, slices: [counterFailingAt(failing)] })
    const conversation = await engine.open('c')
    await conversation.dispatch(Array.from({ length: 200 }, (_, i) => say(`m${i}`)))
    for (let k = 1; k <= 200; k++) {
      failing.at = k
      const { state, unapplied, unappliedCount } = await engine.replay('c')
      expect({ unappliedCount, unapplied }).toEqual({
        unappliedCount: 1,
        unapplied: [{ position: k, type: 'messageAdded', slice: 'counter', problem: `asked to at ${k}` }],
      })
      expect(state.counter).toEqual({ n: 199 })
      expect(state.messages.length).toBe(200)
    }
    const errors: unknown[] = []
    failing.at = 7
    await using again = createEngine({ log, slices: [counterFailingAt(failing)], onError: (error) => errors.push(error) })
    await again.open('c')
    expect(errors).toMatchObject([{ position: 7, slice: 'counter' }])
  })
})

test('an older version reads what it does not know as it is, goes on, and a newer one finds all of it again', async () => {
  const rated = defineAction('rated', z.strictObject({ stars: z.int() }))
  const noted1 = defineAction('noted', z.strictObject({ text: z.string() }))
  const noted2 = defineAction('noted', z.strictObject({ words: z.array(z.string()) }), {
    upcasts: [({ text }) => ({ words: (text as string).split(' ') })],
  })
  const notes1 = defineSlice({
    name: 'notes',
    version: 1,
    initial: () => ({ texts: [] as string[] }),
    actions: [noted1],
    reduce: (draft, action) => void draft.texts.push(action.payload.text),
  })
  const notes2 = defineSlice({
    name: 'notes',
    version: 2,
    initial: () => ({ words: [] as string[], stars: 0 }),
    actions: [noted2, rated],
    reduce(draft, action) {
      if (action.type === 'rated') draft.stars += action.payload.stars
      else draft.words.push(...action.payload.words)
    },
  })
  const log = openMemoryLog()
  const errors: unknown[] = []
  const onError = (error: unknown) => void errors.push(error)
  const dispatchTo = async (slice: typeof notes1 | typeof notes2, actions: readonly Action[]) => {
    const engine = createEngine({ log, slices: [slice as typeof notes2], onError, snapshotEvery: 1 })
    const conversation = await engine.open('c')
    await conversation.dispatch(actions)
    await engine.close()
    return conversation.getState()
  }

  await dispatchTo(notes1, [noted1({ text: 'one two' })])
  await dispatchTo(notes2, [rated({ stars: 5 }), noted2({ words: ['three'] })])
  const before = await storedIn(log, 'c')
  expect(errors).toEqual([])

  const old = await dispatchTo(notes1, [noted1({ text: 'four' })])
  expect(old.notes).toEqual({ texts: ['one two', 'four'] })
  expect(errors).toMatchObject([
    { position: 2, type: 'rated', slice: null },
    { position: 3, type: 'noted', slice: null, problem: expect.stringContaining('schema version 2, newer than 1') },
  ])
  await expect(dispatchTo(notes1, [rated({ stars: 1 })])).rejects.toMatchObject({ code: 'action_unknown' })

  const after = await storedIn(log, 'c')
  expect(after.slice(0, 3)).toEqual(before)
  expect(after.map(openEnvelope).map(({ schemaVersion }) => schemaVersion)).toEqual([1, 1, 2, 1])
  errors.length = 0
  const now = await dispatchTo(notes2, [])
  expect(now.notes).toEqual({ words: ['one', 'two', 'three', 'four'], stars: 5 })
  expect(errors).toEqual([])
  expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true, positions: 4 })
  const whole = createEngine({ log, slices: [notes2] })
  expect(toHex(stateHash(now, sha256))).toBe(toHex(stateHash((await whole.replay('c')).state, sha256)))
})

test('an upcast that throws makes nothing else unreadable: the action is reported and stands where it was', async () => {
  const noted1 = defineAction('noted', z.strictObject({ n: z.int() }))
  const noted2 = defineAction('noted', z.strictObject({ text: z.string() }), {
    upcasts: [({ text }) => ({ text: (text as string).toUpperCase() })],
    resolve: () => [[1, 1]],
  })
  const notesOf = (creator: typeof noted1 | typeof noted2, version: number) =>
    defineSlice({
      name: 'notes',
      version,
      initial: () => ({ n: 0 }),
      actions: [creator as typeof noted1],
      reduce: (draft) => void (draft.n += 1),
    })
  const log = openMemoryLog()
  await using before = createEngine({ log, slices: [notesOf(noted1, 1)] })
  await (await before.open('c')).dispatch([say('m1'), noted1({ n: 1 }), say('m2')])
  const errors: unknown[] = []
  await using engine = createEngine({ log, slices: [notesOf(noted2, 2)], onError: (error) => errors.push(error) })
  const conversation = await engine.open('c')
  expect(conversation.getState().notes).toEqual({ n: 0 })
  expect(conversation.getState().messages).toHaveLength(2)
  const unapplied = { position: 2, type: 'noted', slice: null, problem: expect.stringContaining('an upcast to 2 threw') }
  expect(errors).toEqual([unapplied])
  expect(await engine.replay('c')).toMatchObject({ position: 3, unapplied: [unapplied] })
})
