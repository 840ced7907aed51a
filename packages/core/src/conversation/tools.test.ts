import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { conversationReducer } from './conversation.ts'
import { conversationCleared } from './lifecycle.ts'
import type { Message } from './message.ts'
import { messageAdded } from './messages.ts'
import {
  approvalDecided,
  approvalRequested,
  type ToolResultPart,
  toolCancelled,
  toolEndedLate,
  toolFailed,
  toolProgressed,
  toolRequested,
  toolStarted,
  toolSucceeded,
} from './tools.ts'
import { turnEnded, turnStarted } from './turn.ts'

const call = { messageId: 'm1', callId: 'c1' }
const requested = given(toolRequested({ ...call, name: 'Read' }))
const open = {
  ...call,
  name: 'Read',
  status: 'requested',
  attempts: 0,
  requestedAtPosition: 1,
  progressRatio: null,
  args: null,
  idempotencyKey: null,
  approval: null,
}
const counts = { answered: [], requested: 1, succeeded: 0, failed: 0, cancelled: 0, late: 0 }
const result: ToolResultPart = { type: 'tool_result', callId: 'c1', callMessageId: 'm1', status: 'ok', content: [] }

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
    expect(tools.open).toEqual([{ ...open, status: 'started', attempts: 1, progressRatio: 0.5 }])
  })

  test.each([
    ['succeeds', toolSucceeded({ ...call, durationMs: 12 }), { succeeded: 1 }],
    ['fails', toolFailed({ ...call, kind: 'timed_out' }), { failed: 1 }],
    ['is cancelled', toolCancelled({ ...call, reason: 'stop' }), { cancelled: 1 }],
  ])('given an open call, when it %s, it is closed and counted', (_, action, change) => {
    expect(requested.when(action).state.tools).toEqual({ open: [], ...counts, ...change })
  })

  test('given a call that ended while the model talked, its answer is kept until the message that holds it', () => {
    const args = { raw: '{"a":1}', json: { a: 1 }, valid: true }
    const ended = given(toolRequested({ ...call, name: 'Read', args })).when(
      toolStarted(call),
      toolSucceeded({ ...call, result }),
    )
    expect(ended.state.tools.answered).toEqual([{ ...call, name: 'Read', requestedAtPosition: 1, args, result }])
    const message: Message = { v: 1, id: 'm2', role: 'tool', parts: [result] }
    expect(ended.when(messageAdded({ message, tokenCount: 1 })).state.tools.answered).toEqual([])
    expect(ended.when(turnStarted({ turnId: 't' }), turnEnded({ turnId: 't' })).state.tools.answered).toEqual([])
    const other = { ...message, parts: [{ ...result, callMessageId: 'm9' }] }
    expect(ended.when(messageAdded({ message: other, tokenCount: 1 })).state.tools.answered).toHaveLength(1)
  })

  test('given a started call, when it is started again, only a later attempt is taken', () => {
    const started = requested.when(toolStarted({ ...call, attempt: 1 }))
    expect(() => started.guard(toolStarted({ ...call, attempt: 1 }))).toThrow(
      expect.objectContaining({ code: 'tool_already_open' }),
    )
    started.guard(toolStarted({ ...call, attempt: 2 }))
    expect(started.when(toolStarted({ ...call, attempt: 2 })).state.tools.open[0]?.attempts).toBe(2)
  })

  test('given a call that waits for an approval, only that approval is decided', () => {
    const asked = requested.when(approvalRequested({ ...call, approvalId: 'a1' }))
    expect(asked.state.tools.open[0]?.approval).toEqual({ approvalId: 'a1', decision: null })
    const decided = (approvalId: string) => approvalDecided({ ...call, approvalId, decision: 'denied' })
    expect(() => asked.guard(decided('a2'))).toThrow(expect.objectContaining({ code: 'tool_not_open' }))
    asked.guard(decided('a1'))
    expect(asked.when(decided('a1')).state.tools.open[0]?.approval).toEqual({ approvalId: 'a1', decision: 'denied' })
  })

  test('given a closed call, when it ends after all, that is counted and applied to nothing', () => {
    const late = toolEndedLate({ ...call, outcome: 'succeeded', result })
    expect(() => requested.guard(late)).toThrow(expect.objectContaining({ code: 'tool_already_open' }))
    const { tools } = requested.when(toolFailed({ ...call, kind: 'timed_out' }), late).state
    expect(tools).toEqual({ open: [], ...counts, failed: 1, late: 1 })
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
