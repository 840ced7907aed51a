import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import type { Failure, FailureKind } from './classify.ts'
import { capabilitiesOf, degradedBy, recoveredBy } from './degradation.ts'

const failure = (kind: FailureKind, retryAfterMs?: number): Failure => ({
  kind,
  retryable: false,
  problem: 'p',
  ...(retryAfterMs !== undefined && { retryAfterMs }),
})
const well = given().state.health
const now = 1_000_000

/** The health of a conversation in which what `degradedBy` returned was stored. */
function healthAfter(...failures: Failure[]) {
  let log = given()
  for (const one of failures) {
    const action = degradedBy(one, log.state.health, now)
    if (action) log = log.when(action)
  }
  return log.state.health
}

describe('what a failure leaves', () => {
  test.each([
    ['context_overflow', 'basic_chat', ['read', 'ask_model', 'compact', 'cached_answers', 'extractive_analysis']],
    ['rate_limit', 'read_only', ['read']],
    ['network', 'offline', ['read', 'local_tools', 'cached_answers', 'extractive_analysis']],
    ['overloaded', 'offline', ['read', 'local_tools', 'cached_answers', 'extractive_analysis']],
    ['server', 'offline', ['read', 'local_tools', 'cached_answers', 'extractive_analysis']],
    ['circuit_open', 'offline', ['read', 'local_tools', 'cached_answers', 'extractive_analysis']],
    ['authentication', 'offline', ['read', 'local_tools', 'cached_answers', 'extractive_analysis']],
    ['quota', 'offline', ['read', 'local_tools', 'cached_answers', 'extractive_analysis']],
  ] as const)('%s: %s', (kind, mode, can) => {
    const health = healthAfter(failure(kind))
    expect(health.degraded).toMatchObject({ mode, reason: kind })
    expect(capabilitiesOf(health)).toEqual(can)
  })

  test.each(['aborted', 'refusal', 'tool', 'rejected', 'unknown'] as const)('%s is the turn’s alone', (kind) => {
    expect(degradedBy(failure(kind), well, now)).toBeNull()
    expect(capabilitiesOf(well)).toContain('all_tools')
  })

  test('a rate limit says until when', () => {
    expect(healthAfter(failure('rate_limit', 30_000)).degraded).toMatchObject({ mode: 'read_only', retryAt: now + 30_000_000 })
  })

  test('is said once, and again when it lasts longer or is another', () => {
    const limited = healthAfter(failure('rate_limit', 30_000))
    expect(degradedBy(failure('rate_limit', 30_000), limited, now)).toBeNull()
    expect(degradedBy(failure('rate_limit'), limited, now)).toBeNull()
    expect(degradedBy(failure('rate_limit', 60_000), limited, now)).not.toBeNull()
    expect(degradedBy(failure('network'), limited, now)).not.toBeNull()
  })

  test('a mode of another version leaves reading', () => {
    const health = { ...well, degraded: { mode: 'constructor', reason: 'r', sincePosition: 1 } }
    expect(capabilitiesOf(health)).toEqual(['read'])
  })
})

describe('what ends it', () => {
  test('an answer, when the provider was away', () => {
    expect(recoveredBy('answered', healthAfter(failure('network')))).toMatchObject({ type: 'recovered' })
    expect(recoveredBy('compacted', healthAfter(failure('network')))).toBeNull()
  })

  test('a compaction, when the conversation was too long', () => {
    expect(recoveredBy('answered', healthAfter(failure('context_overflow')))).toBeNull()
    expect(recoveredBy('compacted', healthAfter(failure('context_overflow')))).toMatchObject({ type: 'recovered' })
  })

  test('nothing, when it is well', () => expect(recoveredBy('answered', well)).toBeNull())
})
