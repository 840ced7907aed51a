import { describe, expect, test } from 'vitest'
import { openHandsLog, tau2Run, tauRun } from '../../../../test/formats/app-fixtures.ts'
import { actionsOf, foldImported, messagesOf, payloadsOf } from '../../../../test/formats/imported.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { importFile } from './import-file.ts'

const importText = (content: string) => importFile({ source: 'chat.json', content, sha256 })
const importValue = (value: unknown) => importText(JSON.stringify(value))
const usage = (input: number, output: number, cacheRead: number) =>
  expect.objectContaining({ input, output, cacheRead, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 } })

describe('a tau-bench run', () => {
  const { conversations, records } = importValue(tauRun)
  const [conversation] = conversations

  test('is a conversation of its messages in their order, with what is said of it kept raw', () => {
    expect([records, conversations.length, messagesOf(conversation).length]).toEqual([8, 1, 7])
    expect(conversation?.conversationId).toMatch(/^openai-chat-[0-9a-f]{16}$/)
    expect(payloadsOf(conversation, 'foreignRecordKept')).toMatchObject([{ record: { task_id: 1, trial: 0, reward: 0.5 } }])
  })

  test('answers each call by the nearest result after it, although all have one id', () => {
    expect(payloadsOf(conversation, 'toolSucceeded')).toEqual([
      { messageId: 'message-3', callId: 'call_1', resultMessageId: 'message-4' },
      { messageId: 'message-5', callId: 'call_1', resultMessageId: 'message-6' },
    ])
  })

  test('keeps arguments as they were written, whether or not they are JSON', () => {
    const calls = messagesOf(conversation).flatMap(({ parts }) => parts.filter((part) => part.type === 'tool_call'))
    expect(calls.map(({ args }) => args)).toEqual([
      { raw: '{"n": 1}', json: { n: 1 }, valid: true },
      { raw: '{"n": 2', valid: false },
    ])
  })

  test('stores no words twice: the record points to them', () => {
    const message = actionsOf(conversation).find(({ type }) => type === 'messageAdded')
    expect(message?.meta).toEqual({ records: [{ index: 1, record: { role: 'system', content: { $message: '/parts/0/text' } } }] })
  })

  test('is one turn from the question to the answer that calls nothing', () => {
    expect(foldImported(conversation).state.turn).toMatchObject({ started: 1, current: null, last: { turnId: 'message-2' } })
  })

  test('with other content is another conversation', () => {
    const [changed] = importValue([{ ...tauRun[0], reward: 1 }]).conversations
    expect(changed?.conversationId).not.toBe(conversation?.conversationId)
  })
})

describe('a tau2 run', () => {
  const { conversations, records } = importValue(tau2Run)
  const [conversation] = conversations

  test('is known by its id and begins with the assistant', () => {
    expect([conversation?.conversationId, records]).toEqual(['aaaaaaaa-2222-4333-8444-555555555555', 5])
    expect(messagesOf(conversation).map(({ role }) => role)).toEqual(['assistant', 'user', 'assistant', 'tool'])
    expect(payloadsOf(conversation, 'foreignRecordKept')).toMatchObject([
      { record: { reward_info: { reward: 1 }, $file: { tasks: [{ id: 't' }] } } },
    ])
  })

  test('pairs a result by its `id`, and an error ends the call as one', () => {
    expect(payloadsOf(conversation, 'toolFailed')).toEqual([
      { messageId: 'message-3', callId: 'get_0', resultMessageId: 'message-4', kind: 'error', problem: 'nothing' },
    ])
    expect(messagesOf(conversation)[2]?.parts).toMatchObject([{ args: { raw: '{"x":1}', json: { x: 1 } } }])
  })

  test('takes the time of the call, not the local one without a zone, and its usage once', () => {
    expect(messagesOf(conversation)[1]).toMatchObject({
      createdAt: 1_767_225_600_000_000,
      model: { id: 'gpt-test', responseId: 'chatcmpl-1' },
    })
    expect(payloadsOf(conversation, 'usageRecorded')).toEqual([
      {
        usage: expect.objectContaining({ input: 10, output: 5, cacheRead: 30, costMicros: 1500 }),
        messageId: 'message-2',
        model: { provider: 'openai', id: 'gpt-test' },
      },
    ])
    expect(payloadsOf(conversation, 'participantJoined')).toEqual([
      { participantId: 'user', kind: 'program', name: 'user played by gpt-test' },
    ])
  })
})

describe('a log of one call of OpenHands', () => {
  const [conversation] = importValue(openHandsLog).conversations

  test('ends with the answer of the completion, whose call stays open', () => {
    expect(messagesOf(conversation).map(({ id, role }) => [id, role])).toEqual([
      ['message-1', 'user'],
      ['message-2', 'assistant'],
    ])
    expect(foldImported(conversation).state.tools.open).toMatchObject([{ callId: 'c1', name: 'run' }])
    expect(payloadsOf(conversation, 'usageRecorded')).toEqual([
      { usage: usage(6, 2, 4), messageId: 'message-2', model: { provider: 'openai', id: 'proxy/model' } },
    ])
    expect(messagesOf(conversation)[1]).toMatchObject({
      createdAt: 1_700_000_006_500_000,
      model: { stop: { unified: 'tool_calls', raw: 'tool_calls' } },
    })
  })

  test('is imported with its calls; the text that the model was sent is kept raw', () => {
    expect(messagesOf(conversation)[0]?.parts).toEqual([{ type: 'text', text: 'run it' }])
    expect(payloadsOf(conversation, 'foreignRecordKept')).toMatchObject([{ record: { messages: openHandsLog.messages } }])
  })
})

describe('plain lists', () => {
  const list = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Ho', refusal: 'No more.', reasoning_content: 'Hm.' },
  ]

  test('a list, an object with one, and JSON lines of messages are the same conversation of messages', () => {
    const texts = [JSON.stringify(list), JSON.stringify({ messages: list }), list.map((each) => JSON.stringify(each)).join('\n')]
    const all = texts.map((text) => messagesOf(importText(text).conversations[0]))
    expect(all[0]).toMatchObject([
      { role: 'user', parts: [{ type: 'text', text: 'Hi' }] },
      {
        role: 'assistant',
        parts: [
          { type: 'reasoning', text: 'Hm.' },
          { type: 'text', text: 'Ho' },
          { type: 'refusal', text: 'No more.' },
        ],
      },
    ])
    expect(all[1]).toEqual(all[0])
    expect(all[2]).toEqual(all[0])
  })

  test('lines with a conversation each are conversations', () => {
    const line = JSON.stringify({ messages: list })
    const { conversations } = importText(`${line}\n${line}\n`)
    expect(conversations).toHaveLength(2)
    expect(conversations[1]?.conversationId).toBe(`${conversations[0]?.conversationId}#2`)
  })

  test('a picture in a URL is kept by its hash, and a role that nobody knows stays raw', () => {
    const url = `data:image/png;base64,${Buffer.from('dots').toString('base64')}`
    const [conversation] = importValue([
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url } },
          { type: 'image_url', image_url: { url: 'https://a.example/b.png' } },
        ],
      },
      { role: 'oracle', content: 'x' },
    ]).conversations
    expect(messagesOf(conversation)[0]?.parts).toMatchObject([
      { type: 'media', mediaType: 'image/png', source: { kind: 'hash', bytes: 4 } },
      { type: 'media', source: { kind: 'url', url: 'https://a.example/b.png' } },
    ])
    expect(payloadsOf(conversation, 'foreignRecordKept')).toMatchObject([{ recordType: 'oracle', record: { role: 'oracle' } }])
    expect(JSON.stringify(conversation?.commands)).not.toContain('base64')
  })

  test('a second question before an answer interrupts nothing; one in place of a final answer does', () => {
    const [conversation] = importValue([
      { role: 'user', content: 'One' },
      { role: 'user', content: 'and two' },
      { role: 'assistant', content: null, tool_calls: [{ id: 'c', function: { name: 'f', arguments: '{}' } }] },
      { role: 'user', content: 'Stop' },
    ]).conversations
    expect(payloadsOf(conversation, 'turnStarted')).toEqual([{ turnId: 'message-1' }, { turnId: 'message-4' }])
    expect(payloadsOf(conversation, 'turnInterrupted')).toEqual([
      { turnId: 'message-1', reason: 'the next prompt came before a final answer' },
    ])
  })

  test('what is no conversation among them is refused with its place', () => {
    expect(() => importValue([{ messages: list }, { messages: 7 }])).toThrow(
      expect.objectContaining({
        code: 'import_refused',
        details: expect.objectContaining({ line: 2, problem: expect.stringMatching(/^\$\[1\]\.messages is not a list/) }),
      }),
    )
  })

  test('an integer beyond 2^53 is kept as its text, and said so with its path', () => {
    const { remarks, conversations } = importText('{"messages":[{"role":"user","content":"Hi","n":12345678901234567890}]}')
    expect(remarks).toMatchObject([
      { line: 1, remark: expect.stringContaining('$.messages[0].n holds the number 12345678901234567890') },
    ])
    const message = actionsOf(conversations[0]).find(({ type }) => type === 'messageAdded')
    expect(message?.meta).toMatchObject({ records: [{ record: { n: { $text: '12345678901234567890' } } }] })
  })
})
