import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type CircuitOptions, type CircuitState, circuits } from './circuit.ts'
import { recover } from './recover.ts'

const reset = () => Object.assign(new Error('reset'), { code: 'ECONNRESET' })
const denied = () => Object.assign(new Error('denied'), { status: 401 })

/** A circuit of a provider that does what `answers` says, call by call, and then succeeds. */
function provider(options: CircuitOptions = {}) {
  const circuit = circuits(options).of('anthropic', 'stream')
  let calls = 0
  const call = async (error?: () => Error) => {
    try {
      return await circuit.run(async () => {
        calls += 1
        if (error) throw error()
        return 'answer'
      })
    } catch (caught) {
      return (caught as { code?: string }).code ?? (caught as Error).message
    }
  }
  const fail = async (times: number) => {
    for (let i = 0; i < times; i++) await call(reset)
  }
  return { circuit, call, fail, calls: () => calls }
}

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
afterEach(() => void vi.useRealTimers())

describe('a circuit', () => {
  test('opens after five failures in a row, and then asks nobody', async () => {
    const { circuit, call, fail, calls } = provider()
    await fail(4)
    expect(circuit.state).toBe('closed')
    await fail(1)
    expect(circuit.state).toBe('open')
    expect(await call()).toBe('circuit_open')
    expect(calls()).toBe(5)
  })

  test('says how long it stays open', async () => {
    const { circuit, fail } = provider()
    await fail(5)
    vi.advanceTimersByTime(12_000)
    await expect(circuit.run(async () => 'answer')).rejects.toMatchObject({
      code: 'circuit_open',
      details: { circuit: 'anthropic/stream', failures: 5, retryInMs: 48_000 },
      retryable: true,
    })
  })

  test('forgets failures when a call succeeds', async () => {
    const { circuit, call, fail } = provider()
    await fail(4)
    expect(await call()).toBe('answer')
    await fail(4)
    expect(circuit.state).toBe('closed')
  })

  test('lets one call through after 60 s, and closes when it succeeds', async () => {
    const { circuit, call, fail } = provider()
    await fail(5)
    vi.advanceTimersByTime(59_999)
    expect(await call()).toBe('circuit_open')
    vi.advanceTimersByTime(1)
    expect(await call()).toBe('answer')
    expect(circuit.state).toBe('closed')
  })

  test('stays open for another 60 s when that call fails', async () => {
    const { circuit, call, fail } = provider()
    await fail(5)
    vi.advanceTimersByTime(60_000)
    expect(await call(reset)).toBe('ECONNRESET')
    expect(circuit.state).toBe('open')
    vi.advanceTimersByTime(59_999)
    expect(await call()).toBe('circuit_open')
    vi.advanceTimersByTime(1)
    expect(await call()).toBe('answer')
  })

  test('is not closed by a call that was aborted', async () => {
    const { circuit, call, fail } = provider()
    await fail(5)
    vi.advanceTimersByTime(60_000)
    await call(() => new DOMException('stop', 'AbortError'))
    expect(circuit.state).toBe('open')
  })

  test('does not count what is no failure of the provider', async () => {
    const { circuit, call } = provider()
    for (let i = 0; i < 9; i++) await call(denied)
    for (let i = 0; i < 9; i++) await call(() => Object.assign(new Error('slow down'), { status: 429 }))
    expect(circuit.state).toBe('closed')
  })

  test('is one for each provider and operation', async () => {
    const all = circuits({ failures: 1 })
    await all
      .of('a', 'stream')
      .run(async () => Promise.reject(reset()))
      .catch(() => {})
    expect(all.of('a', 'stream').state).toBe('open')
    expect(all.of('a', 'summarise').state).toBe('closed')
    expect(all.of('b', 'stream').state).toBe('closed')
  })

  test('opened by the tries of one call, ends them', async () => {
    const circuit = circuits().of('a', 'stream')
    const recovering = async () =>
      recover(async () => Promise.reject(reset()), { circuit, sleep: async () => {}, random: () => 0 })
    await expect(recovering()).rejects.toMatchObject({ code: 'ECONNRESET' })
    await expect(recovering()).rejects.toMatchObject({ code: 'circuit_open' })
  })
})

describe('a circuit with a store', () => {
  const shared = () => {
    const states = new Map<string, CircuitState>()
    return {
      states,
      store: {
        read: async (name: string) => states.get(name),
        write: async (name: string, state: CircuitState) =>
          void states.set(name, JSON.parse(JSON.stringify(state)) as CircuitState),
      },
    }
  }

  test('opens and closes in each process that shares it', async () => {
    const { store, states } = shared()
    const [one, other] = [provider({ store }), provider({ store })]
    await one.fail(5)
    expect(await other.call()).toBe('circuit_open')
    expect(other.calls()).toBe(0)
    expect(states.get('anthropic/stream')).toEqual({ state: 'open', openedAtMs: 1_000_000, failures: 5 })
    vi.advanceTimersByTime(60_000)
    expect(await other.call()).toBe('answer')
    expect(await one.call()).toBe('answer')
    expect(one.circuit.state).toBe('closed')
  })

  test('is open after a restart for as long as it would have been', async () => {
    const { store } = shared()
    await provider({ store }).fail(5)
    vi.advanceTimersByTime(30_000)
    const restarted = provider({ store })
    expect(await restarted.call()).toBe('circuit_open')
    vi.advanceTimersByTime(30_000)
    expect(await restarted.call()).toBe('answer')
  })

  test('works on when the store fails, and says so', async () => {
    const problems: unknown[] = []
    const broken = async () => Promise.reject(new Error('no store'))
    const { call, fail, circuit } = provider({
      store: { read: broken, write: broken },
      onStoreFailed: (error) => void problems.push(error),
    })
    await fail(5)
    expect(circuit.state).toBe('open')
    expect(await call()).toBe('circuit_open')
    expect(problems.length).toBeGreaterThan(1)
  })

  test('does not take over what a store says that did not take our news, and tells it when it can', async () => {
    const { store, states } = shared()
    let isDown = true
    const write = async (name: string, state: CircuitState) =>
      isDown ? Promise.reject(new Error('full')) : store.write(name, state)
    const { call, fail } = provider({ store: { read: async () => states.get('anthropic/stream') ?? { state: 'closed' }, write } })
    await fail(5)
    expect(await call()).toBe('circuit_open')
    isDown = false
    expect(await call()).toBe('circuit_open')
    expect(states.get('anthropic/stream')).toMatchObject({ state: 'open' })
  })

  test('tells who listens when it opens and closes', async () => {
    const told: unknown[] = []
    const { call, fail } = provider({ onChange: (name, { state }) => void told.push([name, state]) })
    await fail(5)
    vi.advanceTimersByTime(60_000)
    await call()
    expect(told).toEqual([
      ['anthropic/stream', 'open'],
      ['anthropic/stream', 'closed'],
    ])
  })
})
