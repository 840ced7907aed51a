import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { checkAction, defineAction, upcast } from './action.ts'
import { messageAdded } from './conversation/messages.ts'
import { defaultLimits, type JsonObject } from './json.ts'

const noted = defineAction('noted', z.strictObject({ text: z.string(), tags: z.array(z.string()).optional() }))

const refusal = (attempt: () => unknown): unknown => {
  try {
    attempt()
  } catch (error) {
    const { code, details } = error as { code: string; details: unknown }
    return { code, details }
  }
  return 'accepted'
}
const invalid = (path: string, problem: unknown) => ({ code: 'action_invalid', details: { type: 'noted', path, problem } })
const wrong = (payload: unknown) => refusal(() => noted(payload as never))

describe('a creator', () => {
  test('carries its type, schema and version, and knows its actions', () => {
    expect({ ...noted }).toMatchObject({ type: 'noted', schemaVersion: 1, upcasts: [] })
    expect(noted.name).toBe('noted')
    expect(noted.match({ type: 'noted' })).toBe(true)
    expect(noted.match({ type: 'denoted' })).toBe(false)
    expect(Object.isFrozen(noted)).toBe(true)
  })

  test('makes an action that is frozen and shares nothing with what it was made from', () => {
    const payload = { text: 'hi', tags: Object.freeze(['a']) as string[] }
    const meta = { from: { line: 1 } }
    const derivedFrom: [number, number][] = [[1, 2]]
    const action = noted(payload, { meta, derivedFrom })
    payload.text = 'changed'
    meta.from.line = 2
    derivedFrom[0] = [8, 9]
    expect(action).toEqual({
      type: 'noted',
      payload: { text: 'hi', tags: ['a'] },
      meta: { from: { line: 1 } },
      derivedFrom: [[1, 2]],
    })
    for (const part of [action, action.payload, action.payload.tags, action.meta, action.meta?.from, action.derivedFrom?.[0]]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
  })

  test('refuses a payload that does not match, and names the place', () => {
    expect(wrong({ text: 7 })).toEqual(invalid('$.payload.text', expect.stringContaining('expected string')))
    expect(wrong({ text: 'hi', tags: ['a', 1] })).toEqual(invalid('$.payload.tags[1]', expect.any(String)))
    expect(wrong({ text: 'hi', tag: 1 })).toEqual(invalid('$.payload.tag', expect.stringContaining('tag')))
    expect(wrong({})).toEqual(invalid('$.payload.text', expect.any(String)))
    expect(wrong(null)).toEqual(invalid('$.payload', expect.any(String)))
  })

  test('names a place deep in a message', () => {
    const parts = [
      { type: 'text', text: 'hi' },
      { type: 'text', text: null },
    ]
    expect(
      refusal(() => messageAdded({ message: { v: 1, id: 'm', role: 'user', parts }, tokenCount: 1 } as never)),
    ).toMatchObject({
      code: 'action_invalid',
      details: { type: 'messageAdded', path: '$.payload.message.parts[1].text' },
    })
  })

  test('refuses what JSON cannot hold before the schema sees it', () => {
    expect(wrong({ text: 'hi', tags: [1n] })).toEqual({
      code: 'json_invalid',
      details: { path: '$.payload.tags[0]', found: 'a bigint' },
    })
    expect(wrong({ text: undefined })).toEqual({ code: 'json_invalid', details: { path: '$.payload.text', found: 'undefined' } })
    expect(refusal(() => noted({ text: 'hi' }, { meta: { at: new Date(0) } as never }))).toEqual({
      code: 'json_invalid',
      details: { path: '$.meta.at', found: 'an instance of Date' },
    })
  })

  test('counts depth from the action: a payload may have 63 levels', () => {
    const deep = defineAction('deep', z.looseObject({}))
    const levels = (n: number): JsonObject => (n === 1 ? {} : { a: levels(n - 1) })
    expect(refusal(() => deep(levels(63)))).toBe('accepted')
    expect(refusal(() => deep(levels(64)))).toMatchObject({ code: 'json_too_deep' })
  })

  test.each([
    [[[2, 1]], '$.derivedFrom[0]'],
    [[[0, 1]], '$.derivedFrom[0]'],
    [[[1, 1], [1]], '$.derivedFrom[1]'],
    ['1-2', '$.derivedFrom'],
  ])('refuses derivedFrom %j', (derivedFrom, path) => {
    expect(refusal(() => noted({ text: 'hi' }, { derivedFrom: derivedFrom as never }))).toEqual(invalid(path, expect.any(String)))
  })

  test.each([['text'], [0], [false], [null], [[]]])('refuses meta %j', (meta) => {
    expect(refusal(() => noted({ text: 'hi' }, { meta: meta as never }))).toEqual(invalid('$.meta', 'expected an object'))
  })

  test.each(['', 'a\nb', '\ud800', 'x'.repeat(201)])('cannot be defined for the type %j', (type) => {
    expect(refusal(() => defineAction(type, z.strictObject({})))).toMatchObject({ code: 'id_invalid' })
  })
})

describe('checkAction', () => {
  const given = (action: unknown) => refusal(() => checkAction(noted, action as never))

  test('takes plain objects, and refuses fields that actions do not have', () => {
    expect(checkAction(noted, { type: 'noted', payload: { text: 'hi' } })).toEqual(noted({ text: 'hi' }))
    expect(given({ type: 'noted', payload: { text: 'hi' }, position: 3 })).toEqual(
      invalid('$.position', 'actions have no such field'),
    )
  })

  test.each([[null], ['noted'], [7], [[]], [true]])('refuses %j, which is no action', (value) => {
    expect(given(value)).toEqual(invalid('$', 'an action is an object with type and payload'))
  })

  test('refuses an action of another type', () => {
    expect(given({ type: 'titled', payload: { text: 'hi' } })).toEqual(invalid('$.type', 'expected "noted"'))
  })

  test('does not check twice what it or the creator made', () => {
    let checks = 0
    const counted = defineAction(
      'counted',
      z.strictObject({ n: z.int() }).refine(() => {
        checks += 1
        return true
      }),
    )
    const action = counted({ n: 1 })
    expect(checkAction(counted, action)).toBe(action)
    expect(checkAction(counted, action, { ...defaultLimits })).toBe(action)
    expect(checks).toBe(1)
  })

  test('checks again under other limits, and under another definition of the type', () => {
    const action = noted({ text: 'hi', tags: ['a', 'b', 'c'] })
    const narrow = { ...defaultLimits, keys: 2 }
    expect(refusal(() => checkAction(noted, action, narrow))).toMatchObject({ code: 'json_too_wide' })
    const wide = { ...defaultLimits, keys: 20_000 }
    const tags = Array.from({ length: 10_001 }, () => 'a')
    const large = checkAction(noted, { type: 'noted', payload: { text: 'hi', tags } }, wide)
    expect(refusal(() => checkAction(noted, large))).toMatchObject({ code: 'json_too_wide' })
    expect(checkAction(noted, large, wide)).toBe(large)
    const stricter = defineAction('noted', z.strictObject({ text: z.string() }))
    expect(refusal(() => checkAction(stricter, action))).toMatchObject({ code: 'action_invalid' })
  })
})

describe('what a schema does to a payload', () => {
  test('defaults are stored', () => {
    const liked = defineAction('liked', z.strictObject({ weight: z.int().default(1) }))
    expect(liked({} as never).payload).toEqual({ weight: 1 })
  })

  test('a schema that drops unknown fields drops them before they are stored', () => {
    const loose = defineAction('loose', z.object({ a: z.int() }))
    expect(loose({ a: 1, b: 2 } as never).payload).toEqual({ a: 1 })
  })

  test('a transform into something that JSON cannot hold is refused', () => {
    const dated = defineAction('dated', z.strictObject({ at: z.string().transform((text) => new Date(text)) }))
    expect(refusal(() => dated({ at: '2026-01-01' } as never))).toEqual({
      code: 'json_invalid',
      details: { path: '$.payload.at', found: 'an instance of Date' },
    })
  })

  test('what a transform hands out is copied too', () => {
    const shared = { n: 1 }
    const lent = defineAction(
      'lent',
      z.any().transform(() => ({ shared })),
    )
    const action = lent({} as never)
    shared.n = 2
    expect(action.payload).toEqual({ shared: { n: 1 } })
  })
})

describe('upcast', () => {
  const renamed = defineAction('renamed', z.strictObject({ name: z.string(), loud: z.boolean() }), {
    upcasts: [({ title }) => ({ name: title ?? '' }), (payload) => ({ ...payload, loud: false })],
  })

  test('a definition has one version more than upcasts', () => {
    expect(renamed.schemaVersion).toBe(3)
  })

  test('takes a payload through every step from its version on', () => {
    expect(upcast(renamed, { title: 'x' }, 1)).toEqual({ name: 'x', loud: false })
    expect(upcast(renamed, { name: 'x' }, 2)).toEqual({ name: 'x', loud: false })
    expect(upcast(renamed, { name: 'x', loud: true }, 3)).toEqual({ name: 'x', loud: true })
  })

  test('leaves a payload of the future as it is', () => {
    expect(upcast(renamed, { who: 'knows' }, 4)).toEqual({ who: 'knows' })
  })
})
