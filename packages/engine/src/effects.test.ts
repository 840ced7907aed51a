import { conversationTitled, errorRecorded, messageAdded } from '@colloquy/core'
import { filter, map, mergeMap, Observable, of, throwError } from 'rxjs'
import { expect, test, vi } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
import { holdIdleTime } from '../../../test/support/idle-time.ts'
import type { Effect } from './effects.ts'
import { createEngine } from './engine.ts'

test('an effect hears what was appended and answers with actions, whose cause names it', async () => {
  const titleIt: Effect = (envelope$) =>
    envelope$.pipe(
      filter(({ action }) => messageAdded.match(action)),
      map(({ position }) => conversationTitled({ title: `after ${position}` })),
    )
  const { dispatch, conversation, stored } = await given([], { effects: [titleIt] })
  await dispatch(say('m1'))
  await vi.waitFor(() => expect(conversation.position).toBe(2))
  expect((await stored())[1]).toMatchObject({
    type: 'conversationTitled',
    cause: 'effect:titleIt',
    action: { payload: { title: 'after 1' } },
  })
})

test('an effect that throws, fails or dispatches what is refused harms nobody and is reported', async () => {
  const broken: Effect = () => {
    throw new Error('at once')
  }
  const failing: Effect = (envelope$) => envelope$.pipe(mergeMap(() => throwError(() => new Error('later'))))
  const refused: Effect = (envelope$) => envelope$.pipe(map(() => ({ type: 'noSuchAction', payload: {} })))
  const healthy: Effect = (envelope$) =>
    envelope$.pipe(
      filter(({ action }) => messageAdded.match(action)),
      mergeMap(() => of(errorRecorded({ kind: 'x', problem: 'y' }))),
    )
  const { dispatch, conversation, errors } = await given([], { effects: [broken, failing, refused, healthy] })
  await dispatch(say('m1'))
  await vi.waitFor(() => expect(conversation.getState().health.errors).toBe(1))
  await vi.waitFor(() => expect(errors.map(({ where }) => where)).toContain('effect refused of c'))
  expect(errors.map(({ where }) => where)).toEqual(
    expect.arrayContaining(['effect broken of c', 'effect failing of c', 'effect refused of c']),
  )
  await expect(dispatch(say('m2'))).resolves.toMatchObject({ blocked: false })
})

test('an effect runs only in the process that appended', async () => {
  const heard: number[] = []
  const listen: Effect = (envelope$) => {
    envelope$.subscribe(({ position }) => heard.push(position))
    return of()
  }
  const { log, dispatch } = await given([say('m1')], { effects: [listen] })
  await using other = createEngine({ log })
  await (await other.open('c')).dispatch(say('m2'))
  await dispatch(say('m3'))
  expect(heard).toEqual([3])
})

test('an effect that begins with a conversation may dispatch from its state, once whichever process does it', async () => {
  const greet: Effect = (_, api) => {
    api
      .dispatch(conversationTitled({ title: 'hello' }), { commandId: 'effect:greet:0' })
      .then(({ duplicate }) => api.reportError(duplicate ? 'again' : 'first'))
      .catch(api.reportError)
    return of()
  }
  const first = await given([say('m1')], { effects: [greet] })
  await vi.waitFor(() => expect(first.errors).toEqual([{ error: 'first', where: 'effect greet of c' }]))
  const second = await given([], { log: first.log, effects: [greet] })
  await vi.waitFor(() => expect(second.errors).toEqual([{ error: 'again', where: 'effect greet of c' }]))
  expect(await second.stored()).toMatchObject([{ type: 'messageAdded' }, { cause: 'effect:greet', commandId: 'effect:greet:0' }])
})

test('an effect that throws when it is unsubscribed harms nobody and is reported', async () => {
  const pass = holdIdleTime()
  const rude: Effect = () =>
    new Observable(() => () => {
      throw new Error('at the end')
    })
  const { dispatch, engine, errors } = await given([], { effects: [rude], idleMs: 20 })
  await dispatch(say('m1'))
  pass(40)
  await expect(dispatch(say('m2'))).resolves.toMatchObject({ position: 2 })
  await engine.close()
  expect(errors.map(({ where }) => where)).toEqual(['the end of an effect of c', 'the end of an effect of c'])
})
