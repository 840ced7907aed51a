import {
  type ConversationState,
  conversationTitled,
  defineAction,
  defineSlice,
  errorRecorded,
  messageAdded,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { given, say } from '../../../test/support/given.ts'
import type { Conversation } from './conversation.ts'
import { createEngine } from './engine.ts'
import type { Middleware } from './middleware.ts'

type M = Middleware<ConversationState>

describe('middleware', () => {
  test('runs outermost first, around the reducer', async () => {
    const seen: string[] = []
    const named =
      (name: string): M =>
      (api) =>
      (next) =>
      async (action) => {
        seen.push(`${name} before ${api.getState().messages.length}`)
        const taken = await next(action)
        seen.push(`${name} after ${api.getState().messages.length}`)
        return taken
      }
    const { dispatch } = await given([], { middleware: [named('outer'), named('inner')] })
    await dispatch(say('m1'))
    expect(seen).toEqual(['outer before 0', 'inner before 0', 'inner after 1', 'outer after 1'])
  })

  test('changes an action by passing on another one', async () => {
    const shout: M = () => (next) => (action) =>
      next(conversationTitled.match(action) ? conversationTitled({ title: action.payload.title.toUpperCase() }) : action)
    const { dispatch, conversation } = await given([], { middleware: [shout] })
    await dispatch(conversationTitled({ title: 'quiet' }))
    expect(conversation.getState().lifecycle.title).toBe('QUIET')
  })

  test('blocks by not calling next: nothing is stored, nobody is told, the state is the same object', async () => {
    const block: M = () => () => async () => undefined
    const { dispatch, conversation, stored, engine } = await given([say('m1')], { middleware: [block] })
    const told: unknown[] = []
    engine.envelopes$.subscribe((envelope) => told.push(envelope))
    const before = conversation.getState()
    const result = await dispatch(say('m2'), { commandId: 'once' })
    expect(result).toMatchObject({ blocked: true, position: 1, envelopes: [] })
    expect(result.state).toBe(before)
    expect(await stored()).toHaveLength(1)
    expect(told).toEqual([])
  })

  test('blocks a dispatch of several actions by blocking one of them: nothing is stored, so a retry is judged again', async () => {
    let isOpen = false
    const gate: M = () => (next) => async (action) =>
      messageAdded.match(action) && action.payload.message.id === 'bad' && !isOpen ? undefined : next(action)
    const { dispatch, stored } = await given([], { middleware: [gate] })
    const both = [say('good'), say('bad'), say('never asked about')]
    const [blocked, beside] = await Promise.all([
      dispatch(both, { commandId: 'k' }),
      dispatch(conversationTitled({ title: 'x' })),
    ])
    expect(blocked).toMatchObject({ blocked: true, position: 1, envelopes: [] })
    expect(beside).toMatchObject({ blocked: false, position: 1 })
    expect((await stored()).map(({ type }) => type)).toEqual(['conversationTitled'])
    isOpen = true
    await expect(dispatch(both, { commandId: 'k' })).resolves.toMatchObject({ blocked: false, duplicate: false, position: 4 })
  })

  test('refuses by throwing, and what it passed on before is stored without the command id', async () => {
    const recordAndRefuse: M = () => (next) => async (action) => {
      if (!messageAdded.match(action)) return next(action)
      await next(errorRecorded({ kind: 'refused', problem: 'no messages today' }))
      throw new RangeError('no messages today')
    }
    const { dispatch, stored } = await given([], { middleware: [recordAndRefuse] })
    await expect(dispatch(say('m1'), { commandId: 'once' })).rejects.toThrow(RangeError)
    expect(await stored()).toMatchObject([{ type: 'errorRecorded', commandId: null }])
    await expect(dispatch(say('m1'), { commandId: 'once' })).rejects.toThrow(RangeError)
    expect(await stored()).toHaveLength(2)
  })

  test('refuses the last of several actions: the others fall with it, its record stays', async () => {
    const refuseThird: M = (api) => (next) => async (action) => {
      if (api.getState().messages.length < 2) return next(action)
      await next(errorRecorded({ kind: 'refused', problem: 'enough' }))
      throw new RangeError('enough')
    }
    const { dispatch, stored } = await given([], { middleware: [refuseThird] })
    await expect(dispatch([say('m1'), say('m2'), say('m3')])).rejects.toThrow('enough')
    expect((await stored()).map((e) => [e.position, e.type])).toEqual([[1, 'errorRecorded']])
  })

  test('adds actions to the same dispatch, through the whole chain, and they share its command', async () => {
    const seen: string[] = []
    const spy: M = () => (next) => (action) => {
      seen.push(action.type)
      return next(action)
    }
    const titleFirstMessage: M = (api) => (next) => async (action) => {
      const taken = await next(action)
      if (messageAdded.match(action) && api.getState().lifecycle.title === null)
        await api.dispatch(conversationTitled({ title: 'first' }))
      return taken
    }
    const { dispatch, stored } = await given([], { middleware: [spy, titleFirstMessage] })
    const { envelopes } = await dispatch(say('m1'), { commandId: 'k' })
    expect(seen).toEqual(['messageAdded', 'conversationTitled'])
    expect(envelopes.map((e) => [e.type, e.commandId, e.commandIndex])).toEqual([
      ['messageAdded', 'k', 0],
      ['conversationTitled', 'k', 1],
    ])
    expect(await stored()).toHaveLength(2)
  })

  test('calling next after the dispatch has ended is refused', async () => {
    const kept: (() => Promise<unknown>)[] = []
    const keep: M = () => (next) => (action) => {
      kept.push(() => next(action))
      return next(action)
    }
    const { dispatch, stored } = await given([], { middleware: [keep] })
    await dispatch(say('m1'))
    await expect(kept[0]?.()).rejects.toMatchObject({ code: 'middleware_failed' })
    expect(await stored()).toHaveLength(1)
  })

  test('runs again after a conflict, on the new state, with the same dispatchId and another attempt', async () => {
    const runs: { id: string; attempt: number; messages: number }[] = []
    const spy: M = (api) => (next) => (action) => {
      runs.push({ id: api.dispatchId, attempt: api.attempt, messages: api.getState().messages.length })
      return next(action)
    }
    const { log, dispatch } = await given([say('m1')], { middleware: [spy] })
    await using other = createEngine({ log })
    await (await other.open('c')).dispatch(say('m2'))
    const result = await dispatch(say('m3'))
    expect(result.position).toBe(3)
    expect(runs).toEqual([
      { id: 'id-1', attempt: 1, messages: 1 },
      { id: 'id-1', attempt: 2, messages: 2 },
    ])
  })

  test('may call next twice at once, and add without waiting: each action has its own position, and nobody beside it is harmed', async () => {
    const both: M = (api) => (next) => async (action) => {
      if (!messageAdded.match(action)) return next(action)
      void api.dispatch(errorRecorded({ kind: 'note', problem: 'not waited for' }))
      const [taken] = await Promise.all([next(action), next(conversationTitled({ title: 'at once' }))])
      return taken
    }
    const { dispatch, stored } = await given([], { middleware: [both] })
    const [mine, other] = await Promise.all([
      dispatch(say('m1'), { commandId: 'k' }),
      dispatch(conversationTitled({ title: 'beside' })),
    ])
    expect(mine.envelopes.map(({ type }) => type)).toEqual(['errorRecorded', 'messageAdded', 'conversationTitled'])
    expect(other.envelopes).toHaveLength(1)
    expect((await stored()).map(({ position, commandIndex }) => [position, commandIndex])).toEqual([
      [1, 0],
      [2, 1],
      [3, 2],
      [4, null],
    ])
  })

  test('may pass on an action that names others beside one that does not', async () => {
    const looked = defineAction('looked', z.strictObject({}), { resolve: () => [[1, 9]] })
    const looks = defineSlice({
      name: 'looks',
      version: 1,
      initial: () => ({ seen: [] as string[] }),
      actions: [looked],
      reduce: (draft, { resolved = [] }) => void draft.seen.push(...resolved.map(({ type, position }) => `${position} ${type}`)),
    })
    const both: Middleware<ConversationState> = () => (next) => async (action) => {
      if (!messageAdded.match(action)) return next(action)
      const [taken] = await Promise.all([next(action), next(looked({})), next(conversationTitled({ title: 'last' }))])
      return taken
    }
    const { dispatch, conversation, stored } = await given([say('m0')], { slices: [looks], middleware: [both] })
    await dispatch(say('m1'))
    expect((await stored()).map(({ position, type }) => `${position} ${type}`)).toEqual([
      '1 messageAdded',
      '2 messageAdded',
      '3 looked',
      '4 conversationTitled',
    ])
    expect(conversation.getState().looks.seen).toEqual(['1 messageAdded', '2 messageAdded'])
  })

  test.each(['next', 'api.dispatch'])('calling %s late is refused, also while another dispatch is on its way', async (called) => {
    let isLate = () => {}
    const late = new Promise<void>((resolve) => {
      isLate = resolve
    })
    let told: Promise<unknown> | undefined
    const lingering: M = (api) => (next) => async (action) => {
      if (!messageAdded.match(action)) return next(action)
      if (action.payload.message.id === 'first') {
        told = late.then(() => (called === 'next' ? next(action) : api.dispatch(action))).catch((error: unknown) => error)
        return
      }
      isLate()
      await told
      return next(action)
    }
    const { dispatch, stored } = await given([], { middleware: [lingering] })
    await Promise.all([dispatch(say('first'), { actor: 'ann' }), dispatch(say('second'), { actor: 'bob', commandId: 'k' })])
    expect(await told).toMatchObject({ code: 'middleware_failed' })
    expect(
      (await stored()).map(({ actor, action }) => [actor, (action.payload as { message: { id: string } }).message.id]),
    ).toEqual([['bob', 'second']])
  })

  test('that waits for a dispatch of its own conversation is refused, since that waits for it', async () => {
    const handles: Conversation<ConversationState>[] = []
    const waiting: M = () => (next) => async (action) => {
      if (messageAdded.match(action)) await handles[0]?.dispatch(conversationTitled({ title: 'before' }))
      return next(action)
    }
    const { dispatch, conversation, engine, stored } = await given([], { middleware: [waiting] })
    handles.push(conversation)
    await expect(dispatch(say('m1'))).rejects.toMatchObject({
      code: 'middleware_failed',
      details: { type: 'conversationTitled', problem: expect.stringContaining('api.dispatch') },
    })
    await dispatch(conversationTitled({ title: 'goes on' }))
    expect((await stored()).map(({ type }) => type)).toEqual(['conversationTitled'])
    await engine.close()
  })

  test('may wait for another conversation, whose middleware and subscribers are of their own dispatch', async () => {
    const handles: Conversation<ConversationState>[] = []
    const echo: M = (api) => (next) => async (action) => {
      if (api.conversationId === 'c') await handles[0]?.dispatch(conversationTitled({ title: 'there' }))
      return next(action)
    }
    const { dispatch, conversation, engine } = await given([], { middleware: [echo] })
    const there = await engine.open('d')
    handles.push(there)
    const answered: Promise<unknown>[] = []
    there.envelopes$.subscribe(() => {
      if (answered.length === 0) answered.push(conversation.dispatch(say('answer')))
    })
    await dispatch(say('m1'))
    await Promise.all(answered)
    expect(conversation.getState().messages).toHaveLength(2)
    expect(there.position).toBe(2)
  })
})
