import { ColloquyError, conversationArchived, conversationTitled, type EventLog } from '@colloquy/core'
import { NEVER } from 'rxjs'
import { describe, expect, test } from 'vitest'
import { given, say, storedIn } from '../../../test/support/given.ts'
import { holdIdleTime } from '../../../test/support/idle-time.ts'
import { openRewindableLog } from '../../../test/support/rewindable-log.ts'
import { tampered } from '../../../test/support/tampered-log.ts'
import type { EffectApi } from './effects.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'

const rewound = (heldPosition: number, headPosition: number) => ({
  code: 'history_rewound',
  details: { conversationId: 'c', heldPosition, headPosition },
})

/** A conversation of five messages whose log then ends after three; `grow` lets another process give positions out again. */
async function givenALostTail({ grow = 0, options = {} }: { grow?: number; options?: Parameters<typeof given>[1] } = {}) {
  const { log, rewindTo } = openRewindableLog()
  const all = await given([say('m1'), say('m2'), say('m3')], { log, ...options })
  await all.dispatch(say('m4'))
  const { envelopes } = await all.dispatch(say('m5'))
  const last = envelopes[0] as (typeof envelopes)[number]
  await rewindTo(3)
  await using other = createEngine({ log })
  const there = await other.open('c')
  for (let i = 0; i < grow; i++) await there.dispatch(say(`other ${i}`))
  const ids = async () =>
    (await storedIn(log, 'c')).map(({ action }) => (action.payload as { message: { id: string } }).message.id)
  return { ...all, seen: { position: last.position, hash: last.hash }, ids }
}

describe.each([
  ['is shorter', 0, 3],
  ['has another envelope at the held position', 2, 5],
  ['went on past the held position with others', 4, 7],
])('after a fail-over, when the log %s', (_name, grow, headPosition) => {
  const lost = ['m1', 'm2', 'm3', ...Array.from({ length: grow }, (_, i) => `other ${i}`)]

  test('a dispatch is told, nothing of it is stored, and the next one goes on from the log', async () => {
    const { dispatch, conversation, ids } = await givenALostTail({ grow })
    await expect(dispatch(say('m6'))).rejects.toMatchObject(rewound(5, headPosition))
    expect(await ids()).toEqual(lost)
    await expect(dispatch(say('m6'))).resolves.toMatchObject({ position: headPosition + 1 })
    expect(conversation.getState().messages).toHaveLength(headPosition + 1)
    expect(await ids()).toEqual([...lost, 'm6'])
  })

  test('a refresh is told, and the next one brings what the log has', async () => {
    const { conversation } = await givenALostTail({ grow })
    await expect(conversation.refresh()).rejects.toMatchObject(rewound(5, headPosition))
    expect((await conversation.refresh()).messages).toHaveLength(headPosition)
  })

  test('dispatches that wait together are all told', async () => {
    const { dispatch, ids } = await givenALostTail({ grow })
    const all = await Promise.allSettled(Array.from({ length: 5 }, (_, i) => dispatch(say(`late ${i}`))))
    for (const result of all) expect(result).toMatchObject({ status: 'rejected', reason: rewound(5, headPosition) })
    expect(await ids()).toEqual(lost)
  })

  test('the retry of a command that is still stored is told too, since the state behind its answer is not', async () => {
    const { log, rewindTo } = openRewindableLog()
    const { dispatch } = await given([], { log })
    await dispatch(say('m1'), { commandId: 'k1' })
    for (const id of ['m2', 'm3', 'm4', 'm5']) await dispatch(say(id))
    await rewindTo(3)
    await using other = createEngine({ log })
    for (let i = 0; i < grow; i++) await (await other.open('c')).dispatch(say(`other ${i}`))
    await expect(dispatch(say('m1'), { commandId: 'k1' })).rejects.toMatchObject(rewound(5, headPosition))
    await expect(dispatch(say('m1'), { commandId: 'k1' })).resolves.toMatchObject({ duplicate: true, position: headPosition })
  })

  test('a handle is told although its writer had left memory', async () => {
    const pass = holdIdleTime()
    const { dispatch, ids, conversation } = await givenALostTail({ grow, options: { idleMs: 20 } })
    pass(40)
    // What a page that shows the conversation does meanwhile must not make the handle forget.
    conversation.getState()
    const both = await Promise.allSettled([dispatch(say('m6')), dispatch(say('m7'))])
    for (const result of both) expect(result).toMatchObject({ status: 'rejected', reason: rewound(5, headPosition) })
    expect(await ids()).toEqual(lost)
    await expect(dispatch(say('m6'))).resolves.toMatchObject({ position: headPosition + 1 })
  })

  test('every handle is told although the writer was made anew because of the fail-over itself', async () => {
    const { log, rewindTo } = openRewindableLog()
    let isDown = false
    const failing = new Proxy({} as EventLog, {
      get: (_, name) => {
        if (isDown)
          return () => Promise.reject(new ColloquyError('database_unreachable', { target: 'db', problem: 'it is down' }))
        return Reflect.get(log, name)
      },
    })
    const { dispatch, engine, conversation } = await given([say('m1'), say('m2'), say('m3')], { log: failing })
    const handle = await engine.open('c')
    for (const id of ['m4', 'm5']) await dispatch(say(id))
    isDown = true
    await expect(dispatch(say('m6'))).rejects.toMatchObject({ code: 'database_unreachable' })
    await expect(handle.dispatch(say('m6'))).rejects.toMatchObject({ code: 'database_unreachable' })
    await rewindTo(3)
    isDown = false
    await using other = createEngine({ log })
    for (let i = 0; i < grow; i++) await (await other.open('c')).dispatch(say(`other ${i}`))
    for (const each of [conversation, handle]) {
      await expect(each.dispatch(say('m6'))).rejects.toMatchObject(rewound(5, headPosition))
    }
    await expect(handle.dispatch(say('m6'))).resolves.toMatchObject({ position: headPosition + 1 })
  })

  test('whoever kept position and hash is told at open', async () => {
    const { log, seen } = await givenALostTail({ grow })
    await using later = createEngine({ log })
    await expect(later.open('c', { seen })).rejects.toMatchObject(rewound(5, headPosition))
    expect((await later.open('c')).position).toBe(headPosition)
  })
})

test('a conversation that is gone altogether is told as one that ends at 0', async () => {
  const { log, rewindTo } = openRewindableLog()
  const { dispatch, conversation } = await given([say('m1')], { log })
  await rewindTo(0)
  await expect(conversation.refresh()).rejects.toMatchObject(rewound(1, 0))
  await expect(dispatch(say('m2'))).resolves.toMatchObject({ position: 1 })
})

test('an archived conversation that is open again after a fail-over is told at refresh', async () => {
  const { log, rewindTo } = openRewindableLog()
  const { dispatch, conversation } = await given([say('m1')], { log })
  await dispatch(conversationArchived({}))
  await rewindTo(1)
  await expect(conversation.refresh()).rejects.toMatchObject(rewound(2, 1))
  await expect(dispatch(say('m2'))).resolves.toMatchObject({ position: 2 })
})

test('an effect is told too, also when others of its process have gone on from what the log has', async () => {
  const effects: EffectApi[] = []
  const title = (_: unknown, api: EffectApi) => {
    effects.push(api)
    return NEVER
  }
  const { dispatch, conversation, ids } = await givenALostTail({ options: { effects: [title] } })
  const [before] = effects as [EffectApi]
  await expect(conversation.refresh()).rejects.toMatchObject(rewound(5, 3))
  await dispatch(say('m6'))
  await expect(before.dispatch(conversationTitled({ title: 'of what is lost' }))).rejects.toMatchObject({
    code: 'history_rewound',
    details: { heldPosition: 5 },
  })
  expect(await ids()).toEqual(['m1', 'm2', 'm3', 'm6'])
  // The one that began with the history there is now has nothing to be told.
  const [, now] = effects as [EffectApi, EffectApi]
  await expect(now.dispatch(conversationTitled({ title: 'of what there is' }))).resolves.toMatchObject({ position: 5 })
})

test('open with what was seen gives a conversation that has it', async () => {
  const { log, conversation, engine } = await given([say('m1')])
  await using other = createEngine({ log })
  const { envelopes } = await (await other.open('c')).dispatch(say('m2'))
  const { position, hash } = envelopes[0] as (typeof envelopes)[number]
  expect(conversation.position).toBe(1)
  expect((await engine.open('c', { seen: { position, hash } })).position).toBe(2)
})

test('nothing was seen of what has no envelopes yet, and a fork without its own stands on its parent', async () => {
  const pass = holdIdleTime()
  const log = openMemoryLog()
  const { engine, dispatch } = await given([say('m1'), say('m2')], { log })
  await using other = createEngine({ log, idleMs: 20 })
  const empty = await other.open('empty')
  const forkId = 'c~01890000-0000-7000-8000-000000000000'
  const outcome = await log.fork({
    key: { tenant: 'default', conversationId: forkId },
    parent: { conversationId: 'c', position: 1 },
  })
  if (outcome.status !== 'forked') throw new Error(outcome.status)
  const fork = await other.open(forkId, { seen: outcome.head })
  await (await engine.open(forkId)).dispatch(say('in the fork'))
  await (await engine.open('empty')).dispatch(say('m1'))
  await dispatch(say('m3'))
  expect((await fork.refresh()).messages).toHaveLength(2)
  expect((await empty.refresh()).messages).toHaveLength(1)
  pass(40)
  await expect(fork.dispatch(say('more'))).resolves.toMatchObject({ position: 3 })
  await expect(empty.dispatch(say('more'))).resolves.toMatchObject({ position: 2 })
})

test('a gap inside a history is damage, not a fail-over', async () => {
  const inner = openMemoryLog()
  const gapped = tampered(inner, (log) => ({
    append: async (requests) =>
      (await log.append(requests)).map((outcome) =>
        outcome.status === 'conflict' ? { ...outcome, missed: outcome.missed.slice(1) } : outcome,
      ),
  }))
  const { dispatch } = await given([say('m1')], { log: gapped })
  await using other = createEngine({ log: inner })
  const there = await other.open('c')
  await there.dispatch(say('m2'))
  await there.dispatch(say('m3'))
  await expect(dispatch(say('m4'))).rejects.toMatchObject({ code: 'log_corrupt', details: { position: 2 } })
})

test('what was seen of a fork at its beginning is told apart by its hash, before and after it has envelopes of its own', async () => {
  const { engine, log } = await given([say('m1'), say('m2')])
  const forkId = 'c~01890000-0000-7000-8000-000000000000'
  const outcome = await log.fork({
    key: { tenant: 'default', conversationId: forkId },
    parent: { conversationId: 'c', position: 1 },
  })
  if (outcome.status !== 'forked') throw new Error(outcome.status)
  const wrong = { position: 1, hash: new Uint8Array(32) }
  for (const _ of ['before', 'after']) {
    await expect(engine.open(forkId, { seen: wrong })).rejects.toMatchObject({ code: 'history_rewound' })
    const fork = await engine.open(forkId, { seen: outcome.head })
    await fork.dispatch(say('own'))
  }
})
