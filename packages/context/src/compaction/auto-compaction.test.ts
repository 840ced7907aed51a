import { type Action, type ConversationState, conversationCleared, type Summariser } from '@colloquy/core'
import type { Middleware } from '@colloquy/engine'
import { describe, expect, test, vi } from 'vitest'
import { compactions, countingSummariser, oldest, talk, waitingSummariser } from '../../../../test/support/compaction.ts'
import { given } from '../../../../test/support/given.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { contextWindow } from '../window/context-window.ts'
import { autoCompaction } from './auto-compaction.ts'
import { undoCompaction } from './undo-compaction.ts'

const window = contextWindow({ counter: charactersCounter, strategy: oldest, settings: { maxContextTokens: 100 } })
const effect = (summariser: Summariser) => ({ effects: [autoCompaction({ window, summariser })] })
const nine = talk(1, 9)
const used = (state: ConversationState) => state.context.usedTokens

/** Until nothing moves any more. */
async function calm(position: () => number): Promise<void> {
  for (let before = -1; before !== position(); ) {
    before = position()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('compaction by itself', () => {
  test('happens after the append that makes it due, from 85 to 60 %', async () => {
    const summariser = countingSummariser()
    const { conversation, dispatch, stored } = await given(talk(1, 8), effect(summariser))
    await calm(() => conversation.position)
    expect(conversation.position).toBe(8)
    await dispatch(talk(9, 9))
    await vi.waitFor(() => expect(conversation.position).toBe(10))
    expect((await stored()).at(-1)).toMatchObject({
      type: 'contextCompacted',
      cause: 'effect:compaction',
      commandId: 'effect:compaction:0',
      action: { payload: { trigger: 'auto', summary: { message: { id: 'summary:effect:compaction:0' } } } },
    })
    expect(used(conversation.getState())).toBeLessThanOrEqual(60)
  })

  test('happens when a conversation is opened on which a crash left it due', async () => {
    const { conversation } = await given(nine, effect(countingSummariser()))
    await vi.waitFor(() => expect(conversation.getState().context.compactions).toBe(1))
  })

  test('keeps the context within its limit, however long the conversation gets', async () => {
    const summariser = countingSummariser()
    const { conversation, dispatch, stored } = await given([], effect(summariser))
    for (let n = 1; n <= 100; n++) {
      await dispatch(talk(n, n))
      await calm(() => conversation.position)
      expect(used(conversation.getState())).toBeLessThan(100)
    }
    // Every third message is one: 30 come in until the next is due.
    expect(summariser.requests.length).toBeLessThan(40)
    expect(compactions(await stored())).toBe(summariser.requests.length)
  })

  test('runs beside the conversation, once at a time, and messages that arrive meanwhile are kept', async () => {
    const waiting = waitingSummariser()
    const { conversation, dispatch } = await given(nine, effect(waiting.summariser))
    await waiting.whenCalled
    await dispatch(talk(10, 10))
    await dispatch(talk(11, 11))
    expect(waiting.calls).toHaveLength(1)
    waiting.answer('They talked.')
    await vi.waitFor(() => expect(conversation.getState().context.compactions).toBe(1))
    const ids = conversation
      .getState()
      .messages.slice()
      .map((m) => m.id)
    expect(ids.slice(-3)).toEqual(['m9', 'm10', 'm11'])
  })

  // CFS 47: a failure of the compaction is none of the append.
  test('that fails is told and on record, and the conversation goes on; it is tried again later, and not in a loop', async () => {
    let isBroken = true
    const summariser = countingSummariser({
      answer: async () => {
        if (isBroken) throw new Error('overloaded')
        return { text: 'They talked.' }
      },
    })
    const { conversation, dispatch, errors, stored } = await given(nine, effect(summariser))
    await vi.waitFor(() => expect(conversation.getState().context.failure).toMatchObject({ inARow: 1 }))
    await calm(() => conversation.position)
    expect(summariser.requests).toHaveLength(1)
    expect(errors).toMatchObject([{ where: 'effect compaction of c', error: { code: 'compaction_failed' } }])
    for (let n = 10; n < 30; n++) {
      await expect(dispatch(talk(n, n, 1))).resolves.toMatchObject({ blocked: false })
      await calm(() => conversation.position)
    }
    // After 2, then 4, then 8 messages.
    expect(summariser.requests).toHaveLength(4)
    expect((await stored()).filter(({ type }) => type === 'compactionFailed')).toHaveLength(4)
    isBroken = false
    for (let n = 30; n < 45; n++) await dispatch(talk(n, n, 1))
    await vi.waitFor(() => expect(conversation.getState().context).toMatchObject({ compactions: 1, failure: null }))
  })

  test('that nothing can be done about is looked at again only when the conversation has gone on', async () => {
    const plan = vi.fn(() => ({ reason: 'nothing_removable' as const }))
    const stuck = contextWindow({
      counter: charactersCounter,
      strategy: { name: 'stuck', plan },
      settings: { maxContextTokens: 100 },
    })
    const { conversation, dispatch } = await given(nine, {
      effects: [autoCompaction({ window: stuck, summariser: countingSummariser() })],
    })
    for (let n = 10; n < 20; n++) {
      await dispatch(talk(n, n, 1))
      await calm(() => conversation.position)
    }
    expect(plan.mock.calls.length).toBeLessThanOrEqual(3)
  })

  test('is not done when the strategy is null, and by the state when the strategy is a function of it', async () => {
    const none = contextWindow({ counter: charactersCounter, strategy: null, settings: { maxContextTokens: 100 } })
    const summariser = countingSummariser()
    const idle = await given(nine, { effects: [autoCompaction({ window: none, summariser })] })
    await calm(() => idle.conversation.position)
    expect(idle.conversation.position).toBe(9)
    const chosen = contextWindow({
      counter: charactersCounter,
      strategy: ({ messages }) => (messages.length > 9 ? oldest : null),
      settings: { maxContextTokens: 100 },
    })
    const { conversation, dispatch } = await given(nine, { effects: [autoCompaction({ window: chosen, summariser })] })
    await calm(() => conversation.position)
    expect(conversation.position).toBe(9)
    await dispatch(talk(10, 10))
    await vi.waitFor(() => expect(conversation.getState().context.compactions).toBe(1))
  })

  test('of what was undone by hand does not come back at once', async () => {
    const { conversation, engine, dispatch } = await given(nine, effect(countingSummariser()))
    await vi.waitFor(() => expect(conversation.getState().context.compactions).toBe(1))
    await undoCompaction(engine, 'c')
    await calm(() => conversation.position)
    expect(conversation.getState().context).toMatchObject({ usedTokens: 90, compactions: 1 })
    await dispatch(talk(10, 10))
    await vi.waitFor(() => expect(conversation.getState().context.compactions).toBe(2))
  })

  test('is called off when the engine closes', async () => {
    const waiting = waitingSummariser()
    const { engine, stored, errors } = await given(nine, effect(waiting.summariser))
    await waiting.whenCalled
    await engine.close()
    waiting.answer('too late')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await stored()).toHaveLength(9)
    expect(errors).toEqual([])
  })

  // OS 42
  test('that a clear overtakes is dropped, and what comes after the clear is not touched', async () => {
    const waiting = waitingSummariser()
    const { conversation, dispatch, stored } = await given(nine, effect(waiting.summariser))
    await waiting.whenCalled
    await dispatch([conversationCleared({}), ...talk(20, 21)] as Action[])
    waiting.answer('They talked.')
    await vi.waitFor(async () => expect((await stored()).at(-1)?.type).toBe('compactionFailed'))
    expect(conversation.getState().messages.length).toBe(2)
  })
})

describe('two processes that find the same compaction due', () => {
  // With middleware a known command is answered before the log is asked for what else is new.
  const passing: Middleware = () => (next) => (action) => next(action)

  test.each([
    ['the same words', []],
    ['other words', []],
    ['the same words, with middleware', [passing]],
    ['other words, with middleware', [passing]],
  ])('store one, also when they come to %s', async (words, middleware) => {
    const [one, two] = [waitingSummariser(), waitingSummariser()]
    const first = await given(nine, { middleware, ...effect(one.summariser) })
    const second = await given([], { log: first.log, middleware, ...effect(two.summariser) })
    await Promise.all([one.whenCalled, two.whenCalled])
    one.answer('They talked.')
    if (middleware.length > 0) await vi.waitFor(() => expect(first.conversation.position).toBe(10))
    two.answer(words.startsWith('the same') ? 'They talked.' : 'There was talk.')
    await calm(() => first.conversation.position)
    // Who came second knows it, and does not ask again before it hears of the other's.
    expect([one.calls.length, two.calls.length]).toEqual([1, 1])
    await second.conversation.refresh()
    expect(compactions(await first.stored())).toBe(1)
    expect(first.errors).toEqual([])
    expect(second.errors).toEqual([])
    await first.conversation.refresh()
    expect(first.conversation.getState()).toEqual(second.conversation.getState())
    // Both go on from there.
    for (let n = 10; n < 20; n++) await second.dispatch(talk(n, n))
    await vi.waitFor(() => expect(two.calls.length).toBe(2))
  })

  test('one of which fails, store what the other has', async () => {
    const [one, two] = [waitingSummariser(), waitingSummariser()]
    const first = await given(nine, effect(one.summariser))
    const second = await given([], { log: first.log, ...effect(two.summariser) })
    await Promise.all([one.whenCalled, two.whenCalled])
    one.refuse(new Error('overloaded'))
    await vi.waitFor(() => expect(first.conversation.position).toBe(10))
    two.answer('They talked.')
    await vi.waitFor(() => expect(second.conversation.getState().context).toMatchObject({ compactions: 1, failure: null }))
    expect((await first.stored()).map(({ type }) => type).slice(9)).toEqual(['compactionFailed', 'contextCompacted'])
  })

  test('each of several engines that run at once stores none twice', async () => {
    const answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
      return { text: `They talked ${Math.random()}.` }
    }
    const first = await given([], effect(countingSummariser({ answer })))
    const others = await Promise.all(
      [1, 2, 3].map(() => given([], { log: first.log, ...effect(countingSummariser({ answer })) })),
    )
    const all = [first, ...others]
    for (let n = 1; n <= 60; n++) {
      await all[n % 4]?.dispatch(talk(n, n))
      if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await calm(() => first.conversation.position)
    const stored = await first.stored()
    const ids = stored.map(({ commandId }) => commandId).filter((id) => id !== null)
    expect(new Set(ids).size).toBe(ids.length)
    expect(compactions(stored)).toBeGreaterThan(3)
    const { state } = await first.engine.replay('c')
    const sum = state.messages.slice().reduce((tokens, m) => tokens + m.tokenCount, 0)
    expect(used(state)).toBe(sum)
    // No message is lost: each is shown, or covered by a compaction that stands.
    const covered = stored.flatMap(({ type, action }) =>
      type === 'contextCompacted' ? (action.payload as { covered: { messageIds: string[] } }).covered.messageIds : [],
    )
    const seen = new Set([...covered, ...state.messages.slice().map((m) => m.id)])
    for (let n = 1; n <= 60; n++) expect(seen).toContain(`m${n}`)
  })
})
