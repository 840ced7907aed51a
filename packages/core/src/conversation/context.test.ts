import { describe, expect, test } from 'vitest'
import { naming } from '../../../../test/support/core-arbitraries.ts'
import { type Given, given } from '../../../../test/support/core-log.ts'
import { compactionFailed, contextCompacted } from './compaction.ts'
import { conversationCleared } from './lifecycle.ts'
import { textMessage } from './message.ts'
import { messageAdded } from './messages.ts'

const say = (id: string, role: 'user' | 'assistant' = 'user') =>
  messageAdded({ message: textMessage(id, role, id), tokenCount: 10 })
const failed = compactionFailed({ strategy: 'test', trigger: 'auto', reason: 'summariser_failed', problem: 'overloaded' })

function compactFirst(past: Given): Given {
  const size = { messages: 0, tokens: 0 }
  const covered = naming(past.state.messages.slice(0, 1))
  return past.when(contextCompacted({ covered, strategy: 'test', trigger: 'auto', before: size, after: size }))
}

describe('a compaction that fails', () => {
  const two = given(say('m1'), say('m2'))

  test('leaves every other part of the state as it was', () => {
    const after = two.when(failed)
    const { context: _before, ...before } = two.state
    const { context: _after, ...rest } = after.state
    expect(rest).toEqual(before)
    expect(after.state.context).toEqual({
      ...two.state.context,
      failure: {
        position: 3,
        occurredAt: after.log[2]?.occurredAt,
        strategy: 'test',
        reason: 'summariser_failed',
        inARow: 1,
        messagesSince: 0,
      },
      settled: { position: 3, tokens: 0, answersSince: 0 },
    })
  })

  test('is counted with those before, and how many messages came since the last', () => {
    const { failure } = two.when(failed, say('m3'), failed, say('m4'), say('m5')).state.context
    expect(failure).toMatchObject({ position: 5, inARow: 2, messagesSince: 2 })
  })

  test.each([
    ['a compaction', compactFirst(two.when(failed)), { position: 4, tokens: 10, answersSince: 0 }],
    ['a clearing', two.when(failed, conversationCleared({})), { position: 4, tokens: 0, answersSince: 0 }],
  ])('is forgotten by %s', (_, { state }, settled) => {
    expect(state.context).toMatchObject({ failure: null, settled })
  })
})

test('answers of the model are counted since the working set was settled', () => {
  const two = given(say('m1'), say('m2', 'assistant'), say('m3', 'assistant'))
  expect(two.state.context.settled.answersSince).toBe(2)
  expect(compactFirst(two).when(say('m4', 'assistant')).state.context.settled.answersSince).toBe(1)
})

test('of compactions that left no message the last hundred are known', () => {
  const many = Array.from({ length: 101 }, (_, index) => say(`m${index}`))
  let past = given(...many, say('last'))
  for (let i = 0; i < 101; i++) past = compactFirst(past)
  expect(past.state.context.unseenCompactions).toEqual(Array.from({ length: 100 }, (_, index) => 104 + index))
})
