import { type Action, type HeldConversation, openEnvelope } from '@colloquy/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chatBotText } from '../../../../test/formats/app-fixtures.ts'
import { actionsOf, foldImported, messagesOf, payloadsOf } from '../../../../test/formats/imported.ts'
import { envelopesOf, sha256 } from '../../../../test/support/core-log.ts'
import { chatBotFileName, exportChatBot } from '../exporters/export-chat-bot.ts'
import { importFile } from './import-file.ts'

const name = '2026-03-01_conversation-with-42-in-123456789012345678901.json'
const importText = (content: string, source = name) => importFile({ source, content, sha256 })
const exported = (actions: readonly Action[]) => exportChatBot(envelopesOf(actions).map(openEnvelope))
const exportedAgain = (conversation: HeldConversation | undefined) => exported(actionsOf(conversation))

describe('a conversation of a chat bot', () => {
  const { conversations, records } = importText(chatBotText)
  const [conversation] = conversations

  test('is known by the name of its file and the time at which it was created', () => {
    expect(conversation?.conversationId).toBe('2026-03-01_conversation-with-42-in-123456789012345678901_2026-03-01T09:00:00Z')
    expect(importText(chatBotText, '-').conversations).toEqual(conversations)
    expect(importText(chatBotText, `/backup/${name.replace('42', '99')}`).conversations[0]?.conversationId).toMatch(/with-99-in/)
    expect(records).toBe(7)
  })

  test('is said by the people who ask and the bot that thinks, calls and answers', () => {
    expect(messagesOf(conversation).map(({ role, author, parts }) => [role, author?.id, parts.map(({ type }) => type)])).toEqual([
      ['user', '42', ['text']],
      ['assistant', undefined, ['reasoning']],
      ['assistant', undefined, ['tool_call']],
      ['tool', undefined, ['tool_result']],
      ['assistant', undefined, ['text']],
      ['user', '43', ['text']],
    ])
    expect(foldImported(conversation).state).toMatchObject({
      participants: [
        { id: '42', name: 'Ada', kind: 'person' },
        { id: '43', name: 'Bob', kind: 'person' },
      ],
      metadata: { summary: 'About cats', guild_name: 'Cats & <co>', guild_id: { $text: '123456789012345678901' } },
      tools: { requested: 1, succeeded: 1, open: [] },
      turn: { started: 2, current: { turnId: 'message-6' } },
    })
  })

  test('is exported as it was, to the last digit of an id that JavaScript cannot hold', () => {
    const text = exportedAgain(conversation)
    expect(JSON.parse(text)).toEqual(JSON.parse(chatBotText))
    expect(text).toContain('"guild_id": 123456789012345678901')
    expect(importText(text).conversations).toEqual(conversations)
  })

  test('is exported under the name that it had', () => {
    expect(chatBotFileName(envelopesOf(actionsOf(conversation)).map(openEnvelope))).toBe(name)
  })

  test('that has grown gives the commands that it gave before, and then more', () => {
    const whole = JSON.parse(chatBotText) as { history: unknown[] }
    const shorter = importText(JSON.stringify({ ...whole, updated_at: null, history: whole.history.slice(0, 4) }))
      .conversations[0]
    const messages = (of: HeldConversation | undefined) => of?.commands.filter(({ commandId }) => /:message-/.test(commandId))
    expect(messages(conversation)?.slice(0, 4)).toEqual(messages(shorter))
  })

  test('hides what was redacted when it is exported', () => {
    const text = exported([...actionsOf(conversation), { type: 'messageRedacted', payload: { messageId: 'message-1' } }])
    expect(text).not.toContain('What is a cat')
    expect(JSON.parse(text)).toMatchObject({
      history: [{ message_type: 'chat', message_content: '', meta: { redacted: true } }, {}, {}, {}, {}, {}],
    })
  })

  test('names those who joined since, and when it was said last', () => {
    const joined: Action = { type: 'participantJoined', payload: { participantId: '44', kind: 'person', name: 'Cy' } }
    const message = { v: 1, id: 'new', role: 'user', parts: [{ type: 'text', text: 'Me too' }], author: { id: '44' } }
    const grown = JSON.parse(
      exported([...actionsOf(conversation), joined, { type: 'messageAdded', payload: { message, tokenCount: 1 } }]),
    )
    expect(grown.participants).toEqual([
      { id: '42', name: 'Ada' },
      { id: '43', name: 'Bob' },
      { id: '44', name: 'Cy' },
    ])
    expect(grown.updated_at).not.toBe('2026-03-01T09:05:00.5Z')
    expect(grown.history.at(-1)).toMatchObject({
      message_type: 'chat',
      message_content: 'Me too',
      meta: { tools: [], requester: '44' },
    })
  })
})

test('where every entry names its requester, the chat that ends an exchange is the bot’s', () => {
  const meta = { tools: [], requester: '42' }
  const entry = (type: string, content: unknown = 'x') => ({
    created_at: '2026-03-01T09:00:00Z',
    message_type: type,
    message_content: content,
    meta,
  })
  const history = [
    entry('chat'),
    entry('thinking'),
    entry('chat'),
    entry('chat'),
    entry('tool_call', '{"id":"k","name":"f","arguments":"{}"}'),
    entry('tool_call_response', { id: 'k', content: 'y' }),
    entry('chat'),
  ]
  const [conversation] = importText(JSON.stringify({ guild_id: 1, history })).conversations
  expect(messagesOf(conversation).map(({ role }) => role)).toEqual([
    'user',
    'assistant',
    'assistant',
    'user',
    'assistant',
    'tool',
    'assistant',
  ])
  expect(payloadsOf(conversation, 'toolSucceeded')).toMatchObject([{ callId: 'k', messageId: 'message-5' }])
})

test.each([
  [{ history: [{ message_type: 'chat' }], guild_id: 1 }, 1, '$.history[0].message_content is missing'],
  [{ history: [{ message_type: 'shout', message_content: '' }], guild_id: 1 }, 1, '$.history[0].message_type is "shout"'],
  [{ history: [{ message_type: 'chat', message_content: '' }, 7], guild_id: 1 }, 2, '$.history[1] is not an object'],
])('an entry that is none is refused with its number and field', (value, line, problem) => {
  expect(() => importText(JSON.stringify(value))).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      details: expect.objectContaining({ line, problem: expect.stringContaining(problem) }),
    }),
  )
})

describe('both ways', () => {
  const json = fc.jsonValue({ maxDepth: 3 })
  const time = fc.oneof(
    fc.constantFrom('2026-03-01T09:00:00Z', '2026-03-01 09:00:00+02:00', 1_700_000_000, 1_700_000_000_123, null),
    fc.string(),
  )
  const entry = fc.record(
    {
      created_at: time,
      message_type: fc.constantFrom('thinking', 'chat', 'tool_call', 'tool_call_response'),
      message_content: fc.oneof(
        fc.string({ maxLength: 80 }),
        json,
        fc.record({ id: fc.constantFrom('a', 'b'), name: fc.string(), arguments: json }),
        fc.record({ tool_call_id: fc.constantFrom('a', 'b'), content: fc.string() }),
      ),
      meta: fc.oneof(
        json,
        fc.record({ tools: fc.array(fc.string()), requester: fc.oneof(fc.constantFrom('42', 42, null), json) }),
      ),
      more: json,
    },
    { requiredKeys: ['message_type', 'message_content'] },
  )
  const file = fc.record(
    {
      created_at: time,
      updated_at: time,
      summary: json,
      guild_id: fc.oneof(fc.constantFrom('7', 7), json),
      guild_name: fc.string(),
      requester: json,
      participants: fc.oneof(fc.array(fc.constantFrom('42', 42, { id: '43', name: 'Bob' }, { id: 44 })), json),
      history: fc.array(entry, { maxLength: 6 }),
    },
    { requiredKeys: ['guild_id', 'history'] },
  )

  test.each([
    ['of its fields', '{"summary":{"$text":"x"},"guild_id":12345678901234567890,"history":[]}'],
    [
      'of its people',
      '{"guild_id":{"$text":"7"},"requester":{"id":{"$text":"42"}},"participants":[{"$text":"43"}],"history":[]}',
    ],
    [
      'of a message beside a number too large for JavaScript',
      '{"guild_id":7,"history":[{"message_type":"chat","message_content":"Hi","meta":{"a":{"$text":"x"},"b":1e400,"c":[{"$message":"/parts"}]}}]}',
    ],
  ])('a mark that looks like one of ours in one %s comes out as it was', (_, text) => {
    const { conversations } = importText(text)
    const back = exportedAgain(conversations[0])
    expect(back.replaceAll(/\s/g, '')).toBe(text)
    expect(importText(back).conversations).toEqual(conversations)
  })

  test('any file of a chat bot that is imported is exported as it was', () => {
    fc.assert(
      fc.property(file, (written) => {
        const text = JSON.stringify(written)
        const { conversations } = importText(text)
        const back = exportedAgain(conversations[0])
        expect(JSON.parse(back)).toEqual(JSON.parse(text))
        expect(importText(back).conversations).toEqual(conversations)
      }),
      { numRuns: 1000 },
    )
  })

  const words = fc.string({ minLength: 1, maxLength: 60 })
  const said = fc.oneof(
    fc.record({
      role: fc.constant('user' as const),
      author: fc.record({ id: fc.constantFrom('42', '43') }),
      parts: fc.tuple(fc.record({ type: fc.constant('text' as const), text: words })),
    }),
    fc.record({
      role: fc.constant('assistant' as const),
      parts: fc.tuple(
        fc.oneof(
          fc.record({ type: fc.constant('text' as const), text: words }),
          fc.record({ type: fc.constant('reasoning' as const), text: words, redacted: fc.constant(false) }),
        ),
      ),
    }),
    fc.record({
      role: fc.constant('assistant' as const),
      parts: fc.tuple(
        fc.record({
          type: fc.constant('tool_call' as const),
          callId: fc.constantFrom('a', 'b'),
          name: words,
          args: fc.constant({ raw: '{"x": 1}', json: { x: 1 }, valid: true }),
          executor: fc.constant({ kind: 'client' as const }),
        }),
      ),
    }),
    fc.record({
      role: fc.constant('tool' as const),
      parts: fc.tuple(
        fc.record({
          type: fc.constant('tool_result' as const),
          callId: fc.constantFrom('a', 'b'),
          status: fc.constantFrom('ok' as const, 'error' as const),
          content: fc.tuple(fc.record({ type: fc.constant('text' as const), text: words })),
        }),
      ),
    }),
  )

  test('a conversation of ours that such a file can hold is the same after it was exported and imported', () => {
    fc.assert(
      fc.property(fc.array(said, { minLength: 2, maxLength: 8 }), (messages) => {
        // Without a person in it nobody could tell who speaks.
        const all = [
          { role: 'user' as const, author: { id: '42' }, parts: [{ type: 'text' as const, text: 'Hi' }] },
          ...messages,
          { role: 'assistant' as const, parts: [{ type: 'text' as const, text: 'Ho' }] },
        ]
        const actions = all.map(
          (message, index): Action => ({
            type: 'messageAdded',
            payload: { message: { v: 1, id: `m${index}`, ...message }, tokenCount: 1 },
          }),
        )
        const back = messagesOf(importText(exported(actions)).conversations[0])
        const essence = (message: object) => {
          const { role, author, parts } = message as { role: string; author?: { id?: string }; parts: Record<string, unknown>[] }
          return {
            role,
            author: role === 'user' ? author?.id : undefined,
            parts: parts.map((part) => ({ ...part, callMessageId: undefined })),
          }
        }
        expect(back.map(essence)).toEqual(all.map(essence))
      }),
      { numRuns: 300 },
    )
  })
})

test('records of another format, which have a message_type of their own, are written as entries of this one', () => {
  const history = [
    { role: 'system', content: 'You fix.', agent: 'main', message_type: 'system_prompt' },
    { role: 'user', content: 'Fix it.', agent: 'main', message_type: 'observation' },
    { role: 'assistant', content: 'I looked.', thought: 'I looked.', action: 'ls', agent: 'main', message_type: 'action' },
  ]
  const content = JSON.stringify({ environment: 'main', history, trajectory: [], info: {} })
  const file = importFile({ source: 'x.traj', content, sha256 })
  expect(file.format).toBe('swe-agent')
  const text = exported(actionsOf(file.conversations[0]))
  expect(JSON.parse(text).history).toMatchObject([
    { message_type: 'chat', message_content: 'You fix.' },
    { message_type: 'chat', message_content: 'Fix it.' },
    { message_type: 'chat', message_content: 'I looked.' },
  ])
  expect(importFile({ source: 'x.json', content: text, sha256 }).format).toBe('chat-bot')
})
