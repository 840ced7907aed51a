import { type ConversationState, stateHash, toHex } from '@colloquy/core'
import { expect, test } from 'vitest'
import { given, say, storedIn } from '../../../test/support/given.ts'
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
