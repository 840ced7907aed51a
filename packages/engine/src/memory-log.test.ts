/** What every log does is in `test/contract`; here is what only this one is for. */
import { setImmediate } from 'node:timers/promises'
import { genesisHash, stamp } from '@colloquy/core'
import { expect, test } from 'vitest'
import { say } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import { sha256 } from './node-ports.ts'

const key = { tenant: 'default', conversationId: 'c1' }
const beginning = { position: 0, hash: genesisHash(key, sha256) }
const header = {
  ...key,
  position: 1,
  type: 't',
  schemaVersion: 1,
  occurredAt: 1,
  commandId: null,
  commandIndex: null,
  actor: null,
  cause: null,
  keyId: null,
}

test('a buffer that the caller keeps writing to does not change what was appended', async () => {
  const log = openMemoryLog()
  const pool = Buffer.from('before and after')
  const body = pool.subarray(0, 6)
  const envelope = stamp(header, body, { previousHash: beginning.hash, salt: new Uint8Array(16) }, sha256)
  await log.append([{ key, expected: beginning, envelopes: [envelope] }])
  pool.fill(0)
  for await (const [stored] of log.read(key)) expect(Buffer.from(stored?.body ?? []).toString()).toBe('before')
})

test("the time of recording is its clock's", async () => {
  const log = openMemoryLog({ clock: () => 42 })
  const envelope = stamp(header, new Uint8Array(), { previousHash: beginning.hash, salt: new Uint8Array(16) }, sha256)
  expect(await log.append([{ key, expected: beginning, envelopes: [envelope] }])).toMatchObject([
    { envelopes: [{ recordedAt: 42, feedPosition: 1 }] },
  ])
})

test('what is asked of it behind its end is refused, and who reads its feed hears of the end', async () => {
  const log = openMemoryLog()
  const engine = createEngine({ log })
  const conversation = await engine.open('c')
  await conversation.dispatch(say('m1'))
  const ended = new Promise((resolve) => engine.feed$({ from: 'end' }).subscribe({ error: resolve }))
  await setImmediate()
  await log.close()
  const closed = { code: 'log_closed', details: { target: 'memory' } }
  await expect(conversation.dispatch(say('m2'))).rejects.toMatchObject(closed)
  await expect(log.feedHeads()).rejects.toMatchObject(closed)
  await expect(log.media({ tenant: 'default', conversationId: 'c' }, 'x')).rejects.toMatchObject(closed)
  expect(await ended).toMatchObject(closed)
  await engine.close()
})

test('an iteration over the feed that waits for an envelope ends when it is told to', async () => {
  await using engine = createEngine({ log: openMemoryLog() })
  const iterator = engine.feed({ from: 'end' })[Symbol.asyncIterator]()
  const next = iterator.next()
  await setImmediate()
  await iterator.return?.()
  expect(await next).toEqual({ done: true, value: undefined })
})
