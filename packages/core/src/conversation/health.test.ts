import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { circuitClosed, circuitOpened, degraded, errorRecorded, recovered } from './health.ts'

describe('health', () => {
  test('given errors, when they are recorded, they are counted and the last one is known', () => {
    const { state } = given(
      errorRecorded({ kind: 'provider', problem: 'overloaded', retryable: true, retryInMs: 500, attempt: 1 }),
      errorRecorded({ kind: 'network', problem: 'reset', details: { code: 'ECONNRESET' } }),
    )
    expect(state.health).toEqual({
      degraded: null,
      errors: 2,
      lastError: { kind: 'network', problem: 'reset', position: 2 },
    })
  })

  test('given a conversation that is degraded, when it recovers, it is not', () => {
    const down = given(degraded({ mode: 'no-tools', reason: 'the tool server is down' }))
    expect(down.state.health.degraded).toEqual({ mode: 'no-tools', reason: 'the tool server is down', sincePosition: 1 })
    expect(given(degraded({ mode: 'read_only', reason: 'r', retryAt: 5 })).state.health.degraded).toMatchObject({ retryAt: 5 })
    expect(down.when(recovered({})).state.health).toEqual({ degraded: null, errors: 0, lastError: null })
  })

  test('given circuits that open and close, the open ones are known, and no more than 32', () => {
    const opened = (circuit: string, openedAt: number) => circuitOpened({ circuit, failures: 5, openedAt })
    const log = given(opened('a/stream', 1), opened('b/stream', 2), opened('a/stream', 3))
    expect(log.state.health.openCircuits).toEqual([
      { circuit: 'b/stream', failures: 5, openedAt: 2 },
      { circuit: 'a/stream', failures: 5, openedAt: 3 },
    ])
    const closed = log.when(circuitClosed({ circuit: 'b/stream' }), circuitClosed({ circuit: 'unknown' }))
    expect(closed.state.health.openCircuits).toEqual([{ circuit: 'a/stream', failures: 5, openedAt: 3 }])
    expect(given(circuitClosed({ circuit: 'unknown' })).state.health).not.toHaveProperty('openCircuits')
    const many = given(...Array.from({ length: 40 }, (_, i) => opened(`p${i}/stream`, i))).state.health.openCircuits
    expect(many?.map(({ openedAt }) => openedAt)).toEqual(Array.from({ length: 32 }, (_, i) => i + 8))
  })
})
