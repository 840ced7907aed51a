import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { modelCalled } from './manifest.ts'

const hash = (digit: string) => digit.repeat(64)
const call = (callId: string, base: number | null, messages: Parameters<typeof modelCalled>[0]['messages']) =>
  modelCalled({
    callId,
    encoder: 'plain@1',
    base,
    system: null,
    ...(base === null && { tools: [hash('b')] }),
    config: hash('c'),
    messages,
    request: { hash: hash('d'), bytes: 10 },
    content: { messages: 0, bytes: 8 },
    unchanged: { messages: 0, bytes: 0 },
  })
const entry = (digit: string) => ({ hash: hash(digit), position: null, kept: true as const })

describe('the manifest', () => {
  const two = given(
    call('one', null, [entry('1'), entry('2'), entry('3')]),
    call('two', 1, [{ keepFrom: 0, keepCount: 3 }, entry('4')]),
  )

  test('is in full what its base and the steps say', () => {
    const { calls, last } = two.when(call('three', 2, [entry('5'), { keepFrom: 2, keepCount: 2 }, { keepFrom: 0, keepCount: 1 }]))
      .state.manifest
    expect(calls).toBe(3)
    expect(last).toMatchObject({ callId: 'three', position: 3, tools: [hash('b')], model: null })
    expect(last?.messages.slice().map((one) => one.hash[0])).toEqual(['5', '3', '4', '1'])
  })

  test('differs from the last one only, and keeps only what that has', () => {
    expect(() => two.guard(call('three', 1, []))).toThrow(expect.objectContaining({ code: 'manifest_stale' }))
    expect(() => two.guard(call('three', null, []))).toThrow(expect.objectContaining({ code: 'manifest_stale' }))
    expect(() => two.guard(call('three', 2, [{ keepFrom: 3, keepCount: 2 }]))).toThrow(
      expect.objectContaining({ code: 'action_invalid' }),
    )
    expect(() => two.guard(call('three', 2, [{ keepFrom: 3, keepCount: 1 }]))).not.toThrow()
  })

  test('whose base is not there is let go of, and the next one stands for itself', () => {
    const lost = given(call('two', 7, [entry('2')]))
    expect(lost.state.manifest).toEqual({ calls: 1, last: null })
    expect(() => lost.guard(call('three', null, [entry('1')]))).not.toThrow()
  })
})
