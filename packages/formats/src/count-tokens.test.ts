import type { Part } from '@colloquy/core'
import { expect, test } from 'vitest'
import { countTokens } from './count-tokens.ts'

const text = (length: number): Part => ({ type: 'text', text: 'x'.repeat(length) })

test('four characters are a token, over all parts together', () => {
  expect(countTokens([])).toBe(0)
  expect(countTokens([text(1)])).toBe(1)
  expect(countTokens([text(2), text(2)])).toBe(1)
  expect(countTokens([text(5)])).toBe(2)
})

test('calls, results, reasoning and media weigh what the model is sent', () => {
  const parts: Part[] = [
    { type: 'reasoning', text: 'x'.repeat(8), signature: 'not counted', redacted: false },
    { type: 'tool_call', callId: 'c', name: 'Bash', args: { raw: '{"a":1} ', valid: true }, executor: { kind: 'client' } },
    {
      type: 'tool_result',
      callId: 'c',
      status: 'ok',
      content: [
        { type: 'text', text: 'x'.repeat(12) },
        { type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'url', url: 'https://example.com' } },
      ],
    },
    { type: 'approval', approvalId: 'a', callId: 'c' },
  ]
  expect(parts.map((part) => countTokens([part]))).toEqual([2, 3, 1503, 0])
})
