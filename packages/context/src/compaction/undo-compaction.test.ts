import {
  type ConversationState,
  contextCompacted,
  isColloquyError,
  messagePinned,
  messageRedacted,
  replay,
  resolverOf,
  type StoredAction,
  stateHash,
  toHex,
  Vector,
} from '@colloquy/core'
import { createEngine, sha256 } from '@colloquy/engine'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  countingSummariser,
  forgetting,
  oldest,
  spoken,
  talk,
  toolCall,
  toolResult,
} from '../../../../test/support/compaction.ts'
import { given } from '../../../../test/support/given.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { compact } from './compact.ts'
import { summariserInput } from './summariser-input.ts'
import { recompact, redoCompaction, undoCompaction } from './undo-compaction.ts'

const options = { strategy: oldest, counter: charactersCounter, targetTokens: 60, summariser: countingSummariser() }
const hashOf = (state: ConversationState) => toHex(stateHash({ messages: state.messages }, sha256))
const idsOf = (state: ConversationState) => state.messages.slice().map((m) => m.id)

function failedOnly(error: unknown): undefined {
  if (!isColloquyError(error, 'compaction_failed')) throw error
}

const withTools = [
  ...talk(1, 4),
  spoken('a', 'assistant', [toolCall('c1'), toolCall('c2')]),
  spoken('t1', 'tool', [toolResult('c1')]),
  spoken('t2', 'tool', [toolResult('c2')]),
  spoken('block', 'assistant', [{ type: 'compaction', opaque: 'b64' }]),
  ...talk(9, 14),
]

describe('undoing', () => {
  test.each([oldest, forgetting])('a compaction ($name) leads to the very same messages', async (strategy) => {
    const { conversation, engine } = await given([
      ...withTools,
      messageRedacted({ messageId: 'm2' }),
      messagePinned({ messageId: 'm3' }),
    ])
    const before = hashOf(conversation.getState())
    await compact(conversation, { ...options, strategy })
    expect(hashOf(conversation.getState())).not.toBe(before)
    const undone = await undoCompaction(engine, 'c')
    expect(undone).toMatchObject({ position: 18, compactionPosition: 17 })
    expect(hashOf(conversation.getState())).toBe(before)
    expect(hashOf((await engine.replay('c')).state)).toBe(before)
  })

  test('what was undone is refused, and so is what was none', async () => {
    const { conversation, engine } = await given(talk(1, 10))
    await expect(undoCompaction(engine, 'c')).rejects.toMatchObject({ code: 'compaction_not_found', details: { position: null } })
    await compact(conversation, options)
    await undoCompaction(engine, 'c', { at: 11 })
    for (const at of [11, 5]) {
      await expect(undoCompaction(engine, 'c', { at })).rejects.toMatchObject({
        code: 'compaction_not_found',
        details: { position: at },
      })
    }
    await expect(undoCompaction(engine, 'c', { at: 99 })).rejects.toMatchObject({ code: 'position_not_found' })
    await expect(undoCompaction(engine, 'nobody')).rejects.toMatchObject({ code: 'conversation_not_found' })
  })

  test('twice under one command id happens once', async () => {
    const { conversation, engine, stored } = await given(talk(1, 10))
    await compact(conversation, options)
    await undoCompaction(engine, 'c', { at: 11, commandId: 'undo' })
    await undoCompaction(engine, 'c', { at: 11, commandId: 'undo' })
    expect(await stored()).toHaveLength(12)
  })

  test('one that a younger compaction covers is refused, until that one is undone', async () => {
    const { conversation, engine } = await given(talk(1, 10))
    await compact(conversation, options)
    await conversation.dispatch(talk(11, 16))
    const between = hashOf(conversation.getState())
    const second = await compact(conversation, options)
    if (second.status !== 'compacted') throw new Error(second.status)
    await expect(undoCompaction(engine, 'c', { at: 11 })).rejects.toMatchObject({ code: 'compaction_not_found' })
    await undoCompaction(engine, 'c')
    expect(hashOf(conversation.getState())).toBe(between)
    await undoCompaction(engine, 'c')
    expect(idsOf(conversation.getState())).toEqual(Array.from({ length: 16 }, (_, i) => `m${i + 1}`))
  })

  test('keeps what was redacted before redacted, and what came since in its place', async () => {
    const { conversation, engine } = await given([...talk(1, 10), messageRedacted({ messageId: 'm1' })])
    await compact(conversation, options)
    await conversation.dispatch(talk(11, 11))
    await undoCompaction(engine, 'c')
    expect(idsOf(conversation.getState())).toEqual(Array.from({ length: 11 }, (_, i) => `m${i + 1}`))
    expect(conversation.getState().messages.at(0)?.redacted).toBe(true)
  })

  test('any number of compactions, with and without summaries, leads step by step to every state before', async () => {
    const strategy = fc.constantFrom(oldest, forgetting)
    const step = fc.record({ strategy, more: fc.nat({ max: 6 }), freed: fc.integer({ min: 20, max: 90 }) })
    const anySteps = fc.array(step, { minLength: 1, maxLength: 5 })
    // The same ones in every run: these alone undo more than a hundred.
    const examples = fc.sample(anySteps, { seed: 1, numRuns: 75 })
    let undone = 0
    await fc.assert(
      fc.asyncProperty(anySteps, async (steps) => {
        const { conversation, engine } = await given(withTools)
        const stack: ConversationState[] = []
        let last = 100
        for (const { strategy, more, freed } of steps) {
          if (more > 0) await conversation.dispatch(talk(last + 1, (last += more)))
          const state = conversation.getState()
          const targetTokens = Math.max(10, state.context.usedTokens - freed)
          const result = await compact(conversation, { ...options, strategy, targetTokens }).catch(failedOnly)
          if (result?.status === 'compacted') stack.push(state)
        }
        for (const before of stack.toReversed()) {
          await undoCompaction(engine, 'c')
          undone += 1
          const now = conversation.getState()
          // What came since stands behind.
          const shown = now.messages.slice(0, before.messages.length)
          expect(hashOf({ ...now, messages: Vector.from(shown) })).toBe(hashOf(before))
          const tokens = now.messages.slice().reduce((sum, m) => sum + m.tokenCount, 0)
          expect(now.context.usedTokens).toBe(tokens)
        }
        expect(hashOf((await engine.replay('c')).state)).toBe(hashOf(conversation.getState()))
      }),
      { numRuns: 100, examples: examples.map((steps) => [steps]) },
    )
    expect(undone).toBeGreaterThan(100)
  })
})

describe('redoing', () => {
  test('a compaction that was undone makes it again, with its summary, and asks nobody', async () => {
    const { conversation, engine, stored } = await given(talk(1, 10))
    const summariser = countingSummariser()
    await compact(conversation, { ...options, summariser })
    const shown = conversation.getState().messages.at(0)
    await undoCompaction(engine, 'c')
    await conversation.dispatch(talk(11, 11))
    const { position } = await redoCompaction(engine, 'c', { at: 11 })
    expect(summariser.requests).toHaveLength(1)
    const again = conversation.getState().messages.at(0)
    expect(again).toMatchObject({ position, parts: shown?.parts, standsAt: 1 })
    expect(again?.id).not.toBe(shown?.id)
    expect((await stored()).at(-1)?.action.payload).toMatchObject({ redoes: 11, trigger: 'manual', before: { messages: 11 } })
    expect(await summariserInput(engine, 'c', position)).toMatchObject({ isExact: true, request: summariser.requests[0] })
    await undoCompaction(engine, 'c')
    expect(idsOf(conversation.getState())).toEqual(Array.from({ length: 11 }, (_, i) => `m${i + 1}`))
  })

  test('one that stands, or of which something was redacted since, is refused', async () => {
    const { conversation, engine } = await given(talk(1, 10))
    await compact(conversation, options)
    await expect(redoCompaction(engine, 'c', { at: 11 })).rejects.toMatchObject({ code: 'compaction_stale' })
    await undoCompaction(engine, 'c')
    await conversation.dispatch(messageRedacted({ messageId: 'm2' }))
    await expect(redoCompaction(engine, 'c', { at: 11 })).rejects.toMatchObject({ code: 'compaction_stale' })
    await expect(redoCompaction(engine, 'c', { at: 3 })).rejects.toMatchObject({ code: 'compaction_not_found' })
  })
})

describe('compacting anew in another way', () => {
  const twoFirst = {
    name: 'two-first',
    plan: (input: Parameters<typeof oldest.plan>[0]) => ({
      covered: input.messages.slice(0, 2).map((m) => m.id),
      summary: { messages: input.messages.slice(0, 2), maxTokens: 20 },
      preserved: [],
    }),
  }

  test('is one command: the undo and the other compaction', async () => {
    const { conversation, engine, stored } = await given(talk(1, 10))
    await compact(conversation, options)
    const result = await recompact(engine, 'c', { ...options, strategy: twoFirst, commandId: 'again' })
    expect(result).toMatchObject({ status: 'compacted', position: 13, before: { messages: 10 }, after: { messages: 9 } })
    expect((await stored()).slice(11).map(({ type, commandId }) => [type, commandId])).toEqual([
      ['compactionUndone', 'again'],
      ['contextCompacted', 'again'],
    ])
    expect(idsOf(conversation.getState()).slice(1)).toEqual(['m3', 'm4', 'm5', 'm6', 'm7', 'm8', 'm9', 'm10'])
  })

  test.each(['fails', 'finds nothing to do', 'is a dry run'])('undoes nothing when it %s', async (how) => {
    const { conversation, engine } = await given(talk(1, 10))
    await compact(conversation, options)
    const before = hashOf(conversation.getState())
    const failing = countingSummariser({ answer: () => Promise.reject(new Error('overloaded')) })
    const attempt = recompact(engine, 'c', {
      ...options,
      ...(how === 'fails' && { summariser: failing }),
      ...(how === 'finds nothing to do' && { targetTokens: 1_000 }),
      dryRun: how === 'is a dry run',
    })
    if (how === 'fails') await expect(attempt).rejects.toMatchObject({ code: 'compaction_failed' })
    else expect((await attempt).status).toBe(how === 'is a dry run' ? 'planned' : 'unchanged')
    expect(hashOf(conversation.getState())).toBe(before)
  })
})

// LD 45: reduce(reduce(s, xs), ys) = reduce(s, xs ++ ys), with removals inside; what others wrote replays in the order of the log.
test('a history with compactions, undos and pins replays to the same state however it is cut, by whomever it was written', async () => {
  const { conversation, engine, log } = await given(talk(1, 10), { snapshotEvery: 3 })
  const other = await given([], { log })
  await compact(conversation, options)
  await other.conversation.dispatch([...talk(11, 16), messagePinned({ messageId: 'm12' })])
  await compact(other.conversation, { ...options, strategy: forgetting })
  const { compactionPosition } = await undoCompaction(engine, 'c')
  await redoCompaction(engine, 'c', { at: compactionPosition })
  await compact(other.conversation, { ...options, targetTokens: 30 }).catch(failedOnly)
  await conversation.refresh()
  const live = toHex(stateHash(conversation.getState(), sha256))
  const key = { tenant: 'default', conversationId: 'c' }
  const resolve = resolverOf(log, key, engine.reducer)
  const all: StoredAction[] = []
  for await (const page of log.actions(key, { from: 1, to: conversation.position })) all.push(...page)
  for (let cut = 0; cut <= conversation.position; cut++) {
    const first = await replay(engine.reducer, [all.slice(0, cut)], { resolve })
    const both = await replay(engine.reducer, [all.slice(cut)], { resolve, from: first })
    expect(toHex(stateHash(both.state, sha256))).toBe(live)
  }
  const late = createEngine({ log })
  expect(toHex(stateHash((await late.open('c')).getState(), sha256))).toBe(live)
})

// LD 46 and CFS 47: forks are independent, and a compaction is limited to its branch.
test('a compaction in one fork is not one in the other, nor in what both come from', async () => {
  const { conversation, engine } = await given(talk(1, 10))
  const left = await engine.fork('c', 10)
  const right = await engine.fork('c', 10)
  await compact(left, options)
  await right.dispatch(talk(11, 12))
  expect(idsOf(conversation.getState())).toHaveLength(10)
  expect(idsOf(right.getState())).toHaveLength(12)
  await compact(right, options)
  await undoCompaction(engine, left.id)
  expect(idsOf(left.getState())).toHaveLength(10)
  expect(right.getState().context.compactions).toBe(1)
  expect(idsOf(conversation.getState())).toHaveLength(10)
  // What was compacted before the fork can be undone on one side alone.
  await compact(conversation, options)
  const late = await engine.fork('c', 11)
  await undoCompaction(engine, late.id)
  expect(idsOf(late.getState())).toEqual(Array.from({ length: 10 }, (_, i) => `m${i + 1}`))
  expect(conversation.getState().messages.at(0)?.standsAt).toBe(1)
})

// CFS: an overlay over an overlay extends it.
test('a compaction over a compaction stands where the first began, and says all that it stands for', async () => {
  const { conversation, engine } = await given(talk(1, 10))
  await compact(conversation, options)
  await conversation.dispatch(talk(11, 16))
  const result = await compact(conversation, options)
  const [first] = conversation.getState().messages
  expect(first).toMatchObject({ standsAt: 1 })
  const action = await engine.replay('c')
  expect(action.state.messages.at(0)).toMatchObject({ standsAt: 1 })
  if (result.status !== 'compacted') throw new Error(result.status)
  const input = await summariserInput(engine, 'c', result.position)
  expect(input?.request.messages[0]?.parts[0]).toMatchObject({ type: 'compaction' })
  expect(input?.isExact).toBe(true)
})

test('a compaction that was stored elsewhere can be undone here', async () => {
  const { log, engine, conversation } = await given(talk(1, 10))
  const other = await given([], { log })
  await compact(other.conversation, options)
  expect(conversation.position).toBe(10)
  await undoCompaction(engine, 'c')
  expect(conversation.position).toBe(12)
  expect(contextCompacted.match((await other.stored())[10]?.action ?? { type: '' })).toBe(true)
})
