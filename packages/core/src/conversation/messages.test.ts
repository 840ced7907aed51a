import { describe, expect, test } from 'vitest'
import { given } from '../../../../test/support/core-log.ts'
import { conversationCleared } from './lifecycle.ts'
import type { Message } from './message.ts'
import { messageAdded, messageRedacted } from './messages.ts'

const say = (id: string, text = `words of ${id}`, tokenCount = 10) =>
  messageAdded({ message: { v: 1, id, role: 'user', parts: [{ type: 'text', text }] }, tokenCount })

describe('messages', () => {
  test('given none, when two are added, they are in the working set in order, each with its position and tokens', () => {
    const { state } = given(say('m1'), say('m2', 'hello', 3))
    expect(state.messages.toJSON()).toEqual([
      { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text: 'words of m1' }], position: 1, tokenCount: 10 },
      { v: 1, id: 'm2', role: 'user', parts: [{ type: 'text', text: 'hello' }], position: 2, tokenCount: 3 },
    ])
  })

  test('given messages, when one is redacted, its words are gone and its tokens stay spent', () => {
    const { state } = given(say('m1'), say('m2'), messageRedacted({ messageId: 'm1', reason: 'a phone number' }))
    expect(state.messages.toJSON()).toMatchObject([
      {
        v: 1,
        id: 'm1',
        role: 'user',
        position: 1,
        tokenCount: 10,
        redacted: true,
        parts: [{ type: 'custom', kind: 'colloquy.redacted', payload: { was: 'text' } }],
      },
      { id: 'm2', parts: [{ type: 'text', text: 'words of m2' }] },
    ])
    expect(state.context.usedTokens).toBe(20)
    expect(state.budget.used.messageTokens).toBe(20)
  })

  test('given two messages with one id, both are there, and what names the id means both', () => {
    const { state } = given(say('m1'), say('m2'), say('m1', 'again'), messageRedacted({ messageId: 'm1' }))
    expect(state.messages.toJSON().map(({ id, redacted }) => [id, redacted ?? false])).toEqual([
      ['m1', true],
      ['m2', false],
      ['m1', true],
    ])
  })

  test('given a message of every kind of part, when it is redacted, only what holds calls, results and approvals together is left', () => {
    const secret = 'SECRET'
    const parts: Message['parts'] = [
      { type: 'text', text: secret, raw: { secret }, citations: [{ kind: secret }] },
      { type: 'reasoning', text: secret, signature: secret, redacted: false },
      { type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'url', url: secret }, filename: secret },
      {
        type: 'tool_call',
        callId: 'c1',
        name: 'Read',
        args: { raw: secret, json: { secret }, valid: true },
        executor: { kind: 'mcp', server: 'files' },
        batchId: 'b1',
        raw: secret,
      },
      {
        type: 'tool_result',
        callId: 'c1',
        callMessageId: 'm0',
        status: 'ok',
        content: [{ type: 'text', text: secret }],
        artifactRef: secret,
      },
      { type: 'approval', approvalId: 'a1', callId: 'c1', decision: 'denied', reason: secret, signature: secret },
      { type: 'refusal', text: secret },
      { type: 'citation_source', sourceId: secret, title: secret },
      { type: 'compaction', content: secret, opaque: secret },
      { type: 'tool_change', change: 'add', ref: secret },
      { type: 'control', kind: secret, payload: secret },
      { type: 'custom', kind: secret, payload: { secret } },
    ]
    const message: Message = { v: 1, id: 'm1', role: 'assistant', parts, meta: { secret }, raw: secret, author: { name: secret } }
    const { state } = given(messageAdded({ message, tokenCount: 1 }), messageRedacted({ messageId: 'm1' }))
    const redacted = state.messages.at(0)
    expect(JSON.stringify(redacted)).not.toContain(secret)
    expect(redacted?.parts).toEqual([
      ...['text', 'reasoning', 'media'].map((was) => ({ type: 'custom', kind: 'colloquy.redacted', payload: { was } })),
      {
        type: 'tool_call',
        callId: 'c1',
        name: 'Read',
        args: { raw: '', valid: false },
        executor: { kind: 'mcp', server: 'files' },
        batchId: 'b1',
      },
      { type: 'tool_result', callId: 'c1', callMessageId: 'm0', status: 'ok', content: [] },
      { type: 'approval', approvalId: 'a1', callId: 'c1', decision: 'denied' },
      ...['refusal', 'citation_source', 'compaction', 'tool_change', 'control', 'custom'].map((was) => ({
        type: 'custom',
        kind: 'colloquy.redacted',
        payload: { was },
      })),
    ])
  })

  test('given a redacted message, when it is redacted again, nothing changes', () => {
    const once = given(say('m1'), messageRedacted({ messageId: 'm1' }))
    expect(once.when(messageRedacted({ messageId: 'm1' })).state).toBe(once.state)
  })

  test('given messages, when the conversation is cleared, the working set is empty', () => {
    const { state } = given(say('m1'), conversationCleared({ reason: 'new topic' }), say('m2'))
    expect(state.messages.toJSON()).toMatchObject([{ id: 'm2', position: 3 }])
    expect(state.context.usedTokens).toBe(10)
  })

  test('a redaction of what is not in the working set is refused at dispatch, and on replay changes nothing', () => {
    const before = given(say('m1'))
    expect(() => before.guard(messageRedacted({ messageId: 'm2' }))).toThrow(
      expect.objectContaining({ code: 'message_not_found', details: { messageId: 'm2', workingSet: 1 } }),
    )
    expect(before.when(messageRedacted({ messageId: 'm2' })).state).toBe(before.state)
  })

  test('a redaction of what is in the working set is not refused', () => {
    expect(() => given(say('m1')).guard(messageRedacted({ messageId: 'm1' }))).not.toThrow()
  })
})
