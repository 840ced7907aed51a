import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Failure, FailureKind } from './classify.ts'
import { retryPolicies } from './policies.ts'
import { type RecoverOptions, type Retry, recover, retryDelayMs } from './recover.ts'

const failure = (kind: FailureKind, more: Partial<Failure> = {}): Failure => ({ kind, retryable: true, problem: kind, ...more })

/** Runs an operation that fails as listed and then succeeds, in no time; errors are the failures themselves. */
async function run(failures: readonly Failure[], options: RecoverOptions = {}) {
  const waits: number[] = []
  const retries: Retry[] = []
  let tries = 0
  const outcome = await recover(
    async (attempt) => {
      tries += 1
      expect(attempt).toBe(tries)
      const next = failures[tries - 1]
      if (next) throw next
      return 'done'
    },
    {
      classify: (error) => error as Failure,
      sleep: async (ms) => void waits.push(ms),
      random: () => 0,
      onRetry: (retry) => void retries.push(retry),
      ...options,
    },
  ).catch((error: unknown) => error as Failure)
  return { outcome, tries, waits, retries }
}

const times = (n: number, one: Failure): Failure[] => Array.from({ length: n }, () => one)

describe('each kind has its policy', () => {
  test.each([
    ['network', 5, [1_000, 2_000, 4_000, 8_000]],
    ['overloaded', 5, [1_000, 2_000, 4_000, 8_000]],
    ['server', 5, [1_000, 2_000, 4_000, 8_000]],
    ['rate_limit', 3, [10_000, 30_000]],
    ['tool', 2, [1_000]],
    ['unknown', 2, [1_000]],
    ['context_overflow', 1, []],
    ['authentication', 1, []],
    ['quota', 1, []],
    ['refusal', 1, []],
    ['rejected', 1, []],
    ['circuit_open', 1, []],
    ['aborted', 1, []],
  ] as const)('%s is tried %i times', async (kind, tries, waits) => {
    const failed = failure(kind)
    expect(await run(times(9, failed))).toMatchObject({ outcome: failed, tries, waits })
  })

  test('the waits end at the cap', () => {
    const policies = { ...retryPolicies, network: { ...retryPolicies.network, tries: 99 } }
    expect(retryDelayMs(failure('network'), 40, policies, () => 0)).toBe(30_000)
  })

  test('kinds are counted apart', async () => {
    const { tries, outcome } = await run([failure('network'), failure('unknown'), failure('network'), failure('unknown')])
    expect({ tries, outcome }).toMatchObject({ tries: 4, outcome: { kind: 'unknown' } })
  })

  test('a policy can be replaced', async () => {
    const tool = { tries: 1, baseMs: 0, factor: 1, capMs: 0 }
    expect((await run([failure('tool')], { policies: { tool } })).tries).toBe(1)
  })

  test('what the error itself calls final is not tried again, whatever its kind', async () => {
    expect((await run(times(3, failure('network', { retryable: false })))).tries).toBe(1)
  })
})

describe('what the provider asks', () => {
  test('is waited for, and never shortened', async () => {
    const asked = failure('rate_limit', { retryAfterMs: 42_000 })
    expect((await run([asked])).waits).toEqual([42_000])
    fc.assert(
      fc.property(fc.nat(300_000), fc.nat(999), (retryAfterMs, thousandths) => {
        const random = thousandths / 1_000
        const delay = retryDelayMs(failure('rate_limit', { retryAfterMs }), 1, retryPolicies, () => random)
        expect(delay).toBeGreaterThanOrEqual(retryAfterMs)
        expect(delay).toBeLessThanOrEqual(Math.ceil(retryAfterMs * 1.1))
      }),
    )
  })

  test('is not waited for beyond the cap', async () => {
    expect((await run([failure('rate_limit', { retryAfterMs: 300_001 })])).tries).toBe(1)
    expect((await run([failure('overloaded', { retryAfterMs: 30_001 })])).tries).toBe(1)
  })
})

test('jitter takes up to half of the wait off, so that many do not come back together', () => {
  const delays = [0, 0.5, 0.999].map((random) => retryDelayMs(failure('network'), 3, retryPolicies, () => random))
  expect(delays).toEqual([4_000, 3_000, 2_002])
})

test('each retry is reported before its wait, and waited for', async () => {
  const order: string[] = []
  const { retries } = await run([failure('network'), failure('rate_limit')], {
    sleep: async (ms) => void order.push(`slept ${ms}`),
  })
  expect(retries).toMatchObject([
    { attempt: 1, delayMs: 1_000, failure: { kind: 'network' }, error: { kind: 'network' } },
    { attempt: 2, delayMs: 10_000, failure: { kind: 'rate_limit' } },
  ])
  await run([failure('network')], {
    sleep: async () => void order.push('slept'),
    onRetry: async () => {
      await Promise.resolve()
      order.push('stored')
    },
  })
  expect(order).toEqual(['slept 1000', 'slept 10000', 'stored', 'slept'])
})

describe('an overflow', () => {
  const overflow = failure('context_overflow', { retryable: false })

  test('is tried once more, at once, when the request was made smaller', async () => {
    expect(await run([overflow], { onOverflow: async () => true })).toMatchObject({ outcome: 'done', tries: 2, waits: [0] })
  })

  test('is final the second time', async () => {
    let asked = 0
    const onOverflow = async () => {
      asked += 1
      return true
    }
    expect(await run([overflow, overflow], { onOverflow })).toMatchObject({ outcome: overflow, tries: 2 })
    expect(asked).toBe(1)
  })

  test('is final when nothing could be made smaller', async () => {
    expect(await run([overflow], { onOverflow: async () => false })).toMatchObject({ outcome: overflow, tries: 1 })
  })
})

describe('an abort', () => {
  test('ends a wait at once, with its reason', async () => {
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    const asked = failure('rate_limit', { retryAfterMs: 290_000 })
    const recovered = recover(async () => Promise.reject(asked as unknown as Error), {
      classify: (error) => error as Failure,
      signal: controller.signal,
      onRetry: () => queueMicrotask(() => controller.abort(reason)),
    })
    await expect(recovered).rejects.toBe(reason)
  })

  test('lets no further try begin, and hides not what the running one threw', async () => {
    const controller = new AbortController()
    let tries = 0
    const error = new Error('cut off')
    const recovered = recover(
      async () => {
        tries += 1
        controller.abort()
        throw error
      },
      { signal: controller.signal },
    )
    await expect(recovered).rejects.toBe(error)
    expect(tries).toBe(1)
  })
})
