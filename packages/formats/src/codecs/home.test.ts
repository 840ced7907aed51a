/** Laws 1 and 3: what was decoded is encoded as it was; nothing is thrown away, whatever comes in. */
import { isColloquyError, message as messageSchema } from '@colloquy/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { conversations, lookup } from '../../../../test/formats/codecs-arbitraries.ts'
import { samples } from '../../../../test/formats/codecs-samples.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { aiSdkModel } from './ai-sdk-model.ts'
import { aiSdkUi } from './ai-sdk-ui.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import type { Codec, Decoded } from './codec.ts'
import { geminiContents } from './gemini-contents.ts'
import { langChain, langChainSerialized, langChainStored } from './langchain-messages.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiResponses } from './openai-responses.ts'

type Fields = Record<string, unknown>

const codecs: readonly Codec<unknown>[] = [
  anthropicMessages,
  openaiChat,
  openaiResponses,
  geminiContents,
  aiSdkModel,
  aiSdkUi,
  langChain,
]

function decode(codec: Codec<unknown>, foreign: unknown): Decoded {
  let made = 0
  return codec.decode(foreign, { ids: () => `new-${++made}`, sha256 })
}

function encode(codec: Codec<unknown>, { messages, media }: Decoded, purpose: 'request' | 'transcript' = 'transcript') {
  return codec.encode(messages, { purpose, media: (hash) => media.find((each) => each.hash === hash)?.bytes })
}

/** What is wrong with the way there and back. A refusal is right, another error is not caught. */
function problemsWith(codec: Codec<unknown>, foreign: unknown): string[] {
  const before = JSON.stringify(foreign) ?? 'undefined'
  let decoded: Decoded
  try {
    decoded = decode(codec, foreign)
  } catch (error) {
    if (isColloquyError(error)) return []
    throw error
  }
  const problems: string[] = []
  const whole = Array.isArray(foreign) ? { [samples[codec.id]?.listKey ?? '']: foreign } : foreign
  const back = { ...decoded.settings, ...(encode(codec, decoded).body as Fields) }
  if (canonical(back) !== canonical(whole)) problems.push(`came back as ${JSON.stringify(back)}`)
  if ((JSON.stringify(foreign) ?? 'undefined') !== before) problems.push('the input was touched')
  if ('polluted' in {}) problems.push('Object.prototype is polluted')
  for (const message of decoded.messages) {
    const { error } = messageSchema.safeParse(message)
    if (error) problems.push(`no message of ours: ${error.message}`)
  }
  if (new Set(decoded.messages.map(({ id }) => id)).size < decoded.messages.length) problems.push('two messages have one id')
  // A request may be anything but an accident.
  encode(codec, decoded, 'request')
  encode(codecs[before.length % codecs.length] as Codec<unknown>, decoded, 'request')
  return problems
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

describe.each(codecs.map((codec) => [codec.id, codec] as const))('%s', (id, codec) => {
  const sample = samples[id] as { listKey: string; request: Fields }
  const list = sample.request[sample.listKey] as unknown[]

  test('the sample comes back, and no message of it had to be kept whole', () => {
    expect(problemsWith(codec, sample.request)).toEqual([])
    const kinds = decode(codec, sample.request).messages.flatMap(({ parts }) =>
      parts.map((part) => (part.type === 'custom' ? part.kind : part.type)),
    )
    expect(kinds.filter((kind) => kind.endsWith('.message'))).toEqual([])
    expect(kinds).toMatchSnapshot()
  })

  test('a bare list is taken for the messages of a request', () => {
    expect(problemsWith(codec, list)).toEqual([])
  })

  test('a request that would be taken comes back as it was, without a loss', () => {
    fc.assert(
      fc.property(conversations, (messages) => {
        const { body } = codec.encode(messages, { media: lookup })
        const again = encode(codec, decode(codec, body), 'request')
        expect(canonical(again.body)).toBe(canonical(body))
        expect(again.losses).toEqual([])
      }),
      { numRuns: 1500 },
    )
  })

  test('a transcript of anything comes back as it was', () => {
    fc.assert(
      fc.property(conversations, (messages) => {
        const { body } = codec.encode(messages, { media: lookup, purpose: 'transcript' })
        expect(problemsWith(codec, body)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  const strange = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      '',
      0,
      -1,
      0.5,
      1e300,
      2 ** 60,
      -0,
      Number.NaN,
      undefined,
      [],
      {},
      [[]],
      '\u0000',
      '\ud800',
      true,
    ),
    fc.constantFrom<unknown>('x'.repeat(300), 'assistant', 'user', 'tool', 'system', 'text', 'constructor', 'toString', {
      $media: 'f',
      bytes: 1,
    }),
    fc.constantFrom<unknown>(
      { $$media: { $media: 'ab', bytes: 4 } },
      { type: 'base64', media_type: 'a/b', data: 'QUJD' },
      { url: 'data:a/b;base64,QUJD' },
    ),
    fc.constantFrom<unknown>(
      JSON.parse('{"__proto__":{"polluted":1}}'),
      { constructor: { prototype: { polluted: 1 } } },
      nested(300),
      nested(50),
    ),
    fc.jsonValue({ maxDepth: 3 }),
  )
  const change = fc.tuple(fc.array(fc.nat(20), { minLength: 1, maxLength: 7 }), strange)
  const changed = fc.tuple(fc.constantFrom(...list), fc.array(change, { maxLength: 3 })).map(([message, changes]) => {
    const copy: unknown = structuredClone(message)
    for (const [steps, value] of changes) mutate(copy as Fields, steps, value)
    return copy
  })

  test('10,000 hostile requests are refused with an error of ours or come back as they were', () => {
    const hostile = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.array(changed, { maxLength: 6 }).map((messages) => ({ ...sample.request, [sample.listKey]: messages })),
      },
      { weight: 2, arbitrary: change.map(([steps, value]) => mutated(sample.request, steps, value)) },
      { weight: 1, arbitrary: fc.array(strange, { maxLength: 4 }) },
      { weight: 1, arbitrary: strange },
    )
    fc.assert(
      fc.property(hostile, (foreign) => {
        expect(problemsWith(codec, foreign)).toEqual([])
      }),
      { numRuns: 10_000 },
    )
  })
})

test.each([
  ['constructor', langChainSerialized],
  ['stored', langChainStored],
] as const)('LangChain messages come back as they were from the codec of the %s form too', (_, codec) => {
  expect(problemsWith(codec, samples['langchain.messages']?.request)).toEqual([])
})

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value }
  return value
}

function mutated(value: Fields, steps: readonly number[], change: unknown): Fields {
  const copy = structuredClone(value)
  mutate(copy, steps, change)
  return copy
}

/** Puts `value` at the path that the numbers choose through what is there; at a step of 20 a field is taken away. */
function mutate(start: Fields, steps: readonly number[], value: unknown): void {
  let at = start
  for (const [depth, step] of steps.entries()) {
    const keys = Object.keys(at)
    const key = keys[step % Math.max(1, keys.length)]
    if (key === undefined) return
    const inner = at[key]
    if (depth === steps.length - 1 || typeof inner !== 'object' || inner === null) {
      if (step === 20 && !Array.isArray(at)) delete at[key]
      else at[key] = structuredClone(value)
      return
    }
    at = inner as Fields
  }
}
