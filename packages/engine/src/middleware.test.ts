import { type ConversationState, conversationTitled, errorRecorded, messageAdded } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
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
})
