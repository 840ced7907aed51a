/** What every log does is in `test/contract`; here is what only this one is for. */
import { genesisHash, stamp } from '@colloquy/core'
import { expect, test } from 'vitest'
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
