import { type Message, textMessage, type Usage } from '@colloquy/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toolCall, toolResult } from '../../../../test/support/compaction.ts'
import { charactersCounter as counter } from '../tokens/characters-counter.ts'
import { type AskModel, modelSummariser } from './model-summariser.ts'

const usage = (output: number): Usage => ({
  input: 10,
  output,
  cacheRead: 1,
  cacheWrite: { ttl5m: 0, ttl1h: 2, other: 0 },
  reasoning: 0,
  costMicros: 5,
})

function asked(answer: (prompt: string) => string, options: { maxPromptTokens?: number } = {}) {
  const prompts: string[] = []
  const limits: number[] = []
  const ask: AskModel = async (prompt, { maxTokens }) => {
    prompts.push(prompt)
    limits.push(maxTokens)
    return { text: answer(prompt), usage: usage(prompts.length), model: { provider: 'p', id: 'm' } }
  }
  return { prompts, limits, summariser: modelSummariser({ id: 'model:m', ask, counter, ...options }) }
}

const message = (text: string, id = 'm1'): Message => textMessage(id, 'user', text)

describe('a summariser over a model', () => {
  test('asks once, and answers with text, usage and model', async () => {
    const { summariser, prompts, limits } = asked(() => ' They talked. \n')
    const summary = await summariser.summarise({ messages: [message('Hello')], maxTokens: 50, instructions: 'keep names' })
    expect(summary).toEqual({ text: 'They talked.', usage: usage(1), model: { provider: 'p', id: 'm' } })
    expect(limits).toEqual([50])
    expect(prompts).toHaveLength(1)
    expect(prompts[0]).toContain('Hello')
    expect(prompts[0]).toContain('keep names')
    expect(prompts[0]).toContain('at most 50 tokens')
  })

  // Edge 7: String.replace('{messages}', text) corrupts the prompt.
  test.each(['$&', "$`$'$$", '{messages}', '${maxTokens}', '%s', '=== End ===', '\ud83d'])(
    'has the text %j in its prompt as it is',
    async (text) => {
      const { summariser, prompts } = asked(() => 'x')
      await summariser.summarise({ messages: [message(`before ${text} after`)], maxTokens: 50, instructions: text })
      expect(prompts[0]).toContain(`before ${text} after`)
      expect(prompts[0]?.split(text).length).toBeGreaterThanOrEqual(3)
    },
  )

  test('reads calls, results, thinking, files and earlier summaries', async () => {
    const { summariser, prompts } = asked(() => 'x')
    const parts: Message['parts'] = [
      { type: 'reasoning', text: 'I think', redacted: false },
      toolCall('c1'),
      toolResult('c1'),
      { type: 'compaction', content: 'what was before' },
      {
        type: 'media',
        kind: 'image',
        mediaType: 'image/png',
        source: { kind: 'url', url: 'https://x.test/a.png' },
        filename: 'a.png',
      },
      { type: 'approval', approvalId: 'a', callId: 'c1', decision: 'denied', reason: 'too risky' },
      { type: 'custom', kind: 'p.x', payload: { secret: 'number 7' } },
    ]
    await summariser.summarise({ messages: [{ v: 1, id: 'm', role: 'assistant', parts }], maxTokens: 50 })
    for (const text of ['I think', 'search {}', 'found c1', 'what was before', 'a.png', 'denied] too risky', 'number 7']) {
      expect(prompts[0]).toContain(text)
    }
  })

  // Edge 6 and S 12: the prompt is bounded, and yet nothing is left out.
  test('reads what is too long for one prompt piece by piece, each with the summary so far, and loses nothing', async () => {
    const messages = Array.from({ length: 30 }, (_, i) =>
      message(`fact-${i} ${'x'.repeat(i === 7 ? 3_000 : 60)} end-${i}`, `m${i}`),
    )
    let n = 0
    const { summariser, prompts } = asked(() => `summary ${++n}`, { maxPromptTokens: 200 })
    const summary = await summariser.summarise({ messages, maxTokens: 50 })
    expect(prompts.length).toBeGreaterThan(3)
    for (const prompt of prompts) expect(counter.count(prompt)).toBeLessThan(700)
    for (const [index, prompt] of prompts.entries()) expect(prompt.includes(`summary ${index}`)).toBe(index > 0)
    for (let i = 0; i < 30; i++) for (const fact of [`fact-${i} `, `end-${i}`]) expect(prompts.join('')).toContain(fact)
    expect(summary.text).toBe(`summary ${prompts.length}`)
    expect(summary.usage).toMatchObject({ input: 10 * prompts.length, costMicros: 5 * prompts.length, cacheRead: prompts.length })
  })

  test('cuts what is too long for one prompt between characters as people see them, and loses nothing', async () => {
    const family = '👩‍👩‍👧'
    for (const [text, maxPromptTokens] of [
      [`x${'😀'.repeat(500)}`, 20],
      [family.repeat(100), 9],
      ['😀'.repeat(9), 0],
    ] as const) {
      const { summariser, prompts } = asked(() => 'x', { maxPromptTokens })
      await summariser.summarise({ messages: [message(text)], maxTokens: 50 })
      const pieces = prompts.flatMap((prompt) => [...prompt.matchAll(/--- user ---\n(.*)/g)].map(([, piece = '']) => piece))
      expect(pieces.length).toBeGreaterThan(5)
      expect(pieces.join('')).toBe(text)
      for (const piece of pieces) expect(piece.replaceAll(/x|😀/g, '').replaceAll(family, '')).toBe('')
    }
  })

  test('hands on an empty answer as empty, with what it cost, and asks no more', async () => {
    const { summariser, prompts } = asked(() => ' ', { maxPromptTokens: 20 })
    const summary = await summariser.summarise({ messages: [message('x'.repeat(500))], maxTokens: 50 })
    expect(summary).toMatchObject({ text: '', usage: usage(1) })
    expect(prompts).toHaveLength(1)
  })

  test('cuts an answer that is too long between characters as people see them', async () => {
    const grapheme = fc.constantFrom('a', ' ', 'é', '👩‍👩‍👧', '🇨🇭', '漢', '\n')
    await fc.assert(
      fc.asyncProperty(
        fc.array(grapheme, { minLength: 1, maxLength: 80 }),
        fc.integer({ min: 1, max: 20 }),
        async (all, maxTokens) => {
          const said = `a${all.join('')}`
          const { text } = await asked(() => said).summariser.summarise({ messages: [message('m')], maxTokens })
          expect(counter.count(text)).toBeLessThanOrEqual(maxTokens)
          expect(said.startsWith(text)).toBe(true)
          const segments = [...new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(said)].map(({ index }) => index)
          expect([...segments, said.length, said.trim().length]).toContain(text.length)
        },
      ),
    )
  })

  test('rejects when the model does', async () => {
    const summariser = modelSummariser({ id: 'm', counter, ask: () => Promise.reject(new Error('overloaded')) })
    await expect(summariser.summarise({ messages: [message('m')], maxTokens: 5 })).rejects.toThrow('overloaded')
  })
})
