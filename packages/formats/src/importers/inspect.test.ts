import { describe, expect, test } from 'vitest'
import { inspectLog } from '../../../../test/formats/app-fixtures.ts'
import { actionsOf, foldImported, messagesOf, payloadsOf } from '../../../../test/formats/imported.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { importFile } from './import-file.ts'

const importValue = (value: unknown) => importFile({ source: 'log.json', content: JSON.stringify(value), sha256 })

describe('a sample of a log', () => {
  const { conversations, records } = importValue(inspectLog)
  const [conversation] = conversations

  test('is a conversation of the messages, not of the events that repeat them', () => {
    expect([conversation?.conversationId, records]).toEqual(['sampleOne', 11])
    expect(messagesOf(conversation).map(({ id, role }) => [id, role])).toEqual([
      ['m1', 'system'],
      ['m2', 'user'],
      ['m3', 'assistant'],
      ['m4', 'tool'],
    ])
  })

  test('has the attachment in the place of its mark', () => {
    expect(messagesOf(conversation)[0]?.parts).toMatchObject([{ text: expect.stringMatching(/^You know\. /) }])
  })

  test('gives the answer the usage and the time of its call; the grader is no part of it', () => {
    expect(payloadsOf(conversation, 'usageRecorded')).toMatchObject([
      { messageId: 'm3', usage: { input: 60, output: 2, cacheRead: 4, reasoning: 1 }, model: { id: 'gpt-test' } },
    ])
    expect(messagesOf(conversation)[2]).toMatchObject({
      createdAt: Date.UTC(2025, 4, 13, 0, 28, 15) * 1000,
      model: { stop: { unified: 'end', raw: 'stop' } },
      parts: [
        { type: 'reasoning', text: 'Hm.', signature: 'sig' },
        { type: 'text', text: 'Yes' },
        { type: 'tool_call', name: 'check', args: { json: { a: 1 } } },
      ],
    })
  })

  test('fails the call whose result is an error', () => {
    expect(foldImported(conversation).state.tools).toMatchObject({ requested: 1, failed: 1, open: [] })
  })

  test('keeps the run, the sample and every event raw', () => {
    const kept = payloadsOf(conversation, 'foreignRecordKept') as { recordType: string }[]
    expect(kept.map(({ recordType }) => recordType)).toEqual([
      'run/version',
      'run/status',
      'run/eval',
      'sample',
      'event/sample_init',
      'event/model',
      'event/model',
    ])
  })
})

test('messages without ids find their call by the answer itself', () => {
  const [sample] = inspectLog.samples
  const messages = [
    { role: 'user', content: 'Well?' },
    { role: 'assistant', content: 'attachment://bbbb' },
  ]
  const event = {
    event: 'model',
    timestamp: '2025-01-01T00:00:00Z',
    output: {
      model: 'm',
      choices: [{ message: { content: 'attachment://bbbb' } }],
      usage: { input_tokens: 1, output_tokens: 2 },
    },
  }
  const log = {
    ...inspectLog,
    samples: [{ ...sample, uuid: undefined, messages, events: [event], attachments: { bbbb: 'Yes' } }],
  }
  const [conversation] = importValue(log).conversations
  expect(conversation?.conversationId).toMatch(/^inspect-[0-9a-f]{16}$/)
  expect(payloadsOf(conversation, 'usageRecorded')).toMatchObject([{ messageId: 'message-2', usage: { output: 2 } }])
})

test('two answers that say the same have the usage of a call each', () => {
  const answer = { role: 'assistant', content: 'Yes' }
  const event = (output: number) => ({
    event: 'model',
    output: { model: 'm', choices: [{ message: { content: 'Yes' } }], usage: { input_tokens: 1, output_tokens: output } },
  })
  const sample = { id: 1, messages: [answer, answer], events: [event(2), event(3)] }
  const [conversation] = importValue({ ...inspectLog, samples: [sample] }).conversations
  expect(payloadsOf(conversation, 'usageRecorded')).toMatchObject([
    { messageId: 'message-1', usage: { output: 2 } },
    { messageId: 'message-2', usage: { output: 3 } },
  ])
})

test.each([
  [{ ...inspectLog, samples: [...inspectLog.samples, { id: 2 }] }, 2, '$.samples[1].messages is not a list'],
  [{ ...inspectLog, samples: [] }, 1, '$.samples is empty'],
])('a sample without messages, and a log without samples, is refused', (log, line, problem) => {
  expect(() => importValue(log)).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      details: expect.objectContaining({ line, problem: expect.stringContaining(problem) }),
    }),
  )
})

test('epochs of one sample are conversations of their own', () => {
  const [sample] = inspectLog.samples
  const { conversations } = importValue({
    ...inspectLog,
    samples: [1, 2].map((epoch) => ({ ...sample, uuid: undefined, epoch })),
  })
  expect(new Set(conversations.map(({ conversationId }) => conversationId)).size).toBe(2)
  expect(conversations.map((each) => actionsOf(each).filter(({ type }) => type === 'messageAdded').length)).toEqual([4, 4])
})
