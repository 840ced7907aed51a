import {
  ColloquyError,
  type ConversationState,
  contextCompacted,
  conversationTitled,
  defineAction,
  defineSlice,
  type EventLog,
  encodeState,
  freezeState,
  type Snapshot,
  stateHash,
  textMessage,
} from '@colloquy/core'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { given, say, storedIn } from '../../../test/support/given.ts'
import { holdIdleTime } from '../../../test/support/idle-time.ts'
import { tampered } from '../../../test/support/tampered-log.ts'
import type { Conversation } from './conversation.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import { sha256 } from './node-ports.ts'

const key = { tenant: 'default', conversationId: 'c' }

/** A log that counts how often a conversation is loaded. */
function counting(log: EventLog) {
  const counts = { loads: 0 }
  const counted = Object.assign(Object.create(log) as EventLog, {
    latest: (...asked: Parameters<EventLog['latest']>) => {
      counts.loads += 1
      return log.latest(...asked)
    },
  })
  return { counted, counts }
}

test('an idle conversation leaves memory and comes back from the log by itself', async () => {
  const pass = holdIdleTime()
  const { counted, counts } = counting(openMemoryLog())
  await using engine = createEngine({ log: counted, idleMs: 20 })
  const conversation = await engine.open('c')
  const seen: number[] = []
  conversation.envelopes$.subscribe((e) => seen.push(e.position))
  await conversation.dispatch(say('m1'))
  expect(counts.loads).toBe(1)
  pass(40)
  expect(conversation.getState().messages).toHaveLength(1)
  await conversation.dispatch(say('m2'))
  expect(counts.loads).toBe(2)
  expect(conversation.getState().messages.map((m) => m)).toHaveLength(2)
  expect(seen).toEqual([1, 2])
})

test('a conversation that is used stays', async () => {
  const pass = holdIdleTime()
  const { counted, counts } = counting(openMemoryLog())
  await using engine = createEngine({ log: counted, idleMs: 80 })
  const conversation = await engine.open('c')
  for (let i = 0; i < 12; i++) {
    await conversation.dispatch(say(`m${i}`))
    pass(60)
  }
  expect(counts.loads).toBe(1)
})

test('who closes an engine that is being closed waits for the same end', async () => {
  const inner = openMemoryLog()
  const slow = tampered(inner, (log) => ({
    append: async (requests) => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      return log.append(requests)
    },
  }))
  const { engine, dispatch } = await given([], { log: slow })
  const dispatched = dispatch(say('m1'))
  await Promise.resolve()
  void engine.close()
  await engine.close()
  expect(await storedIn(inner, 'c')).toHaveLength(1)
  await dispatched
})

test('close finishes what was dispatched, completes the streams and refuses what comes later', async () => {
  const { log, conversation, engine, dispatch } = await given()
  const done = vi.fn()
  conversation.envelopes$.subscribe({ complete: done })
  engine.envelopes$.subscribe({ complete: done })
  const waiting = Array.from({ length: 20 }, (_, i) => dispatch(say(`m${i}`)))
  await Promise.resolve()
  await engine.close()
  await expect(Promise.all(waiting)).resolves.toHaveLength(20)
  expect(await storedIn(log, 'c')).toHaveLength(20)
  expect(done).toHaveBeenCalledTimes(2)
  await expect(dispatch(say('late'))).rejects.toMatchObject({ code: 'engine_closed' })
  await expect(engine.open('d')).rejects.toMatchObject({ code: 'engine_closed' })
  await engine.close()
})

test('a state that is small beside its log is saved, one body is kept, and a load replays only what came after', async () => {
  const log = openMemoryLog()
  const engine = createEngine({ log })
  const conversation = await engine.open('c')
  for (let i = 0; i < 250; i++) await conversation.dispatch(conversationTitled({ title: `${i}` }))
  await conversation.dispatch(conversationTitled({ title: 'x' }))
  await engine.close()
  const hashes = await log.stateHashes(key, engine.reducer.stateKey)
  expect(hashes.map((h) => h.position)).toEqual([100, 200])
  expect(await log.snapshot(key, { stateKey: engine.reducer.stateKey, atOrBefore: 199 })).toBeUndefined()
  const reads: unknown[] = []
  const spying = Object.assign(Object.create(log) as EventLog, {
    actions: (...args: Parameters<EventLog['actions']>) => {
      reads.push(args[1])
      return log.actions(...args)
    },
  })
  await using again = createEngine({ log: spying })
  const reopened = await again.open('c')
  expect(reopened.getState()).toEqual(conversation.getState())
  expect(reads).toEqual([{ from: 201, to: 251 }])
})

test('a snapshot that cannot be saved is reported and costs nobody anything', async () => {
  const log = openMemoryLog()
  const broken = Object.assign(Object.create(log) as EventLog, { saveSnapshot: () => Promise.reject(new Error('disk full')) })
  const { dispatch, errors, engine } = await given([], { log: broken, snapshotEvery: 1 })
  await dispatch(say('m1'))
  await engine.close()
  expect(errors).toMatchObject([{ where: 'snapshot', error: { message: 'disk full' } }])
})

test('a conversation that only grows keeps hashes, and no state: its log is as fast to read', async () => {
  const log = openMemoryLog()
  const engine = createEngine({ log, snapshotEvery: 10 })
  const conversation = await engine.open('c')
  for (let i = 0; i < 100; i++) await conversation.dispatch(say(`m${i}`, 'text '.repeat(20)))
  await engine.close()
  expect(await log.stateHashes(key, engine.reducer.stateKey)).toHaveLength(10)
  expect(await log.snapshot(key, { stateKey: engine.reducer.stateKey })).toBeUndefined()
})

test('after a compaction the state is saved at the next occasion, however long it was before', async () => {
  const log = openMemoryLog()
  await using engine = createEngine({ log, snapshotEvery: 10 })
  const conversation = await engine.open('c')
  for (let i = 1; i <= 89; i++) await conversation.dispatch(say(`m${i}`, 'text '.repeat(20)))
  const messageIds = Array.from({ length: 89 }, (_, i) => `m${i + 1}`)
  await conversation.dispatch(
    contextCompacted({
      covered: { messageIds, ranges: [[1, 89]], tokens: 89 },
      summary: { message: textMessage('s', 'user', 'summary'), tokenCount: 1 },
      strategy: 'test',
      trigger: 'manual',
      before: { messages: 89, tokens: 89 },
      after: { messages: 1, tokens: 1 },
    }),
  )
  await engine.close()
  expect(await log.snapshot(key, { stateKey: engine.reducer.stateKey })).toMatchObject({ position: 90 })
})

describe('a snapshot that is not what its log leads to', () => {
  /** A log with 250 titles, and a snapshot at 200. */
  async function titled() {
    const log = openMemoryLog()
    const engine = createEngine({ log })
    const conversation = await engine.open('c')
    for (let i = 0; i < 250; i++) await conversation.dispatch(conversationTitled({ title: `${i}` }))
    await engine.close()
    const { stateKey } = engine.reducer
    const snapshot = (await log.snapshot(key, { stateKey })) as Snapshot
    /** Opens the conversation in a log that has another snapshot. */
    const openWith = async (other: Partial<Snapshot>, options: { verifySnapshotEvery?: number } = {}) => {
      const errors: unknown[] = []
      let isDropped = false
      const changed = Object.assign(Object.create(log) as EventLog, {
        latest: async () => ({ head: await log.head(key), snapshot: isDropped ? undefined : { ...snapshot, ...other } }),
        dropSnapshot: async () => void (isDropped = true),
      })
      const again = createEngine({ log: changed, onError: (error) => errors.push(error), ...options })
      const reopened = await again.open('c')
      return { again, reopened, errors, isDropped: () => isDropped }
    }
    return { log, state: conversation.getState(), snapshot, openWith }
  }
  const differs = expect.objectContaining({ code: 'snapshot_differs', details: expect.objectContaining({ position: 200 }) })

  test.each<[string, (body: Uint8Array) => Uint8Array]>([
    ['cannot be decoded', (body) => body.slice(0, -1)],
    ['is not UTF-8', () => Uint8Array.of(0xff)],
    ['is of another state', (body) => Buffer.from(Buffer.from(body).toString().replace('"199"', '"198"'))],
    ['is not a state', () => Buffer.from('{"state":null,"vectors":[["a"]]}')],
  ])('because it %s is not used, reported, and dropped; the load replays the whole log', async (_why, change) => {
    const { state, snapshot, openWith } = await titled()
    const { again, reopened, errors, isDropped } = await openWith({ body: change(snapshot.body as Uint8Array) })
    expect(reopened.getState()).toEqual(state)
    await again.close()
    expect(errors).toEqual([differs])
    expect(isDropped()).toBe(true)
  })

  test('of a position that the log does not have is not used', async () => {
    const { state, openWith } = await titled()
    const { reopened, errors } = await openWith({ position: 251 })
    expect(reopened.getState()).toEqual(state)
    expect(errors).toEqual([])
  })

  test('although it is whole is found by the one load in so many that is compared, and the conversation loads anew', async () => {
    const { state, openWith } = await titled()
    const wrong = { ...state, metadata: { ...state.metadata, invented: 1 } }
    const forged = { body: encodeState(wrong), stateHash: stateHash(freezeState(wrong), sha256) }
    const trusting = await openWith(forged, { verifySnapshotEvery: 2 })
    expect(trusting.reopened.getState()).not.toEqual(state)
    await trusting.again.close()
    expect(trusting.errors).toEqual([])

    const { again, reopened, errors, isDropped } = await openWith(forged, { verifySnapshotEvery: 1 })
    await vi.waitUntil(isDropped)
    expect(errors).toEqual([differs])
    expect((await reopened.refresh()).metadata).toEqual(state.metadata)
    await again.close()
  })

  test('is dropped in the log itself, where its hash stays', async () => {
    const { log, snapshot } = await titled()
    await log.dropSnapshot(key, snapshot)
    await log.dropSnapshot(key, { ...snapshot, position: 7 })
    expect(await log.snapshot(key, { stateKey: snapshot.stateKey })).toBeUndefined()
    expect((await log.stateHashes(key, snapshot.stateKey)).map(({ position }) => position)).toEqual([100, 200])
  })
})

test('a handle whose conversation is loaded anew after one failure goes on after the next one too', async () => {
  const inner = openMemoryLog()
  let failures = 0
  const log = Object.assign(Object.create(inner) as EventLog, {
    append: (requests: Parameters<EventLog['append']>[0]) =>
      failures-- > 0 ? Promise.reject(new Error('the log is away')) : inner.append(requests),
  })
  const { conversation } = await given([], { log })
  failures = 3
  for (let i = 0; i < 3; i++) await expect(conversation.dispatch(say('m1'))).rejects.toThrow('the log is away')
  await expect(conversation.dispatch(say('m1'))).resolves.toMatchObject({ position: 1 })
})

describe('whoever listens hears each envelope once', () => {
  const heardOf = ({ envelopes$ }: Conversation<ConversationState>) => {
    const heard: number[] = []
    envelopes$.subscribe(({ position }) => heard.push(position))
    return heard
  }

  test('also of what others appended while the conversation was not in memory', async () => {
    const pass = holdIdleTime()
    const log = openMemoryLog()
    await using engine = createEngine({ log, idleMs: 20 })
    await using other = createEngine({ log })
    const here = await engine.open('c')
    const there = await other.open('c')
    const heard = heardOf(here)
    const sizes: number[] = []
    here.state$.subscribe(({ messages }) => sizes.push(messages.length))
    const all: string[] = []
    engine.envelopes$.subscribe(({ conversationId, position }) => all.push(`${conversationId} ${position}`))
    await here.dispatch(say('m1'))
    await there.refresh()
    pass(40)
    const late = heardOf(here)
    await there.dispatch([say('m2'), say('m3')])
    await here.refresh()
    expect([heard, late, sizes]).toEqual([
      [1, 2, 3],
      [2, 3],
      [0, 1, 3],
    ])
    await here.dispatch(say('m4'))
    expect([heard, late, sizes]).toEqual([
      [1, 2, 3, 4],
      [2, 3, 4],
      [0, 1, 3, 4],
    ])
    expect(all).toEqual(['c 1', 'c 2', 'c 3', 'c 4'])
  })

  test('also of what was stored by an append whose answer was lost', async () => {
    const inner = openMemoryLog()
    let isLost = false
    const log = tampered(inner, () => ({
      append: async (requests) => {
        const outcomes = await inner.append(requests)
        if (!isLost) return outcomes
        isLost = false
        throw new ColloquyError('append_outcome_unknown', { conversationId: 'c', position: 2, hash: '00' })
      },
    }))
    const { dispatch, conversation, engine } = await given([], { log })
    const heard = heardOf(conversation)
    const all: number[] = []
    engine.envelopes$.subscribe(({ position }) => all.push(position))
    await dispatch(say('m1'), { commandId: 'k1' })
    isLost = true
    await expect(dispatch(say('m2'), { commandId: 'k2' })).rejects.toMatchObject({ code: 'append_outcome_unknown' })
    await expect(dispatch(say('m2'), { commandId: 'k2' })).resolves.toMatchObject({ duplicate: true })
    await dispatch(say('m3'))
    expect([heard, all]).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ])
  })

  test('also where the state was found to be wrong while an append was under way', async () => {
    const inner = openMemoryLog()
    const before = createEngine({ log: inner })
    const first = await before.open('c')
    for (let i = 0; i < 200; i++) await first.dispatch(conversationTitled({ title: `${i}` }))
    await before.close()
    const { stateKey } = before.reducer
    const snapshot = (await inner.snapshot(key, { stateKey })) as Snapshot
    const wrong = freezeState({ ...first.getState(), metadata: { invented: 1 } })
    const forged = { ...snapshot, body: encodeState(wrong), stateHash: stateHash(wrong, sha256) }
    let isDropped = false
    let goOn = () => {}
    let letFind = () => {}
    const found = new Promise<void>((resolve) => {
      letFind = resolve
    })
    const held = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const log = tampered(inner, () => ({
      latest: async () => {
        const head = await inner.head(key)
        return head && { head, snapshot: isDropped ? undefined : forged }
      },
      dropSnapshot: async () => void (isDropped = true),
      actions: async function* (...asked) {
        if (asked[1].from === 1) await found
        yield* inner.actions(...asked)
      },
      append: async (requests) => {
        letFind()
        await held
        return inner.append(requests)
      },
    }))
    await using engine = createEngine({ log, verifySnapshotEvery: 1, onError: () => {} })
    const conversation = await engine.open('c')
    const heard = heardOf(conversation)
    const underWay = conversation.dispatch(say('m1'))
    await vi.waitUntil(() => isDropped)
    const next = conversation.dispatch(say('m2'))
    goOn()
    expect([(await underWay).position, (await next).position]).toEqual([201, 202])
    expect(heard).toEqual([201, 202])
    expect(conversation.getState().metadata).toEqual({})
  })
})

test('close waits for what was asked for before it, also where a conversation has to come back first or a fork is under way', async () => {
  const pass = holdIdleTime()
  const inner = openMemoryLog()
  const slow = tampered(inner, () => ({
    fork: async (request) => {
      await Promise.resolve()
      return inner.fork(request)
    },
  }))
  const engine = createEngine({ log: slow, idleMs: 20 })
  const conversation = await engine.open('c')
  await conversation.dispatch(say('m1'))
  pass(40)
  const heard: number[] = []
  conversation.envelopes$.subscribe(({ position }) => heard.push(position))
  const asked = [conversation.dispatch(say('m2')), engine.fork('c', 1)] as const
  await engine.close()
  expect(heard).toEqual([2])
  await expect(asked[0]).resolves.toMatchObject({ position: 2 })
  expect((await asked[1]).position).toBe(2)
})

test('who subscribes to a closed engine is told that nothing comes', async () => {
  const { engine, conversation } = await given([say('m1')])
  await engine.close()
  const done: string[] = []
  conversation.envelopes$.subscribe({ complete: () => done.push('envelopes$') })
  conversation.state$.subscribe({ complete: () => done.push('state$') })
  engine.envelopes$.subscribe({ complete: () => done.push('engine') })
  expect(done).toEqual(['envelopes$', 'state$', 'engine'])
})

test('a state that cannot be saved is reported, and costs neither the dispatch nor those who listen', async () => {
  const counted = defineAction('counted', z.strictObject({ n: z.int() }))
  const big = defineSlice({
    name: 'big',
    version: 1,
    initial: () => ({ n: 0n as never }),
    actions: [counted],
    reduce: () => undefined,
  })
  const { conversation, dispatch, engine, errors } = await given([], { slices: [big], snapshotEvery: 1 })
  const heard: number[] = []
  conversation.envelopes$.subscribe(({ position }) => heard.push(position))
  await dispatch(counted({ n: 1 }))
  await dispatch(counted({ n: 2 }))
  expect(heard).toEqual([1, 2])
  await engine.close()
  expect(errors.map(({ where }) => where)).toEqual(['snapshot', 'snapshot'])
})
