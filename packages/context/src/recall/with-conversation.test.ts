import { messageAdded, textMessage, toolRequested, toolStarted, turnStarted } from '@colloquy/core'
import { expect, test } from 'vitest'
import { fixedClock, given, storedIn } from '../../../../test/support/given.ts'
import { budget } from '../budget/budget.ts'
import { conversationMemory } from './conversation-memory.ts'
import { memoryIndex } from './memory-index.ts'
import { type ChatMessage, withConversation } from './with-conversation.ts'

test('stores each turn, and gives the function all that was said', async () => {
  const { engine, log } = await given()
  const asked: (readonly ChatMessage[])[] = []
  const chat = withConversation(
    async (messages, tone: string) => {
      asked.push(messages)
      return `${tone} answer ${asked.length}`
    },
    { engine, system: 'Be brief.' },
  )
  expect(await chat('c', 'Hello', 'warm')).toBe('warm answer 1')
  expect(await chat('c', 'And?', 'cold')).toBe('cold answer 2')
  expect(asked[1]).toEqual([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'warm answer 1' },
    { role: 'user', content: 'And?' },
  ])
  expect((await storedIn(log, 'c')).map(({ type }) => type)).toEqual([
    'turnStarted',
    'messageAdded',
    'messageAdded',
    'turnEnded',
    'turnStarted',
    'messageAdded',
    'messageAdded',
    'turnEnded',
  ])
  const [, hello] = await storedIn(log, 'c')
  expect(hello?.action).toMatchObject({ payload: { tokenCount: 5, tokenCounter: 'estimate@1' }, meta: { hasContext: false } })
})

test('a function that throws leaves the message, a turn that was interrupted, and room for the next', async () => {
  const { engine, log } = await given()
  let fails = true
  const chat = withConversation(
    async (messages) => {
      if (fails) throw new Error('overloaded')
      return String(messages.length)
    },
    { engine },
  )
  await expect(chat('c', 'Hello')).rejects.toThrow('overloaded')
  expect((await storedIn(log, 'c')).map(({ type, action }) => [type, (action.payload as { reason?: string }).reason])).toEqual([
    ['turnStarted', undefined],
    ['messageAdded', undefined],
    ['turnInterrupted', 'overloaded'],
  ])
  fails = false
  expect(await chat('c', 'Again')).toBe('2')
})

test('an answer that is refused leaves a turn that was interrupted, and room for the next', async () => {
  const { engine, log } = await given([], { middleware: [budget({ limitTokens: 60 })] })
  const answers = ['long '.repeat(100), 'short']
  const chat = withConversation(async () => answers.shift() ?? '', { engine })
  await expect(chat('c', 'Hello')).rejects.toMatchObject({ code: 'budget_exceeded' })
  expect(await chat('c', 'Again')).toBe('short')
  expect((await storedIn(log, 'c')).map(({ type }) => type)).toEqual([
    'turnStarted',
    'messageAdded',
    'budgetRefused',
    'turnInterrupted',
    'turnStarted',
    'messageAdded',
    'messageAdded',
    'turnEnded',
  ])
})

test('calls that a dead process left open are closed with its turn', async () => {
  const call = { messageId: 'm2', callId: 'c1' }
  const { engine, conversation, log } = await given([
    turnStarted({ turnId: 'dead' }),
    messageAdded({ message: textMessage('m1', 'user', 'Hello'), tokenCount: 1 }),
    toolRequested({ ...call, name: 'read' }),
    toolStarted({ ...call, attempt: 1 }),
    toolRequested({ ...call, callId: 'c2', name: 'write' }),
  ])
  const chat = withConversation(async () => 'Hi', { engine, whenBusy: 'interrupt' })
  expect(await chat('c', 'Again')).toBe('Hi')
  expect(conversation.getState().tools).toMatchObject({ open: [], answered: [], failed: 1, cancelled: 1 })
  expect((await storedIn(log, 'c')).slice(5, 8).map(({ action }) => [action.type, action.payload])).toMatchObject([
    ['toolFailed', { callId: 'c1', kind: 'outcome_unknown' }],
    ['toolCancelled', { callId: 'c2' }],
    ['turnInterrupted', { turnId: 'dead' }],
  ])
})

test('two turns of a conversation at once: the second is refused, and nothing of it is stored', async () => {
  const { engine, log } = await given()
  const { promise, resolve } = Promise.withResolvers<string>()
  const chat = withConversation(() => promise, { engine })
  const first = chat('c', 'Hello')
  await expect(chat('c', 'Me too')).rejects.toMatchObject({ code: 'turn_already_open' })
  resolve('Hi')
  expect(await first).toBe('Hi')
  expect(JSON.stringify(await storedIn(log, 'c'))).not.toContain('Me too')
})

test('a turn that a dead process left open is interrupted, where that was asked for', async () => {
  const { engine, log } = await given([
    turnStarted({ turnId: 'dead' }),
    messageAdded({ message: textMessage('m1', 'user', 'Hello'), tokenCount: 1 }),
  ])
  await expect(withConversation(async () => 'Hi', { engine })('c', 'Again')).rejects.toMatchObject({ code: 'turn_already_open' })
  const chat = withConversation(async (messages) => String(messages.length), { engine, whenBusy: 'interrupt' })
  expect(await chat('c', 'Again')).toBe('2')
  expect(
    (await storedIn(log, 'c')).slice(2).map(({ type, action }) => [type, (action.payload as { reason?: string }).reason]),
  ).toEqual([
    ['turnInterrupted', 'another turn began'],
    ['turnStarted', undefined],
    ['messageAdded', undefined],
    ['messageAdded', undefined],
    ['turnEnded', undefined],
  ])
})

test('who was interrupted is told so, and neither an answer nor an error of theirs is lost on the way', async () => {
  const { engine, log } = await given()
  const first = Promise.withResolvers<string>()
  const second = Promise.withResolvers<string>()
  const answers = [first.promise, second.promise, Promise.resolve('Third')]
  const chat = withConversation(() => answers.shift() as Promise<string>, { engine, whenBusy: 'interrupt' })
  const one = chat('c', 'One')
  await expect.poll(() => answers.length).toBe(2)
  const two = chat('c', 'Two')
  await expect.poll(() => answers.length).toBe(1)
  expect(await chat('c', 'Three')).toBe('Third')
  first.resolve('First')
  second.reject(new Error('overloaded'))
  await expect(one).rejects.toMatchObject({ code: 'turn_not_open' })
  await expect(two).rejects.toThrow('overloaded')
  const said = (await storedIn(log, 'c')).flatMap(({ action }) =>
    messageAdded.match(action) ? action.payload.message.parts : [],
  )
  expect(said.map((part) => part.type === 'text' && part.text)).toEqual(['One', 'Two', 'Three', 'Third'])
})

test('with a memory it is told what other conversations said, and what left the working set', async () => {
  const { engine } = await given()
  await using memory = conversationMemory({ engine, index: memoryIndex(), clock: fixedClock() })
  const asked: (readonly ChatMessage[])[] = []
  const chat = withConversation(
    async (messages) => {
      asked.push(messages)
      return 'Noted.'
    },
    { engine, memory },
  )
  await chat('monday', 'The port is 8443')
  await chat('tuesday', 'Which port was it?')
  expect(asked[1]).toEqual([
    {
      role: 'system',
      content: 'What was said before and may matter now:\n\n[2026-01-01]\nuser: The port is 8443\n\nassistant: Noted.',
    },
    { role: 'user', content: 'Which port was it?' },
  ])
  // What is in the working set is not said twice.
  await chat('monday', 'So the port stays 8443?')
  expect(asked[2]?.filter(({ content }) => content.includes('The port is 8443'))).toHaveLength(1)
  expect((await memory.recall('which'))[0]).toMatchObject({ sessionId: 'tuesday', hasContext: true })
})

test('what is no text is not for a plain function', async () => {
  const { engine, dispatch } = await given()
  await dispatch([
    messageAdded({
      message: { v: 1, id: 't', role: 'tool', parts: [{ type: 'tool_result', callId: 'x', status: 'ok', content: [] }] },
      tokenCount: 1,
    }),
    messageAdded({
      message: { ...textMessage('s', 'developer', ''), parts: [{ type: 'compaction', content: 'A summary.' }] },
      tokenCount: 1,
    }),
  ])
  const chat = withConversation(async (messages) => JSON.stringify(messages), { engine })
  expect(JSON.parse(await chat('c', 'Hi'))).toEqual([
    { role: 'system', content: 'A summary.' },
    { role: 'user', content: 'Hi' },
  ])
})
