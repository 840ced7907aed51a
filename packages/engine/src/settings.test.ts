import { setImmediate } from 'node:timers/promises'
import { type ConversationState, deepestBody, type Limits, metadataChanged } from '@colloquy/core'
import { describe, expect, test, vi } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
import { createEngine, type EngineOptions } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'

const nested = (depth: number): never => (depth === 0 ? 1 : [nested(depth - 1)]) as never

describe('what an engine cannot work with', () => {
  test.each<[string, Partial<EngineOptions<readonly []>>]>([
    ['limits.depth', { limits: { depth: deepestBody + 1 } }],
    ['limits.depth', { limits: { depth: 0 } }],
    ['limits.keys', { limits: { keys: Number.NaN } }],
    ['limits.envelopeBytes', { limits: { envelopeBytes: -1 } }],
    ['idleMs', { idleMs: Number.NaN }],
    ['idleMs', { idleMs: -1 }],
    ['snapshotEvery', { snapshotEvery: 0 }],
    ['verifySnapshotEvery', { verifySnapshotEvery: 1.5 }],
  ])('%s is refused when it is made', (field, options) => {
    expect(() => createEngine({ log: openMemoryLog(), ...options })).toThrow(
      expect.objectContaining({ code: 'settings_invalid', details: expect.objectContaining({ field }) }),
    )
  })

  test('a clock that counts milliseconds is refused when it is asked', async () => {
    const { dispatch, stored } = await given([], { clock: () => Date.now() })
    await expect(dispatch(say('m1'))).rejects.toMatchObject({ code: 'settings_invalid', details: { field: 'clock' } })
    expect(await stored()).toEqual([])
  })
})

test('a limit that is undefined is the default one', async () => {
  const limits = { depth: undefined, envelopeBytes: undefined } as unknown as Partial<Limits>
  const { dispatch } = await given([], { limits })
  const deep = { type: 'metadataChanged', payload: { set: { x: nested(70) } } }
  await expect(dispatch(deep)).rejects.toMatchObject({ code: 'json_too_deep', details: { limitDepth: 64 } })
  const long = metadataChanged({ set: { x: 'x'.repeat(2_000_000) } })
  await expect(dispatch(long)).rejects.toMatchObject({ code: 'envelope_too_large' })
})

test('what is as deep as a limit may be is read back', async () => {
  const log = openMemoryLog()
  const limits = { depth: deepestBody }
  const { dispatch } = await given([], { log, limits })
  await dispatch({ type: 'metadataChanged', payload: { set: { x: nested(deepestBody - 3) } } })
  await using again = createEngine({ log, limits })
  const { metadata } = (await again.open('c')).getState() as ConversationState
  expect(Object.keys(metadata)).toEqual(['x'])
})

test('a conversation that never leaves memory costs no timer that goes off all the time', async () => {
  const intervals = vi.spyOn(globalThis, 'setInterval')
  const engine = createEngine({ log: openMemoryLog(), idleMs: Infinity })
  expect(intervals).toHaveBeenCalledWith(expect.anything(), 2 ** 31 - 1)
  intervals.mockRestore()
  await setImmediate()
  await engine.close()
})
