/** What holds for every strategy, whatever it is given. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type Message, messageAdded, textMessage, type WorkingMessage } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyConversation, working } from '../../../../test/support/conversations.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { countMessage } from '../tokens/count-message.ts'
import { extractiveSummariser } from './extractive-summariser.ts'
import { adaptive } from './strategies/adaptive.ts'
import { chronological } from './strategies/chronological.ts'
import { firstOf, keeping } from './strategies/compose.ts'
import { nullStrategy } from './strategies/null-strategy.ts'
import { preserveToolContext } from './strategies/preserve-tool-context.ts'
import { slidingWindow } from './strategies/sliding-window.ts'
import { summarizing } from './strategies/summarizing.ts'
import { tokenBudget } from './strategies/token-budget.ts'
import { topicBased } from './strategies/topic-based.ts'
import type { CompactionInput, Strategy } from './strategy.ts'

const strategies: readonly Strategy[] = [
  adaptive(),
  chronological(),
  preserveToolContext(),
  topicBased(),
  summarizing(),
  summarizing({ keepLast: 0 }),
  slidingWindow(),
  slidingWindow({ messages: 0 }),
  slidingWindow({ tokens: 500 }),
  tokenBudget(),
  tokenBudget({ maxTokens: 300 }),
  firstOf(tokenBudget({ maxTokens: 200 }), chronological()),
  keeping(chronological(), ({ position }) => position % 7 === 0),
  nullStrategy,
]
const summariser = extractiveSummariser({ counter: charactersCounter })

/** The working set after a plan: what the compaction slice makes of it. Null when nothing is compacted. */
async function compacted(strategy: Strategy, input: CompactionInput): Promise<readonly WorkingMessage[] | null> {
  const plan = strategy.plan(input)
  if (!('covered' in plan)) return null
  const covered = new Set(plan.covered)
  expect(covered.size, 'covered messages are named once').toBe(plan.covered.length)
  expect(plan.covered, 'in order').toEqual(input.messages.filter(({ id }) => covered.has(id)).map(({ id }) => id))
  expect(plan.covered.length, 'a plan is about something').toBeGreaterThan(0)
  const kept = input.messages.filter(({ id }) => !covered.has(id))
  if (plan.summary === null) return kept
  expect(
    plan.summary.messages.map(({ id }) => id),
    'the summariser is shown all that leaves',
  ).toEqual(plan.covered)
  const { text } = await summariser.summarise(plan.summary)
  expect(charactersCounter.count(text), 'the summary keeps to its tokens').toBeLessThanOrEqual(plan.summary.maxTokens)
  const at = input.messages.findIndex(({ id }) => covered.has(id))
  const first = input.messages[at] as WorkingMessage
  const message = textMessage(`summary of ${first.id} and ${plan.covered.length - 1} more`, 'user', text)
  const summary = Object.freeze({
    ...message,
    position: input.messages.length + 1_000,
    tokenCount: countMessage(charactersCounter, message),
    standsAt: first.standsAt ?? first.position,
  })
  return [...kept.slice(0, at), summary, ...kept.slice(at)]
}

const tokensOf = (messages: readonly WorkingMessage[]): number => messages.reduce((sum, m) => sum + m.tokenCount, 0)

/** Judged anew and plainly, quadratic where that is plainer, not by the code that is tested. Pairs of indexes that stay or leave together. */
function bonds(messages: readonly Message[]): readonly (readonly [number, number, string])[] {
  const found: [number, number, string][] = []
  const answered = new Set<string>()
  for (const [index, message] of messages.entries()) {
    for (const part of message.parts) {
      if (part.type !== 'tool_result') continue
      const calls = messages
        .slice(0, index)
        .flatMap((m, at) => (m.parts.some((p) => p.type === 'tool_call' && p.callId === part.callId) ? [at] : []))
      const at = calls.findLast((each) => !answered.has(`${each} ${part.callId}`))
      if (at === undefined) continue
      answered.add(`${at} ${part.callId}`)
      found.push([at, index, 'call and result'])
    }
  }
  for (const [index, message] of messages.entries()) {
    const isSigned = message.parts.some((part) => part.type === 'reasoning' && part.signature !== undefined)
    if (!isSigned || !message.parts.some(({ type }) => type === 'tool_call')) continue
    for (let next = index + 1; next < messages.length; next++) {
      const types = messages[next]?.parts.map(({ type }) => type) ?? []
      if (!types.includes('tool_result') && !types.includes('tool_call')) break
      found.push([index, next, 'signed loop'])
    }
  }
  for (const [index, message] of messages.entries()) {
    for (const part of message.parts) {
      if (part.type !== 'tool_call' || part.batchId === undefined) continue
      const other = messages.findIndex((m) => m.parts.some((p) => p.type === 'tool_call' && p.batchId === part.batchId))
      found.push([other, index, 'batch'])
    }
  }
  return found
}

/** @returns whether anything was compacted */
async function expectInvariants(strategy: Strategy, input: CompactionInput): Promise<boolean> {
  const before = JSON.stringify(input.messages)
  const after = await compacted(strategy, input)
  expect(JSON.stringify(input.messages), 'the input is what it was').toBe(before)
  expect(strategy.plan(input), 'the same input gives the same plan').toEqual(strategy.plan(input))
  if (after === null) return false
  const ids = new Set(after.map(({ id }) => id))
  const stays = (index: number): boolean => ids.has(input.messages[index]?.id ?? '')
  for (const [a, b, bond] of bonds(input.messages)) expect([bond, a, b, stays(a)]).toEqual([bond, a, b, stays(b)])

  const decided = new Set(
    input.messages.flatMap(({ parts }) => parts.flatMap((p) => (p.type === 'approval' && p.decision ? [p.approvalId] : []))),
  )
  for (const [index, { id, role, parts }] of input.messages.entries()) {
    if (role === 'system' || role === 'developer') expect([id, role, stays(index)]).toEqual([id, role, true])
    if (input.pinned.has(id)) expect([id, 'pinned', stays(index)]).toEqual([id, 'pinned', true])
    if (input.openCalls.some(({ messageId }) => messageId === id)) expect([id, 'open', stays(index)]).toEqual([id, 'open', true])
    for (const part of parts) {
      if (part.type === 'approval' && !decided.has(part.approvalId))
        expect([id, 'pending', stays(index)]).toEqual([id, 'pending', true])
      if (part.type === 'compaction') expect([id, 'opaque', stays(index)]).toEqual([id, 'opaque', true])
    }
  }
  expect(tokensOf(after), 'within the target').toBeLessThanOrEqual(input.targetTokens)

  const isConversation = ({ role }: Message): boolean => role !== 'system' && role !== 'developer'
  const first = after.find(isConversation)
  const firstBefore = input.messages.find(isConversation)
  const speaks = input.messages.some(({ role, parts }) => role === 'user' && parts.every(({ type }) => type === 'text'))
  if (first && first.id !== firstBefore?.id && speaks) {
    expect([first.id, first.role, first.parts.every(({ type }) => type === 'text')]).toEqual([first.id, 'user', true])
  }
  const again = await compacted(strategy, { ...input, messages: after })
  expect(again, 'a second pass is a no-op').toBeNull()
  return true
}

const counter = charactersCounter
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

describe.each(strategies.map((strategy, index) => [`${strategy.name} (${index})`, strategy] as const))('%s', (_, strategy) => {
  test(`keeps together what belongs together, at every budget (seed ${seed})`, async () => {
    let compactions = 0
    await fc.assert(
      fc.asyncProperty(
        anyConversation,
        fc.integer({ min: 0, max: 110 }),
        fc.nat(5),
        fc.nat(3),
        async (messages, percent, pin, open) => {
          const list = working(messages)
          const pinned = new Set(list.filter((_, index) => pin > 0 && index % 9 === pin).map(({ id }) => id))
          const calls = list.flatMap(({ id, parts }) =>
            parts.flatMap((p) => (p.type === 'tool_call' ? [{ messageId: id, callId: p.callId }] : [])),
          )
          const openCalls = open === 1 ? calls.slice(-1) : []
          if (
            await expectInvariants(strategy, {
              messages: list,
              pinned,
              openCalls,
              targetTokens: Math.floor((tokensOf(list) * percent) / 100),
              counter,
            })
          )
            compactions += 1
        },
      ),
      { seed, numRuns: 250 },
    )
    // A property that is never about anything proves nothing.
    if (strategy !== nullStrategy) expect(compactions).toBeGreaterThan(25)
  })
})

const root = new URL('../../../../../shared/data/transcripts/', import.meta.url)
const files = existsSync(root)
  ? readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.jsonl?$/.test(entry.name))
      .map((entry) => `${entry.parentPath}/${entry.name}`)
  : []
const notice = files.length === 0 ? ' (skipped: ../shared/data is not beside this checkout)' : ''

test.skipIf(files.length === 0)(`real conversations keep them too, at every strategy and cut${notice}`, async () => {
  let checked = 0
  for (const file of files) {
    const { conversations } = importFile({ source: file, content: readFileSync(file), sha256 })
    for (const { commands } of conversations) {
      const actions = commands.flatMap(({ actions }) => actions)
      const all = actions.flatMap((action) => (messageAdded.match(action) ? [action.payload.message] : []))
      // The plain judge is quadratic; what is behind 200 messages is no different.
      const list = working(all.slice(0, 200))
      for (const strategy of strategies) {
        for (const ratio of [0.15, 0.5, 0.9]) {
          await expectInvariants(strategy, {
            messages: list,
            pinned: new Set(),
            openCalls: [],
            targetTokens: Math.floor(tokensOf(list) * ratio),
            counter,
          })
          checked += 1
        }
      }
    }
  }
  expect(checked).toBeGreaterThan(1_000)
})
