/** The promises of a strategy, judged plainly and not by the code that is tested. */
import {
  adaptive,
  type CompactionInput,
  charactersCounter,
  chronological,
  countMessage,
  extractiveSummariser,
  firstOf,
  keeping,
  nullStrategy,
  preserveToolContext,
  type Strategy,
  slidingWindow,
  summarizing,
  tokenBudget,
  topicBased,
} from '@colloquy/context'
import { type Message, textMessage, type WorkingMessage } from '@colloquy/core'
import { expect } from 'vitest'

export const strategiesUnderTest: readonly Strategy[] = [
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

export const tokensOf = (messages: readonly WorkingMessage[]): number => messages.reduce((sum, m) => sum + m.tokenCount, 0)

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

/** What holds for every strategy, whatever it is given. @returns whether anything was compacted */
export async function expectInvariants(strategy: Strategy, input: CompactionInput): Promise<boolean> {
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
