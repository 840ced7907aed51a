import { conversationTitled, messageAdded } from '@colloquy/core'
import { firstValueFrom, map, take, toArray } from 'rxjs'
import { expect, expectTypeOf, test, vi } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
import type { Effect } from './effects.ts'
import { ofType } from './of-type.ts'

test('an effect hears the actions of one creator, with their payload', async () => {
  const titleIt: Effect = (envelope$) =>
    envelope$.pipe(
      ofType(messageAdded),
      map(({ action }) => conversationTitled({ title: `about ${action.payload.message.id}` })),
    )
  const { dispatch, conversation } = await given([], { effects: [titleIt] })
  await dispatch(say('m1'))
  await vi.waitFor(() => expect(conversation.getState().lifecycle.title).toBe('about m1'))
  expect(conversation.position).toBe(2)
})

test('of several creators it hears all, and of a feed the cursor stays', async () => {
  const { engine, dispatch } = await given()
  await dispatch([say('m1'), conversationTitled({ title: 'one' }), say('m2')])
  const heard = engine.feed$().pipe(
    ofType(conversationTitled, messageAdded),
    map(({ action, cursor }) => {
      expectTypeOf(action.type).toEqualTypeOf<'conversationTitled' | 'messageAdded'>()
      return [action.type === 'messageAdded' ? action.payload.message.id : action.payload.title, typeof cursor]
    }),
    take(3),
    toArray(),
  )
  expect(await firstValueFrom(heard)).toEqual([
    ['m1', 'string'],
    ['one', 'string'],
    ['m2', 'string'],
  ])
})

test('without creators it hears nothing, and what it was not told of it leaves out', async () => {
  const heard: string[] = []
  const { conversation, dispatch } = await given()
  conversation.envelopes$.pipe(ofType()).subscribe(({ type }) => heard.push(`none ${type}`))
  conversation.envelopes$.pipe(ofType(messageAdded)).subscribe(({ type }) => heard.push(type))
  await dispatch([conversationTitled({ title: 'one' }), say('m1')])
  expect(heard).toEqual(['messageAdded'])
})
