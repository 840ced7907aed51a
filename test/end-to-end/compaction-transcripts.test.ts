/**
 * Every strategy over every real transcript, whole and cut in the middle: what it plans, no guard refuses; what is left fits; and
 * undoing leads back to the very same messages.
 */
import {
  adaptive,
  type CompactResult,
  chronological,
  compact,
  estimateCounter,
  extractiveSummariser,
  preserveToolContext,
  slidingWindow,
  summariserInput,
  summarizing,
  tokenBudget,
  topicBased,
  undoCompaction,
} from '@colloquy/context'
import { type ConversationState, isColloquyError, stateHash, toHex } from '@colloquy/core'
import { type Conversation, createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { describe, expect, test } from 'vitest'
import { readReal, realFolders, realNames } from '../formats/real-files.ts'

const paths = realFolders().flatMap((folder) => realNames(folder).map((name) => `${folder}/${name}`))
const notice = paths.length === 0 ? ' (skipped: ../shared/data is not beside this checkout)' : ''

const strategies = (targetTokens: number) => [
  adaptive(),
  chronological(),
  preserveToolContext(),
  topicBased(),
  summarizing(),
  slidingWindow({ tokens: targetTokens }),
  tokenBudget({ maxTokens: targetTokens }),
]

const hashOf = ({ messages }: ConversationState) => toHex(stateHash({ messages }, sha256))

describe.skipIf(paths.length === 0)(`compactions of real transcripts${notice}`, () => {
  const outcomes = new Map<string, number>()
  const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)

  test.each(paths)('%s', async (path) => {
    await using engine = createEngine({ log: openMemoryLog() })
    const file = importFile({ source: path, content: readReal(path) ?? '', sha256 })
    for (const { conversationId, position } of await engine.importConversation(file.conversations)) {
      const whole = await engine.open(conversationId)
      const cuts = [Math.floor(position / 2), Math.floor((position * 5) / 6)].filter((at) => at > 0)
      // A fork of a fork's shared part would be one of its parent.
      const isFork = conversationId.includes('~')
      const forks = isFork ? [] : await Promise.all(cuts.map((at) => engine.fork(conversationId, at)))
      for (const conversation of [whole, ...forks]) await everyWay(conversation)
    }

    async function everyWay(conversation: Conversation<ConversationState>): Promise<void> {
      const before = conversation.getState()
      const { usedTokens } = before.context
      if (before.messages.length < 4 || usedTokens < 400) return
      const targetTokens = Math.ceil(usedTokens * 0.6)
      for (const strategy of strategies(targetTokens)) {
        const summariser = extractiveSummariser({ counter: estimateCounter })
        const options = { strategy, summariser, counter: estimateCounter, targetTokens }
        const result: CompactResult | string = await compact(conversation, options).catch((error: unknown) => {
          // Next to nothing to be freed is a fair answer; a plan that a guard refuses is not.
          if (isColloquyError(error, 'compaction_failed') && error.details.reason === 'no_progress') return 'no progress'
          throw error
        })
        if (typeof result === 'string') count(result)
        else if (result.status !== 'compacted') count(result.status === 'unchanged' ? result.reason : result.status)
        else {
          count('compacted')
          const state = conversation.getState()
          expect(result.after.tokens, strategy.name).toBeLessThanOrEqual(targetTokens)
          expect(state.context.usedTokens).toBe(state.messages.slice().reduce((sum, m) => sum + m.tokenCount, 0))
          if (result.summaryText !== null) {
            const input = await summariserInput(engine, conversation.id, result.position)
            expect(input).toMatchObject({ isExact: true, text: result.summaryText })
          }
          await undoCompaction(engine, conversation.id)
        }
        expect(hashOf(conversation.getState()), strategy.name).toBe(hashOf(before))
      }
    }
  })

  test('were many', () => {
    console.table([...outcomes].map(([outcome, count]) => ({ outcome, count })))
    expect(outcomes.get('compacted')).toBeGreaterThan(500)
  })
})
