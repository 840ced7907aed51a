import {
  ColloquyError,
  conversationTitled,
  defineAction,
  defineSlice,
  messageAdded,
  metadataChanged,
  toolSucceeded,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { given, say } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'

describe('dispatch', () => {
  test('stores the action, then answers with the state it led to', async () => {
    const { dispatch, stored, conversation } = await given()
    const result = await dispatch(say('m1', 'hello', 2), { actor: 'ann', cause: 'test' })
    expect(result).toMatchObject({ position: 1, blocked: false, duplicate: false })
    expect(result.state.messages.at(0)).toMatchObject({ id: 'm1', position: 1, tokenCount: 2 })
    expect(conversation.getState()).toBe(result.state)
    expect(await stored()).toMatchObject([
      { position: 1, type: 'messageAdded', actor: 'ann', cause: 'test', commandId: null, action: { payload: { tokenCount: 2 } } },
    ])
  })

  test('keeps the order of dispatches that are made at once, and lets them share an append', async () => {
    const log = openMemoryLog()
    const appends: number[] = []
    const counted = Object.assign(Object.create(log), {
      append: (requests: Parameters<typeof log.append>[0]) => {
        appends.push(requests.flatMap((r) => r.envelopes).length)
        return log.append(requests)
      },
    })
    const { dispatch, stored } = await given([], { log: counted })
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => dispatch(say(`m${i}`))))
    expect(results.map((r) => r.position)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
    expect((await stored()).map((e) => (e.action.payload as { message: { id: string } }).message.id)).toEqual(
      Array.from({ length: 50 }, (_, i) => `m${i}`),
    )
    expect(appends).toEqual([50])
  })

  test('stores an action that changes nothing', async () => {
    const { dispatch, stored } = await given([conversationTitled({ title: 'same' })])
    const result = await dispatch(conversationTitled({ title: 'same' }))
    expect(result.blocked).toBe(false)
    expect(await stored()).toHaveLength(2)
  })

  test('gives every state frozen, so nobody can change it for others', async () => {
    const { dispatch } = await given()
    const { state } = await dispatch([say('m1'), metadataChanged({ set: { a: { b: [1] } } })])
    const write = () => {
      ;(state.metadata['a'] as { b: number[] }).b.push(2)
    }
    expect(write).toThrow(TypeError)
    expect(Object.isFrozen(state.messages.at(0)?.parts)).toBe(true)
  })

  test('is not touched by what the caller does to its objects afterwards', async () => {
    const parts = [{ type: 'text' as const, text: 'before' }]
    const { dispatch, stored } = await given()
    const waiting = dispatch({
      type: 'messageAdded',
      payload: { message: { v: 1, id: 'm1', role: 'user', parts }, tokenCount: 1 },
    })
    if (parts[0]) parts[0].text = 'after'
    const { state } = await waiting
    expect(state.messages.at(0)?.parts).toMatchObject([{ text: 'before' }])
    expect((await stored())[0]?.action.payload).toMatchObject({ message: { parts: [{ text: 'before' }] } })
  })

  test('takes several actions as one command: all or none', async () => {
    const { dispatch, stored } = await given([say('m0')])
    const refused = dispatch([say('m1'), toolSucceeded({ messageId: 'm1', callId: 'never' })])
    await expect(refused).rejects.toMatchObject({ code: 'tool_not_open', details: { callId: 'never', openCalls: 0 } })
    expect(await stored()).toHaveLength(1)
    await dispatch([say('m1'), say('m2')])
    expect((await stored()).map((e) => e.position)).toEqual([1, 2, 3])
  })

  test('refuses one dispatch without harming those that share the append', async () => {
    const { dispatch, stored } = await given()
    const results = await Promise.allSettled([
      dispatch(say('m1')),
      dispatch(toolSucceeded({ messageId: 'x', callId: 'y' })),
      dispatch(say('m2')),
    ])
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await stored()).map((e) => e.position)).toEqual([1, 2])
  })

  test('never lets time run backwards inside a conversation', async () => {
    const times = [5_000_000, 3_000_000, 9_000_000]
    const { dispatch, stored } = await given([], { clock: () => times.shift() ?? 0 })
    for (const id of ['m1', 'm2', 'm3']) await dispatch(say(id))
    expect((await stored()).map((e) => e.occurredAt)).toEqual([5_000_000, 5_000_000, 9_000_000])
  })

  test('refuses everything after conversationArchived, also in the same append', async () => {
    const { dispatch, stored } = await given([say('m1')])
    const both = await Promise.allSettled([dispatch({ type: 'conversationArchived', payload: {} }), dispatch(say('m2'))])
    expect(both[1]).toMatchObject({ status: 'rejected', reason: { code: 'conversation_archived', details: { position: 2 } } })
    await expect(dispatch(say('m3'))).rejects.toMatchObject({ code: 'conversation_archived' })
    expect((await stored()).map((e) => e.type)).toEqual(['messageAdded', 'conversationArchived'])
  })
})

describe('expectedPosition', () => {
  test('lets a dispatch through only at that position', async () => {
    const { dispatch, stored } = await given([say('m1')])
    await expect(dispatch(say('m2'), { expectedPosition: 0 })).rejects.toMatchObject({
      code: 'position_conflict',
      retryable: true,
      details: { conversationId: 'c', expectedPosition: 0, actualPosition: 1 },
    })
    await dispatch(say('m2'), { expectedPosition: 1 })
    expect(await stored()).toHaveLength(2)
  })

  test('is judged on what is stored, also when another process was first', async () => {
    const { log, dispatch, conversation } = await given([say('m1')])
    await using other = createEngine({ log })
    await (await other.open('c')).dispatch(say('m2'))
    expect(conversation.position).toBe(1)
    await expect(dispatch(say('m3'), { expectedPosition: 1 })).rejects.toMatchObject({
      code: 'position_conflict',
      details: { actualPosition: 2 },
    })
    await expect(dispatch(say('m3'), { expectedPosition: 2 })).resolves.toMatchObject({ position: 3 })
  })

  test('accepts a position that only another process has seen so far', async () => {
    const { log, dispatch } = await given([say('m1')])
    await using other = createEngine({ log })
    await (await other.open('c')).dispatch(say('m2'))
    await expect(dispatch(say('m3'), { expectedPosition: 2 })).resolves.toMatchObject({ position: 3 })
  })
})

describe('slices of the user', () => {
  const scored = defineAction('scored', z.strictObject({ points: z.int() }))
  const score = defineSlice({
    name: 'score',
    version: 1,
    initial: () => ({ total: 0, messages: 0 }),
    actions: [scored, messageAdded],
    guard(state, action) {
      if (action.type === 'scored' && state.score.total + action.payload.points < 0)
        throw new ColloquyError('usage_invalid', { problem: 'below zero' })
    },
    reduce(draft, action) {
      if (action.type === 'scored') draft.total += action.payload.points
      else draft.messages += 1
    },
  })

  test('live beside ours, with their own actions, and listen to ours', async () => {
    const { dispatch, conversation } = await given([], { slices: [score] })
    await dispatch([scored({ points: 3 }), say('m1')])
    expect(conversation.getState().score).toEqual({ total: 3, messages: 1 })
    expect(conversation.getState().messages).toHaveLength(1)
    await expect(dispatch(scored({ points: -4 }))).rejects.toMatchObject({ code: 'usage_invalid' })
  })

  test('refuse what their reducer cannot take, and nothing is stored', async () => {
    const fragile = defineSlice({
      name: 'fragile',
      version: 1,
      initial: () => ({}),
      actions: [scored],
      reduce() {
        throw new Error('boom')
      },
    })
    const { dispatch, stored } = await given([], { slices: [fragile] })
    await expect(dispatch(scored({ points: 1 }))).rejects.toMatchObject({
      code: 'reducer_failed',
      details: { type: 'scored', slice: 'fragile', problem: 'boom' },
    })
    expect(await stored()).toEqual([])
  })

  test('must not take a name of ours', () => {
    const twin = defineSlice({ name: 'messages', version: 1, initial: () => 0, actions: [], reduce: () => undefined })
    expect(() => createEngine({ log: openMemoryLog(), slices: [twin] })).toThrow(
      expect.objectContaining({ code: 'slice_invalid' }),
    )
  })
})

describe('input that cannot be stored', () => {
  const message = (extra: object) => ({
    type: 'messageAdded',
    payload: { message: { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text: 'x' }], ...extra }, tokenCount: 1 },
  })
  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
  const cases: readonly [name: string, action: unknown, code: string, details: object][] = [
    ['an unknown action', { type: 'messageEaten', payload: {} }, 'action_unknown', { type: 'messageEaten' }],
    ['no action at all', null, 'action_invalid', { path: '$.type' }],
    ['a wrong payload, with its path', message({ role: 'king' }), 'action_invalid', { path: '$.payload.message.role' }],
    ['an unknown field', { ...message({}), extra: 1 }, 'action_invalid', { path: '$.extra' }],
    [
      'a result for a tool that was never requested',
      { type: 'toolSucceeded', payload: { messageId: 'm', callId: 'c' } },
      'tool_not_open',
      { callId: 'c' },
    ],
    ['depth 65', message({ meta: { deep: nested(64) } }), 'json_too_deep', { limitDepth: 64 }],
    ['2^53 + 1', message({ meta: { n: Number('9007199254740993') } }), 'json_invalid', { path: '$.payload.message.meta.n' }],
    ['NaN', message({ meta: { n: Number.NaN } }), 'json_invalid', { found: 'NaN' }],
    ['-0', message({ meta: { n: -0 } }), 'json_invalid', { found: '-0' }],
    [
      'a Date',
      message({ meta: { at: new Date(0) } }),
      'json_invalid',
      { path: '$.payload.message.meta.at', found: 'an instance of Date' },
    ],
    ['a Map', message({ meta: { m: new Map() } }), 'json_invalid', { found: 'an instance of Map' }],
    ['undefined', message({ meta: { u: undefined } }), 'json_invalid', { found: 'undefined' }],
    [
      '__proto__',
      message({ meta: JSON.parse('{"__proto__": {"polluted": true}}') }),
      'json_invalid',
      { found: 'the key __proto__' },
    ],
    [
      '10,001 keys',
      message({ meta: Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`k${i}`, 1])) }),
      'json_too_wide',
      { keys: 10_001 },
    ],
  ]

  test.each(cases)('%s is refused with a code, and nothing is written', async (_name, action, code, details) => {
    const { dispatch, stored } = await given()
    const refusal = await dispatch(action as never).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ name: 'ColloquyError', code, details })
    expect((refusal as Error).message).toMatch(/[.!]$/)
    expect(await stored()).toEqual([])
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  test('an envelope of 1 MiB is stored, one byte more is refused', async () => {
    const { dispatch, stored } = await given()
    const overhead = JSON.stringify({ payload: say('m1', '').payload }).length
    await dispatch(say('m1', 'x'.repeat(1_048_576 - overhead)))
    await expect(dispatch(say('m2', 'x'.repeat(1_048_577 - overhead)))).rejects.toMatchObject({
      code: 'envelope_too_large',
      details: { bytes: 1_048_577, limitBytes: 1_048_576 },
    })
    expect((await stored())[0]?.body.length).toBe(1_048_576)
  })

  test.each(['', '~b', 'a~', 'a~b~c', 'colloquy:budget', 'colloquy:budget~a', 'x'.repeat(201), 'nul\u0000', 'half \ud800', 42])(
    'the conversation id %j is refused',
    async (id) => {
      await using engine = createEngine({ log: openMemoryLog() })
      await expect(engine.open(id as string)).rejects.toMatchObject({ code: 'id_invalid' })
    },
  )

  test('NUL and lone surrogates survive, byte for byte', async () => {
    const text = 'a\u0000b \ud800 c \udfff é \u{1f600}'
    const { dispatch, stored, engine } = await given()
    await dispatch(say('m1', text))
    expect((await stored())[0]?.action.payload).toMatchObject({ message: { parts: [{ text }] } })
    expect((await engine.replay('c')).state.messages.at(0)?.parts).toEqual([{ type: 'text', text }])
  })
})

describe('a position that is none', () => {
  test.each([Number.NaN, 1.5, 0, -1, Infinity, 3])('%s is not found, by a replay or a fork', async (position) => {
    const { engine } = await given([say('m1'), say('m2')])
    const notFound = { code: 'position_not_found', details: { conversationId: 'c', position, headPosition: 2 } }
    await expect(engine.replay('c', { position })).rejects.toMatchObject(notFound)
    await expect(engine.fork('c', position)).rejects.toMatchObject(notFound)
  })
})

test('a dispatch of no actions stores nothing, and nothing was blocked', async () => {
  const { dispatch, stored } = await given([say('m1')])
  await expect(dispatch([], { commandId: 'k' })).resolves.toMatchObject({ position: 1, blocked: false, envelopes: [] })
  expect(await stored()).toHaveLength(1)
})
