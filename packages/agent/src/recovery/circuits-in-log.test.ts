import { createEngine, openMemoryLog } from '@colloquy/engine'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { storedIn } from '../../../../test/support/given.ts'
import { circuits } from './circuit.ts'
import { circuitsInLog } from './circuits-in-log.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: 1_767_225_600_000 }))
afterEach(() => void vi.useRealTimers())

const reset = async (): Promise<never> => Promise.reject(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))

test('processes on one log share a circuit: opened by one, closed by another, and both are in the log', async () => {
  const log = openMemoryLog()
  // Two engines are two processes.
  const processes = await Promise.all(
    [1, 2].map(async () => {
      const engine = createEngine({ log })
      const conversation = await engine.open('circuits')
      return { engine, conversation, circuit: circuits({ store: circuitsInLog(conversation) }).of('anthropic', 'stream') }
    }),
  )
  const [one, other] = processes as [(typeof processes)[0], (typeof processes)[0]]
  for (let i = 0; i < 5; i++) await one.circuit.run(reset).catch(() => {})
  await expect(one.circuit.run(async () => 'answer')).rejects.toMatchObject({ code: 'circuit_open' })

  vi.setSystemTime(Date.now() + 1_000)
  await expect(other.circuit.run(async () => 'answer')).rejects.toMatchObject({
    code: 'circuit_open',
    details: { circuit: 'anthropic/stream', retryInMs: 59_000 },
  })
  expect(other.conversation.getState().health.openCircuits).toEqual([
    { circuit: 'anthropic/stream', failures: 5, openedAt: 1_767_225_600_000_000 },
  ])

  vi.setSystemTime(Date.now() + 59_000)
  expect(await other.circuit.run(async () => 'answer')).toBe('answer')
  expect(await other.circuit.run(async () => 'answer')).toBe('answer')
  vi.setSystemTime(Date.now() + 1_000)
  expect(await one.circuit.run(async () => 'answer')).toBe('answer')
  expect(one.circuit.state).toBe('closed')
  expect((await storedIn(log, 'circuits')).map(({ type }) => type)).toEqual(['circuitOpened', 'circuitClosed'])
  for (const { engine } of processes) await engine.close()
})

test('a process that starts again finds what was open', async () => {
  const log = openMemoryLog()
  const before = createEngine({ log })
  const circuit = circuits({ failures: 1, store: circuitsInLog(await before.open('circuits')) }).of('openai', 'stream')
  await circuit.run(reset).catch(() => {})
  await circuit.run(async () => 'answer').catch(() => {})
  await before.close()
  await using after = createEngine({ log })
  const restarted = circuits({ failures: 1, store: circuitsInLog(await after.open('circuits')) }).of('openai', 'stream')
  await expect(restarted.run(async () => 'answer')).rejects.toMatchObject({ code: 'circuit_open' })
  vi.setSystemTime(Date.now() + 60_000)
  expect(await restarted.run(async () => 'answer')).toBe('answer')
})
