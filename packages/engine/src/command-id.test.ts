import {
  type Action,
  budgetSet,
  ColloquyError,
  conversationArchived,
  conversationStarted,
  type EventLog,
  toolRequested,
  toolSucceeded,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { given, say, storedIn } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import type { Next } from './middleware.ts'

describe('a command id', () => {
  test('is applied once: the second dispatch gets the first result', async () => {
    const { dispatch, stored } = await given()
    const first = await dispatch([say('m1'), say('m2')], { commandId: 'k' })
    await dispatch(say('m3'))
    const second = await dispatch([say('m1'), say('m2')], { commandId: 'k' })
    expect(second).toMatchObject({ duplicate: true, blocked: false, position: 3 })
    expect(second.envelopes.map((e) => [e.position, e.type])).toEqual(first.envelopes.map((e) => [e.position, e.type]))
    expect(await stored()).toHaveLength(3)
  })

  test('is applied once when both come at the same time, from one engine or from two', async () => {
    const { log, dispatch } = await given()
    await using other = createEngine({ log })
    const there = await other.open('c')
    const results = await Promise.all([
      dispatch(say('m1'), { commandId: 'k' }),
      dispatch(say('m1'), { commandId: 'k' }),
      there.dispatch(say('m1'), { commandId: 'k' }),
      there.dispatch(say('m1'), { commandId: 'k' }),
    ])
    expect(results.filter((r) => !r.duplicate)).toHaveLength(1)
    expect(results.map((r) => r.envelopes[0]?.position)).toEqual([1, 1, 1, 1])
    expect(await storedIn(log, 'c')).toHaveLength(1)
  })

  test('is refused for another input, which is compared by value, not by the order of keys', async () => {
    const { dispatch, stored } = await given()
    const action = say('m1')
    await dispatch(action, { commandId: 'k' })
    const reordered = {
      payload: { tokenCount: 1, message: { parts: [{ text: 'hi', type: 'text' }], role: 'user', id: 'm1', v: 1 } },
      type: 'messageAdded',
    }
    await expect(dispatch(reordered as never, { commandId: 'k' })).resolves.toMatchObject({ duplicate: true })
    await expect(dispatch(say('m1', 'other'), { commandId: 'k' })).rejects.toMatchObject({
      code: 'command_id_reused',
      details: { commandId: 'k', position: 1 },
    })
    expect(await stored()).toHaveLength(1)
  })

  test('means nothing in another conversation', async () => {
    const { engine, dispatch } = await given()
    await dispatch(say('m1'), { commandId: 'k' })
    await expect((await engine.open('d')).dispatch(say('m2'), { commandId: 'k' })).resolves.toMatchObject({
      duplicate: false,
      position: 1,
    })
  })

  test('answers with the first result after a restart, whatever the state or a middleware would say now', async () => {
    const log = openMemoryLog()
    const { dispatch } = await given([], { log })
    await dispatch(say('m1'), { commandId: 'k' })
    await dispatch([
      budgetSet({ scope: 'conversation', limits: { messageTokens: { soft: null, hard: 0 } } }),
      conversationArchived({}),
    ])
    let ran = 0
    await using restarted = createEngine({
      log,
      middleware: [
        () => () => async () => {
          ran += 1
          throw new ColloquyError('budget_unavailable', { scope: 'tenant', problem: 'a test' })
        },
      ],
    })
    const again = await (await restarted.open('c')).dispatch(say('m1'), { commandId: 'k' })
    expect(again).toMatchObject({ duplicate: true, envelopes: [{ position: 1, type: 'messageAdded' }] })
    expect(ran).toBe(0)
  })

  test('answers with the first result where a guard or the end of the conversation would refuse it now', async () => {
    const log = openMemoryLog()
    const { dispatch } = await given([], { log })
    const started = conversationStarted({ title: 'once' })
    await dispatch(started, { commandId: 'start' })
    await dispatch(say('m1'), { commandId: 'k', expectedPosition: 1 })
    expect(await dispatch(started, { commandId: 'start' })).toMatchObject({ duplicate: true, envelopes: [{ position: 1 }] })
    expect(await dispatch(say('m1'), { commandId: 'k', expectedPosition: 1 })).toMatchObject({ duplicate: true })
    await expect(dispatch(conversationStarted({ title: 'twice' }), { commandId: 'start' })).rejects.toMatchObject({
      code: 'command_id_reused',
    })
    await dispatch(conversationArchived({}))
    await using restarted = createEngine({ log })
    const again = await restarted.open('c')
    expect(await again.dispatch(say('m1'), { commandId: 'k' })).toMatchObject({ duplicate: true, envelopes: [{ position: 2 }] })
    await expect(again.dispatch(say('m2'), { commandId: 'new' })).rejects.toMatchObject({ code: 'conversation_archived' })
  })

  test('that is stored already takes nothing away from what is dispatched beside it', async () => {
    const log = openMemoryLog()
    const call = { messageId: 'm1', callId: 'call' }
    const asked = toolRequested({ ...call, name: 'forecast' })
    const { dispatch } = await given([], { log })
    await dispatch(asked, { commandId: 'ask' })
    await dispatch(toolSucceeded({ ...call }))
    await using restarted = createEngine({ log })
    const again = await restarted.open('c')
    // On the retry's account the call would be open again, and the second of these refused.
    const results = await Promise.all([
      again.dispatch(asked, { commandId: 'ask' }),
      again.dispatch(asked),
      again.dispatch(say('m2'), { commandId: 'other' }),
    ])
    expect(results.map(({ duplicate }) => duplicate)).toEqual([true, false, false])
    expect((await storedIn(log, 'c')).map(({ type }) => type)).toEqual([
      'toolRequested',
      'toolSucceeded',
      'toolRequested',
      'messageAdded',
    ])
  })

  test('is looked up before the append only where a middleware might act', async () => {
    for (const middleware of [[], [() => (next: Next) => (action: Action) => next(action)]]) {
      const memory = openMemoryLog()
      let looks = 0
      const log = Object.assign(Object.create(memory) as EventLog, {
        command: (...asked: Parameters<EventLog['command']>) => {
          looks += 1
          return memory.command(...asked)
        },
      })
      const { dispatch } = await given([], { log, middleware })
      await dispatch(say('m1'), { commandId: 'k' })
      expect(looks).toBe(middleware.length)
    }
  })

  test.each(['', 'x'.repeat(201), 'line\nbreak'])('%j is not one', async (commandId) => {
    const { dispatch } = await given()
    await expect(dispatch(say('m1'), { commandId })).rejects.toMatchObject({ code: 'id_invalid', details: { kind: 'commandId' } })
  })
})

describe('when the log fails', () => {
  test('the dispatch is refused with its error, and the next one starts from what the log has', async () => {
    const log = openMemoryLog()
    const { dispatch } = await given([], { log: stumbling(log, 1) })
    await expect(dispatch(say('m1'), { commandId: 'k' })).rejects.toMatchObject({ code: 'append_outcome_unknown' })
    // The append had happened: the retry finds it, and the conversation goes on behind it.
    await expect(dispatch(say('m1'), { commandId: 'k' })).resolves.toMatchObject({ duplicate: true, position: 1 })
    await expect(dispatch(say('m2'))).resolves.toMatchObject({ position: 2 })
  })

  test('what waited behind it was not sent, and goes to the log with what is known then', async () => {
    const log = openMemoryLog()
    const { dispatch, stored, conversation } = await given([], { log: stumbling(log, 1) })
    const first = dispatch(say('m1'), { commandId: 'k1' })
    // The first append is under way.
    for (let i = 0; i < 6; i++) await Promise.resolve()
    const behind = [dispatch(say('m2')), dispatch(say('m3')), conversation.refresh()] as const
    await expect(first).rejects.toMatchObject({ code: 'append_outcome_unknown' })
    await expect(behind[0]).resolves.toMatchObject({ position: 2, duplicate: false })
    await expect(behind[1]).resolves.toMatchObject({ position: 3 })
    expect((await behind[2]).messages.length).toBeGreaterThan(0)
    expect((await stored()).map(({ position }) => position)).toEqual([1, 2, 3])
  })
})

/** A log that stores an append and then loses the connection. */
function stumbling(log: EventLog, times: number): EventLog {
  let left = times
  return Object.assign(Object.create(log) as EventLog, {
    async append(requests: Parameters<EventLog['append']>[0]) {
      const outcomes = await log.append(requests)
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (left-- <= 0) return outcomes
      throw new ColloquyError('append_outcome_unknown', { conversationId: 'c', position: 1, hash: '00' })
    },
  })
}
