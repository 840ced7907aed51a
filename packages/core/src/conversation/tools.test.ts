import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { conversationReducer } from './conversation.ts'
import { conversationCleared } from './lifecycle.ts'
import { toolCancelled, toolFailed, toolProgressed, toolRequested, toolStarted, toolSucceeded } from './tools.ts'

const call = { messageId: 'm1', callId: 'c1' }
const requested = given(toolRequested({ ...call, name: 'Read' }))
const open = { ...call, name: 'Read', status: 'requested', requestedAtPosition: 1, progressRatio: null }
const counts = { requested: 1, succeeded: 0, failed: 0, cancelled: 0 }

describe('tools', () => {
  test('given nothing, when a call is requested, it is open', () => {
    expect(requested.state.tools).toEqual({ open: [open], ...counts })
  })

  test('given a requested call, when it starts and progresses, it says how far it is', () => {
    const { tools } = requested.when(
      toolStarted({ ...call, attempt: 1 }),
      toolProgressed({ ...call, ratio: 0.5 }),
      toolProgressed({ ...call, note: 'still reading' }),
    ).state
    expect(tools.open).toEqual([{ ...open, status: 'started', progressRatio: 0.5 }])
  })

  test.each([
    ['succeeds', toolSucceeded({ ...call, durationMs: 12 }), { succeeded: 1 }],
    ['fails', toolFailed({ ...call, kind: 'timed_out' }), { failed: 1 }],
    ['is cancelled', toolCancelled({ ...call, reason: 'stop' }), { cancelled: 1 }],
  ])('given an open call, when it %s, it is closed and counted', (_, action, change) => {
    expect(requested.when(action).state.tools).toEqual({ open: [], ...counts, ...change })
  })

  test('given a call that ended, when another end of it arrives late, the first one stands', () => {
    const ended = requested.when(toolSucceeded(call))
    expect(ended.when(toolFailed({ ...call, kind: 'error' })).state).toBe(ended.state)
  })

  test('given one call id in two messages, when one ends, the other stays open', () => {
    const other = { messageId: 'm2', callId: 'c1' }
    const { tools } = requested.when(toolRequested({ ...other, name: 'Write' }), toolSucceeded(call)).state
    expect(tools.open).toMatchObject([other])
  })

  test('given open calls, when the conversation is cleared, none is open', () => {
    expect(requested.when(conversationCleared({})).state.tools).toEqual({ open: [], ...counts })
  })

  test.each([
    toolStarted(call),
    toolProgressed(call),
    toolSucceeded(call),
    toolFailed({ ...call, kind: 'error' }),
    toolCancelled(call),
  ])('$type of a call that is not open is refused at dispatch, and on replay changes nothing', (action) => {
    const before = given(toolRequested({ messageId: 'm2', callId: 'c1', name: 'Read' }))
    expect(() => before.guard(action)).toThrow(
      expect.objectContaining({ code: 'tool_not_open', details: { messageId: 'm1', callId: 'c1', openCalls: 1 } }),
    )
    expect(before.when(action).state.tools).toBe(before.state.tools)
    expect(() => requested.guard(action)).not.toThrow()
  })

  test('a request of a call that is open is refused at dispatch, and on replay changes nothing', () => {
    const again = toolRequested({ ...call, name: 'Write' })
    expect(() => requested.guard(again)).toThrow(
      expect.objectContaining({ code: 'tool_already_open', details: { ...call, requestedAtPosition: 1 } }),
    )
    expect(requested.when(again).state).toBe(requested.state)
    expect(() => requested.when(toolSucceeded(call)).guard(again)).not.toThrow()
  })

  test('a request is refused when 10,000 calls are open', () => {
    const many = Array.from({ length: 10_000 }, (_, n) => ({ ...open, status: 'requested' as const, callId: `c${n}` }))
    const state = { ...requested.state, tools: { ...requested.state.tools, open: many } }
    const action = requested.next(toolRequested({ messageId: 'm9', callId: 'c1', name: 'Read' }))
    expect(() => conversationReducer.guard(state, action)).toThrow(
      expect.objectContaining({ code: 'json_too_wide', details: { path: 'tools.open', keys: 10_001, limitKeys: 10_000 } }),
    )
  })
})
