/** What holds for every strategy, whatever it is given; over real conversations: `test/end-to-end/compaction-invariants.test.ts`. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectInvariants, strategiesUnderTest, tokensOf } from '../../../../test/support/compaction-invariants.ts'
import { anyConversation, working } from '../../../../test/support/conversations.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { nullStrategy } from './strategies/null-strategy.ts'

const counter = charactersCounter
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

const anyCase = fc.tuple(anyConversation, fc.integer({ min: 0, max: 110 }), fc.nat(5), fc.nat(3))
// The same ones in every run: on these alone every strategy compacts often enough to be judged.
const examples = fc.sample(anyCase, { seed: 1, numRuns: 100 })

describe.each(strategiesUnderTest.map((strategy, index) => [`${strategy.name} (${index})`, strategy] as const))(
  '%s',
  (_, strategy) => {
    test(`keeps together what belongs together, at every budget (seed ${seed})`, async () => {
      let compactions = 0
      await fc.assert(
        fc.asyncProperty(anyCase, async ([messages, percent, pin, open]) => {
          const list = working(messages)
          const pinned = new Set(list.filter((_, index) => pin > 0 && index % 9 === pin).map(({ id }) => id))
          const calls = list.flatMap(({ id, parts }) =>
            parts.flatMap((p) => (p.type === 'tool_call' ? [{ messageId: id, callId: p.callId }] : [])),
          )
          const openCalls = open === 1 ? calls.slice(-1) : []
          const targetTokens = Math.floor((tokensOf(list) * percent) / 100)
          if (await expectInvariants(strategy, { messages: list, pinned, openCalls, targetTokens, counter })) compactions += 1
        }),
        { seed, numRuns: 250, examples: examples.map((each) => [each]) },
      )
      // A property that is never about anything proves nothing.
      if (strategy !== nullStrategy) expect(compactions).toBeGreaterThan(10)
    })
  },
)
