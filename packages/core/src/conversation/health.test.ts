import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { degraded, errorRecorded, recovered } from './health.ts'

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
})
