import {
  ColloquyError,
  type ConversationState,
  defineAction,
  defineSlice,
  stateHash,
  toHex,
  toolRequested,
  toolSucceeded,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { given, say, storedIn } from '../../../test/support/given.ts'
import { tampered } from '../../../test/support/tampered-log.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import { sha256 } from './node-ports.ts'
import { verifyChain } from './verify.ts'

test('two engines on one conversation lose no turn and end in the same state', async () => {
  const log = openMemoryLog()
  await using one = createEngine({ log })
  await using two = createEngine({ log })
  const [a, b] = await Promise.all([one.open('c'), two.open('c')])
  const turns = Array.from({ length: 200 }, (_, i) => i)
  const dispatched = await Promise.all(turns.flatMap((i) => [a.dispatch(say(`a${i}`)), b.dispatch(say(`b${i}`))]))
  expect(new Set(dispatched.map((r) => r.position)).size).toBe(400)
  await Promise.all([a.refresh(), b.refresh()])
  expect(a.position).toBe(400)
  expect(toHex(stateHash(a.getState(), sha256))).toBe(toHex(stateHash(b.getState(), sha256)))
  expect(await verifyChain(log, { tenant: 'default', conversationId: 'c' }, sha256)).toMatchObject({ ok: true, positions: 400 })
})

test('what another writer appended is published before what came after it', async () => {
  const { log, dispatch, conversation } = await given([say('m1')])
  const seen: number[] = []
  conversation.envelopes$.subscribe(({ position }) => seen.push(position))
  await using other = createEngine({ log })
  const there = await other.open('c')
  for (let i = 2; i <= 5; i++) await there.dispatch(say(`m${i}`))
  await dispatch(say('m6'))
  expect(seen).toEqual([2, 3, 4, 5, 6])
})

test('a guard of the caller sees the state that its actions would be stored on, also when another writer was first', async () => {
  const { log, dispatch, stored } = await given([say('m1')])
  await using other = createEngine({ log })
  const seen: number[] = []
  const onlyBehindOne = ({ messages }: ConversationState): void => {
    seen.push(messages.length)
    if (messages.length > 1) throw new Error('somebody was first')
  }
  await (await other.open('c')).dispatch(say('m2'))
  await expect(dispatch(say('m3'), { guard: onlyBehindOne })).rejects.toThrow('somebody was first')
  expect(seen).toEqual([1, 2])
  await dispatch(say('m4'), { commandId: 'once' })
  // What is stored is answered before anybody is asked.
  expect(await dispatch(say('m4'), { commandId: 'once', guard: onlyBehindOne })).toMatchObject({ duplicate: true })
  expect((await stored()).map(({ position }) => position)).toEqual([1, 2, 3])
})

test('more missed envelopes than a conflict brings are read from the log', async () => {
  const { log, dispatch, conversation } = await given([say('m1')])
  await using other = createEngine({ log })
  const there = await other.open('c')
  await there.dispatch(Array.from({ length: 1_200 }, (_, i) => say(`x${i}`)))
  await expect(dispatch(say('last'))).resolves.toMatchObject({ position: 1_202 })
  expect(conversation.getState().messages).toHaveLength(1_202)
  expect(await storedIn(log, 'c')).toHaveLength(1_202)
})

test('refresh takes in what other processes appended', async () => {
  const { log, conversation } = await given([say('m1')])
  await using other = createEngine({ log })
  await (await other.open('c')).dispatch(say('m2'))
  expect((await conversation.refresh()).messages).toHaveLength(2)
})

const call = { messageId: 'm', callId: 'x' }

describe('a refresh', () => {
  const looked = defineAction('looked', z.strictObject({ at: z.int() }), { resolve: ({ at }) => [[at, at]] })
  const looks = defineSlice({
    name: 'looks',
    version: 1,
    initial: () => ({ n: 0 }),
    actions: [looked],
    reduce: (draft) => void (draft.n += 1),
  })

  test('that fails in between has taken in nothing, so that nothing is taken in twice', async () => {
    const log = openMemoryLog()
    let failures = 1
    const flaky = tampered(log, () => ({
      actions: (key, range) => {
        if (failures-- > 0) throw new ColloquyError('database_unreachable', { target: 'db', problem: 'a test' })
        return log.actions(key, range)
      },
    }))
    const { conversation, dispatch, engine } = await given([], { log: flaky, slices: [looks] })
    await using other = createEngine({ log, slices: [looks] })
    await (await other.open('c')).dispatch([say('m1'), looked({ at: 1 })])
    await expect(conversation.refresh()).rejects.toMatchObject({ code: 'database_unreachable' })
    expect([conversation.position, conversation.getState().messages.length]).toEqual([0, 0])
    await dispatch(say('m2'))
    const replayed = await engine.replay('c')
    expect(conversation.getState()).toEqual(replayed.state)
    expect(conversation.getState().messages).toHaveLength(2)
  })

  test('never shows a state beside the position of another one', async () => {
    const { log, conversation } = await given()
    await using other = createEngine({ log })
    await (await other.open('c')).dispatch(Array.from({ length: 50 }, (_, i) => say(`m${i}`)))
    const seen = new Set<string>()
    let isOver = false
    const refreshed = conversation.refresh().finally(() => {
      isOver = true
    })
    while (!isOver) {
      seen.add(`${conversation.getState().messages.length} at ${conversation.position}`)
      await Promise.resolve()
    }
    await refreshed
    seen.add(`${conversation.getState().messages.length} at ${conversation.position}`)
    expect([...seen]).toEqual(['0 at 0', '50 at 50'])
  })
})

describe('a refusal', () => {
  /** A tool call was requested, and answered as `done` when that is given, by another process that this one has not heard of. */
  async function givenAnUnheardCall(done?: string) {
    const all = await given()
    const other = createEngine({ log: all.log })
    const there = await other.open('c')
    await there.dispatch(toolRequested({ ...call, name: 't' }))
    if (done !== undefined) await there.dispatch(toolSucceeded(call), { commandId: done })
    await other.close()
    return all
  }

  test('is not given on what this process has missed: the action is judged on what the log has', async () => {
    const { dispatch, stored } = await givenAnUnheardCall()
    await expect(dispatch(toolSucceeded(call))).resolves.toMatchObject({ position: 2 })
    await expect(dispatch(toolSucceeded(call))).rejects.toMatchObject({ code: 'tool_not_open' })
    expect(await stored()).toHaveLength(2)
  })

  test('of a retry whose first result another process has takes nothing from what is dispatched beside it', async () => {
    const { dispatch, stored } = await givenAnUnheardCall('k')
    const both = await Promise.all([dispatch(toolSucceeded(call), { commandId: 'k' }), dispatch(say('m1'))])
    expect(both.map(({ duplicate, envelopes }) => [duplicate, envelopes[0]?.position])).toEqual([
      [true, 2],
      [false, 3],
    ])
    expect(await stored()).toHaveLength(3)
  })

  test.each(['before', 'while'])('is not given to a command that another process stored %s a middleware worked', async (when) => {
    const log = openMemoryLog()
    await using other = createEngine({ log })
    const there = await other.open('c')
    const storeThere = async () => {
      if (there.position > 0) return
      await there.dispatch(toolRequested({ ...call, name: 't' }))
      await there.dispatch(toolSucceeded(call), { commandId: 'k' })
    }
    let attempts = 0
    const { dispatch } = await given([], {
      log,
      middleware: [
        () => (next) => async (action) => {
          attempts += 1
          if (when === 'before') return next(action)
          const taken = await next(action).catch((error: unknown) => error)
          await storeThere()
          if (taken instanceof Error) throw taken
        },
      ],
    })
    if (when === 'before') await storeThere()
    await expect(dispatch(toolSucceeded(call), { commandId: 'k' })).resolves.toMatchObject({ duplicate: true, position: 2 })
    expect(attempts).toBe(when === 'before' ? 0 : 1)
  })

  test('costs one look at the log, however many share it, and what is appended none', async () => {
    const log = openMemoryLog()
    let looks = 0
    const counted = tampered(log, () => ({
      head: (key) => {
        looks += 1
        return log.head(key)
      },
    }))
    const { dispatch } = await given([say('m1')], { log: counted })
    const refused = await Promise.allSettled(Array.from({ length: 50 }, () => dispatch(toolSucceeded(call))))
    expect(refused.every(({ status }) => status === 'rejected')).toBe(true)
    expect(looks).toBe(1)
    await Promise.allSettled([dispatch(say('m2')), dispatch(toolSucceeded(call))])
    expect(looks).toBe(1)
  })
})
