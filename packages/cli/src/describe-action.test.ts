import { type Action, errorRecorded, type Message, messageAdded, type Part, toolFailed } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { describeAction, describeMessage } from './describe-action.ts'

const added = (...parts: Part[]): Action => {
  const message: Message = { v: 1, id: 'm1', role: 'assistant', parts }
  return messageAdded({ message, tokenCount: 7 })
}

describe('an action in one line', () => {
  test('says who said what, what was called and what came back', () => {
    const call: Part = {
      type: 'tool_call',
      callId: 'c1',
      name: 'Read',
      args: { raw: '{"path":"a.ts"}', valid: true },
      executor: { kind: 'client' },
    }
    const result: Part = { type: 'tool_result', callId: 'c1', status: 'error', content: [{ type: 'text', text: 'no such file' }] }
    expect(describeAction(added({ type: 'text', text: 'I look.' }, call))).toBe(
      'assistant: I look. [call Read {"path":"a.ts"}] (7 tokens)',
    )
    expect(describeMessage({ parts: [result] })).toBe('[result error] no such file')
    expect(describeAction(toolFailed({ messageId: 'm1', callId: 'c1', kind: 'timed_out', problem: 'after 5 s' }))).toBe(
      'c1 timed_out: after 5 s',
    )
  })

  test('is one harmless line of bounded length, whatever was said', () => {
    const line = describeAction(added({ type: 'text', text: `first\nsecond\t\u001b[2J${'x'.repeat(10_000)}` }))
    expect(line).toMatch(/^assistant: first second \\e\[2Jx+…$/)
    expect(line.length).toBeLessThanOrEqual(160)
    expect(describeAction(errorRecorded({ kind: 'api\u0007', problem: 'a\r\nb' }))).toBe('api\\u0007: a b')
  })

  test('shows an action that this command does not know as it is', () => {
    expect(describeAction({ type: 'weatherChanged', payload: { to: 'rain' } })).toBe('{"to":"rain"}')
  })
})
