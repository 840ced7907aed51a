import { conversationTitled, type EventLog } from '@colloquy/core'
import { expect, test, vi } from 'vitest'
import { given, say, storedIn } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'

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
  const { counted, counts } = counting(openMemoryLog())
  await using engine = createEngine({ log: counted, idleMs: 20 })
  const conversation = await engine.open('c')
  const seen: number[] = []
  conversation.envelopes$.subscribe((e) => seen.push(e.position))
  await conversation.dispatch(say('m1'))
  expect(counts.loads).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 120))
  expect(conversation.getState().messages).toHaveLength(1)
  await conversation.dispatch(say('m2'))
  expect(counts.loads).toBe(2)
  expect(conversation.getState().messages.map((m) => m)).toHaveLength(2)
  expect(seen).toEqual([1, 2])
})

test('a conversation that is used stays', async () => {
  const { counted, counts } = counting(openMemoryLog())
  await using engine = createEngine({ log: counted, idleMs: 80 })
  const conversation = await engine.open('c')
  for (let i = 0; i < 12; i++) {
    await conversation.dispatch(say(`m${i}`))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(counts.loads).toBe(1)
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

test('a snapshot is saved every 100 envelopes, keeps one body, and a load replays only what came after', async () => {
  const log = openMemoryLog()
  const engine = createEngine({ log })
  const conversation = await engine.open('c')
  for (let i = 0; i < 250; i++) await conversation.dispatch(say(`m${i}`))
  await conversation.dispatch(conversationTitled({ title: 'x' }))
  await engine.close()
  const key = { tenant: 'default', conversationId: 'c' }
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
