import { conversationTitled, messageRedacted, metadataChanged, toolRequested } from '@colloquy/core'
import { expect, test } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
import { stateDifference } from './state-difference.ts'

async function differenceAfter(before: Parameters<typeof given>[0], after: Parameters<typeof given>[0] & {}) {
  const { dispatch, conversation } = await given(before)
  const from = conversation.getState()
  const { state } = await dispatch(after)
  return { difference: stateDifference(from, state), from, state }
}

test('equal states have none, however they were made', async () => {
  const { from } = await differenceAfter([say('m1')], [])
  const again = (await given([say('m1')])).conversation.getState()
  expect(again).not.toBe(from)
  expect(stateDifference(from, again)).toEqual([])
})

test('messages are added and removed by id, and counters go from one number to another', async () => {
  const { difference } = await differenceAfter([say('m1', 'one', 3)], [say('m2', 'two', 4)])
  const slices = Object.fromEntries(difference.map((slice) => [slice.id, slice]))
  expect(Object.keys(slices).sort()).toEqual(['budget', 'context', 'messages'])
  expect(slices['messages']).toMatchObject({
    added: [{ id: 'm2', value: { role: 'user', position: 2 } }],
    removed: [],
    changed: [],
    fields: [],
  })
  expect(slices['context']).toEqual({
    id: 'context',
    added: [],
    removed: [],
    changed: [],
    fields: [{ path: 'usedTokens', before: 3, after: 7 }],
  })
})

test('the other way round, what was added is removed', async () => {
  const { from, state } = await differenceAfter([say('m1')], [say('m2')])
  const [messages] = stateDifference(state, from).filter(({ id }) => id === 'messages')
  expect(messages).toMatchObject({ added: [], removed: [{ id: 'm2' }] })
})

test('a message that changed says in what', async () => {
  const { difference } = await differenceAfter([say('m1', 'secret')], [messageRedacted({ messageId: 'm1' })])
  expect(difference).toMatchObject([{ id: 'messages', added: [], removed: [], changed: [{ id: 'm1' }] }])
  const fields = difference[0]?.changed[0]?.fields ?? []
  expect(fields.map(({ path }) => path).sort()).toEqual(['parts', 'redacted'])
  expect(fields.find(({ path }) => path === 'redacted')).toEqual({ path: 'redacted', after: true })
})

test('open tool calls are known by message and call', async () => {
  const { difference } = await differenceAfter([], [toolRequested({ messageId: 'm1', callId: 'c1', name: 'Read' })])
  const [tools] = difference.filter(({ id }) => id === 'tools')
  expect(tools).toMatchObject({ added: [{ id: 'm1/c1' }], fields: [{ path: 'requested', before: 0, after: 1 }] })
})

test('values of metadata are compared as they are, lists too', async () => {
  const { difference } = await differenceAfter(
    [metadataChanged({ set: { tags: ['a'], deep: { n: 1, same: true } } }), conversationTitled({ title: 't' })],
    [
      metadataChanged({ set: { tags: ['a', 'b'], deep: { n: 2, same: true } }, unset: [] }),
      metadataChanged({ set: { more: null } }),
    ],
  )
  expect(difference).toEqual([
    {
      id: 'metadata',
      added: [],
      removed: [],
      changed: [],
      fields: [
        { path: 'tags', before: ['a'], after: ['a', 'b'] },
        { path: 'deep.n', before: 1, after: 2 },
        { path: 'more', after: null },
      ],
    },
  ])
})

test('two messages under one id stay two', () => {
  const message = { id: 'm', text: 'a' }
  const difference = stateDifference({ messages: [message] }, { messages: [message, { id: 'm', text: 'b' }] })
  expect(difference).toMatchObject([{ added: [{ id: 'm (2)', value: { text: 'b' } }], removed: [], changed: [] }])
})
