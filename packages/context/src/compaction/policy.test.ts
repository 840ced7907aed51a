import { type Message, textMessage, type WorkingMessage } from '@colloquy/core'
import { expect, test } from 'vitest'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { countMessage } from '../tokens/count-message.ts'
import { defaultPolicy, planIfNeeded, startTokens, targetTokens } from './policy.ts'
import { adaptive } from './strategies/adaptive.ts'

const policy = { ...defaultPolicy, maxContextTokens: 8_000, leastTokens: 0 }

test.each([
  ['nothing', 0, 4_800],
  ['half of the target', 2_400, 4_800],
  ['more than half of it', 2_401, 2_401 + Math.floor(((6_800 - 2_401) * 4_800) / 6_800)],
  ['more than the target', 5_500, 5_500 + Math.floor((1_300 * 4_800) / 6_800)],
  ['more than the threshold', 7_000, 6_800],
])('where what must stay takes %s, a compaction goes down to 60 %% or to the same share of the rest', (_, fixed, target) => {
  expect(targetTokens(policy, fixed)).toBe(target)
  expect(target).toBeLessThanOrEqual(startTokens(policy))
})

test('under a long system prompt a conversation is compacted for as long as it goes on, and keeps within its window', async () => {
  const working = (message: Message, position: number): WorkingMessage =>
    Object.freeze({ ...message, position, tokenCount: countMessage(charactersCounter, message) })
  const system = working({ ...textMessage('system', 'user', 'Be brief. '.repeat(2_200)), role: 'system' }, 1)
  let messages = [system]
  let compactions = 0
  for (let n = 2; n <= 200; n++) {
    messages.push(working(textMessage(`m${n}`, n % 2 ? 'assistant' : 'user', `${n}: ${'some words '.repeat(20)}`), n))
    const plan = planIfNeeded({ messages, pinned: new Set(), openCalls: [], counter: charactersCounter }, adaptive(), policy)
    if (plan !== null) {
      if (!('covered' in plan) || plan.summary === null) throw new Error(JSON.stringify(plan))
      compactions += 1
      const summary = textMessage(`summary ${n}`, 'user', 'x'.repeat(4 * plan.summary.maxTokens))
      const kept = messages.filter(({ id }) => !plan.covered.includes(id))
      messages = [system, { ...working(summary, n), standsAt: 2 }, ...kept.slice(1)]
    }
    expect(messages.reduce((sum, { tokenCount }) => sum + tokenCount, 0)).toBeLessThanOrEqual(policy.maxContextTokens)
  }
  // Not with each message: in between the prefix stays as it is.
  expect(compactions).toBeGreaterThan(10)
  expect(compactions).toBeLessThan(100)
})
