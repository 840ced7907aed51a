import { messageAdded, messageRedacted, textMessage, toolRequested, toolSucceeded } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { fixedClock, given, say } from '../../../../test/support/given.ts'
import { conversationMemory, type MemoryOptions } from './conversation-memory.ts'
import { projectInteractions } from './interaction-projection.ts'
import { memoryIndex } from './memory-index.ts'

type Options = Partial<MemoryOptions<unknown>>

async function remembering(options: Options = {}) {
  const made = await given()
  const index = memoryIndex()
  const memory = conversationMemory({ engine: made.engine, index, clock: fixedClock(), ...options })
  const talk = async (id: string, ...texts: string[]) => {
    const chat = await made.engine.open(id)
    for (const [i, text] of texts.entries())
      await chat.dispatch(say(`${id}${chat.position}`, text, 1, i % 2 === 0 ? 'user' : 'assistant'))
    return chat
  }
  return { ...made, index, memory, talk }
}

describe('conversationMemory', () => {
  test('recalls whole interactions with everything there is to say of them', async () => {
    const { memory, talk } = await remembering()
    await talk('trip', 'Where is the station?', 'In Lima.', 'And the airport?', 'In Callao.')
    const [found, ...others] = await memory.recall('callao')
    expect(others).toEqual([])
    expect(found).toEqual({
      sessionId: 'trip',
      sequence: 2,
      turnId: 'trip_2',
      timestamp: 1_767_225_603_000_000,
      interactionType: 'conversation_turn',
      role: 'user_and_assistant',
      userMessage: 'And the airport?',
      assistantResponse: 'In Callao.',
      interaction: 'user: And the airport?\n\nassistant: In Callao.',
      significance: 0.7,
      hasContext: true,
      messageIds: ['trip2', 'trip3'],
      score: expect.closeTo(2.7, 3),
    })
    expect((await memory.recall('station'))[0]).toMatchObject({ turnId: 'trip_1', hasContext: false })
  })

  test('without roleMetadata nobody is named', async () => {
    const { memory, talk } = await remembering({ roleMetadata: false })
    await talk('trip', 'Where?', 'In Lima.')
    expect((await memory.recall('lima'))[0]).toMatchObject({ role: null, interaction: 'Where?\n\nIn Lima.' })
  })

  test('a turn is one interaction, whatever tools were called in it', async () => {
    const { memory, conversation, dispatch } = await remembering()
    const call = {
      type: 'tool_call' as const,
      callId: 'x',
      name: 'search',
      args: { raw: '{"secret":1}', valid: true },
      executor: { kind: 'client' as const },
    }
    await dispatch([
      say('q', 'Find the bug', 1),
      messageAdded({
        message: { v: 1, id: 'a1', role: 'assistant', parts: [{ type: 'text', text: 'I look.' }, call] },
        tokenCount: 1,
      }),
      toolRequested({ messageId: 'a1', callId: 'x', name: 'search' }),
      toolSucceeded({ messageId: 'a1', callId: 'x' }),
      messageAdded({
        message: {
          v: 1,
          id: 't',
          role: 'tool',
          parts: [{ type: 'tool_result', callId: 'x', status: 'ok', content: [{ type: 'text', text: 'haystack' }] }],
        },
        tokenCount: 1,
      }),
      say('a2', 'It is in line 7.', 1, 'assistant'),
      say('q2', 'Thanks', 1),
    ])
    const { sequence } = await memory.initializeSession(conversation.id)
    expect(sequence).toBe(2)
    expect((await memory.recall('line'))[0]).toMatchObject({ sequence: 1, assistantResponse: 'I look.\n\nIt is in line 7.' })
    expect(await memory.recall('haystack')).toEqual([])
    expect((await memory.recall('thanks'))[0]).toMatchObject({ role: 'user', assistantResponse: null })
  })

  test('takes in so many interactions at a time, and the rest when somebody recalls', async () => {
    const { memory, index, talk } = await remembering({ checkpointEvery: 3 })
    await talk('a', 'one', 'first', 'two', 'second')
    expect(await index.latest('default', 'a', 10)).toEqual([])
    await talk('b', 'three')
    await expect.poll(() => index.latest('default', 'a', 10)).toHaveLength(2)
    await talk('b', 'four')
    expect((await memory.recall('four')).map(({ turnId }) => turnId)).toEqual(['b_1'])
  })

  test('keeps the last interactions of a session, and goes on counting', async () => {
    const { memory, index, talk } = await remembering({ historyCap: 3, checkpointEvery: 1 })
    await talk('a', ...Array.from({ length: 10 }, (_, i) => `word${i}`))
    await memory.checkpoint()
    expect((await index.latest('default', 'a', 10)).map(({ sequence }) => sequence)).toEqual([5, 4, 3])
    expect(await memory.recall('word0')).toEqual([])
    expect(await memory.initializeSession('a')).toEqual({ sessionId: 'a', sequence: 5, hasContext: true })
  })

  test('forgets what is redacted, also long after it was taken in', async () => {
    const { memory, talk } = await remembering({ checkpointEvery: 1 })
    const chat = await talk('a', 'my number is 555', 'Thank you.', 'more', 'words')
    expect(await memory.recall('555')).toHaveLength(1)
    await chat.dispatch(messageRedacted({ messageId: 'a0' }))
    expect(await memory.recall('555')).toEqual([])
    expect((await memory.recall('thank'))[0]).toMatchObject({ userMessage: null, role: 'assistant' })
  })

  test('an index that was thrown away is made again from the log, the same', async () => {
    const { memory, index, talk } = await remembering()
    await talk('a', 'one', 'two', 'three', 'four', 'five')
    await memory.checkpoint()
    const before = await index.latest('default', 'a', 10)
    await index.forget('default', 'a')
    expect(await memory.initializeSession('a')).toMatchObject({ sequence: 3 })
    expect(await index.latest('default', 'a', 10)).toEqual(before)
    // Again, and nothing changes.
    await memory.initializeSession('a')
    expect(await index.latest('default', 'a', 10)).toEqual(before)
  })

  test('another process that has not seen a redaction yet does not bring the words back', async () => {
    const { index, dispatch, stored, talk } = await remembering()
    await talk('c', 'my number is 555', 'Thank you.')
    await dispatch(messageRedacted({ messageId: 'c0' }))
    const envelopes = await stored()
    await projectInteractions(index, envelopes.slice(0, 1))
    // The other one has read the index before the redaction and writes after it.
    const behind = { ...index, latest: async () => [] }
    await projectInteractions(index, envelopes)
    await projectInteractions(behind, envelopes.slice(0, 2))
    expect(await index.search('default', { text: '555', limit: 1, now: 0 })).toEqual([])
    expect(await index.search('default', { text: 'thank', limit: 1, now: 0 })).toHaveLength(1)
  })

  test('envelopes that come again, all or the last of them, change nothing', async () => {
    const { index, talk, stored } = await remembering()
    await talk('c', 'one', 'two', 'three', 'four', 'five')
    const envelopes = await stored()
    await projectInteractions(index, envelopes)
    const before = await index.latest('default', 'c', 10)
    expect(before).toHaveLength(3)
    for (const again of [envelopes, envelopes.slice(-3), envelopes.slice(0, 2)]) {
      await projectInteractions(index, again)
      expect(await index.latest('default', 'c', 10)).toEqual(before)
    }
  })

  test("a fork remembers its own; what it shares is its parent's", async () => {
    const { memory, engine, talk } = await remembering()
    await talk('a', 'shared', 'yes')
    const fork = await engine.fork('a', 2)
    await fork.dispatch([say('f', 'forked shared'), say('g', 'indeed', 1, 'assistant')])
    expect((await memory.recall('shared')).map(({ turnId }) => turnId).sort()).toEqual(['a_1', `${fork.id}_1`])
    await memory.initializeSession(fork.id)
    expect(await memory.recall('yes')).toMatchObject([{ sessionId: 'a' }])
  })

  test('keeps interactions that no log has, beside those that one has', async () => {
    const { memory, talk } = await remembering({ significance: ({ messages }) => (messages.length > 1 ? 0.9 : 0.1) })
    await talk('a', 'logged', 'yes')
    const stored = await memory.storeInteraction('a', { userMessage: 'By phone', assistantResponse: 'Noted', hasContext: false })
    expect(stored).toMatchObject({ turnId: 'a_2', significance: 0.9, hasContext: false, userMessage: 'By phone' })
    expect(await memory.storeInteraction('a', { userMessage: 'Again', significance: 5 })).toMatchObject({
      turnId: 'a_3',
      significance: 1,
    })
    await talk('a', 'logged later', 'sure')
    expect((await memory.recall('logged', { sessionId: 'a' })).map(({ sequence }) => sequence).sort()).toEqual([1, 4])
    expect(await memory.recall('phone', { sessionId: 'b' })).toEqual([])
  })

  test('an action says how much it matters, and whether it was answered with context', async () => {
    const { memory, dispatch } = await remembering()
    const message = textMessage('m', 'user', 'The launch code')
    await dispatch(messageAdded({ message, tokenCount: 3 }, { meta: { significance: 1, hasContext: true } }))
    expect((await memory.recall('launch'))[0]).toMatchObject({ significance: 1, hasContext: true })
  })

  test('gives context for a prompt in the order in which it was said, without what is shown anyway', async () => {
    const { memory, talk } = await remembering()
    await talk('a', 'apple one', 'first')
    await talk('b', 'apple two', 'second')
    await talk('c', 'apple three', 'third')
    const found = await memory.retrieveRelevantContext('apple', { shown: new Set(['b0']) })
    expect(found.interactions.map(({ turnId }) => turnId).sort()).toEqual(['a_1', 'c_1'])
    expect(found.text).toBe(
      '[2026-01-01]\nuser: apple one\n\nassistant: first\n\n[2026-01-01]\nuser: apple three\n\nassistant: third',
    )
    expect(await memory.retrieveRelevantContext('pear')).toEqual({ interactions: [], text: '', hasContext: false })
    expect((await memory.retrieveRelevantContext('apple', { contextWindow: 1 })).interactions).toHaveLength(1)
  })

  test('what the index cannot take is told, and taken in later', async () => {
    const errors: unknown[] = []
    const index = memoryIndex()
    let isBroken = true
    const { memory, talk } = await remembering({
      index: { ...index, put: (...given) => (isBroken ? Promise.reject(new Error('disk')) : index.put(...given)) },
      checkpointEvery: 1,
      onError: (error) => void errors.push(error),
    })
    await talk('a', 'apple')
    await expect.poll(() => errors.length).toBeGreaterThan(0)
    await expect(memory.recall('apple')).rejects.toThrow('disk')
    isBroken = false
    expect(await memory.recall('apple')).toHaveLength(1)
  })

  test('closed, it has taken in the rest', async () => {
    const { memory, index, talk } = await remembering()
    await talk('a', 'apple')
    await memory.close()
    expect(await index.latest('default', 'a', 1)).toHaveLength(1)
  })
})
