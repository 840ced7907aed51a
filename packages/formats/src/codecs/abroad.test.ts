/** Law 2: a request made of any messages whatever is one that the provider would take. */
import type { Message } from '@colloquy/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checks } from '../../../../test/formats/codecs-acceptable.ts'
import { conversations, lookup } from '../../../../test/formats/codecs-arbitraries.ts'
import { aiSdkModel } from './ai-sdk-model.ts'
import { aiSdkUi } from './ai-sdk-ui.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import type { Codec } from './codec.ts'
import { geminiContents } from './gemini-contents.ts'
import { langChain } from './langchain-messages.ts'
import { lossKinds } from './loss.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiResponses } from './openai-responses.ts'

const codecs: readonly Codec<unknown>[] = [
  anthropicMessages,
  openaiChat,
  openaiResponses,
  geminiContents,
  aiSdkModel,
  aiSdkUi,
  langChain,
]

describe.each(codecs.map((codec) => [codec.id, codec] as const))('%s', (id, codec) => {
  const problemsOf = (messages: readonly Message[]): string[] => {
    const { body } = codec.encode(messages, { media: lookup })
    return checks[id]?.(body as Record<string, unknown>) ?? ['there is no check']
  }

  test('any conversation becomes a request that would be taken', () => {
    fc.assert(
      fc.property(conversations, (messages) => {
        expect(problemsOf(messages)).toEqual([])
      }),
      { numRuns: 3000 },
    )
  })

  test('losses are of the documented kinds and name messages and parts that are there', () => {
    fc.assert(
      fc.property(conversations, fc.constantFrom('request' as const, 'transcript' as const), (messages, purpose) => {
        const { losses } = codec.encode(messages, { media: lookup, purpose })
        for (const { kind, messageId, part } of losses) {
          expect(Object.keys(lossKinds)).toContain(kind)
          const message = messages.find((each) => each.id === messageId)
          expect(message).toBeDefined()
          expect(part ?? -1).toBeLessThan(message?.parts.length ?? 0)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('the messages are not touched', () => {
    fc.assert(
      fc.property(conversations, (messages) => {
        const before = structuredClone(messages)
        codec.encode(messages, { media: lookup })
        codec.encode(messages, { media: lookup, purpose: 'transcript' })
        expect(messages).toEqual(before)
      }),
      { numRuns: 300 },
    )
  })
})
