import { describe, expect, test } from 'vitest'
import { langChainList, langGraphThread } from '../../../../test/formats/app-fixtures.ts'
import { foldImported, messagesOf, payloadsOf } from '../../../../test/formats/imported.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { importFile } from './import-file.ts'

const importValue = (value: unknown) => importFile({ source: 'thread.json', content: JSON.stringify(value), sha256 })

describe('a thread', () => {
  const { conversations, records, remarks } = importValue(langGraphThread)
  const [conversation] = conversations
  const { state } = foldImported(conversation)

  test('is known by its thread id, its messages by theirs', () => {
    expect({ records, remarks, id: conversation?.conversationId }).toEqual({
      records: 8,
      remarks: [],
      id: 'bbbbbbbb-2222-4333-8444-555555555555',
    })
    expect(messagesOf(conversation).map(({ id, role }) => `${role} ${id}`)).toEqual([
      'user h1',
      'system s1',
      'assistant run-1',
      'tool t1',
      'assistant run-2',
      'tool t2',
      'assistant m3',
    ])
    expect(state.lifecycle.title).toBe('A page')
  })

  test('has reasoning before the call, and arguments that were no JSON as the text that they were', () => {
    const [, , first, , second] = messagesOf(conversation)
    expect(first).toMatchObject({
      model: { provider: 'openai', id: 'kimi', stop: { unified: 'tool_calls', raw: 'tool_calls' } },
      parts: [
        { type: 'reasoning', text: 'A page needs a title.' },
        { type: 'tool_call', callId: 'write:0', args: { valid: true } },
      ],
    })
    expect(second?.parts).toMatchObject([
      { type: 'tool_call', callId: 'write:0', batchId: 'run-2' },
      { type: 'tool_call', callId: 'bad', args: { raw: '{"path', valid: false } },
    ])
  })

  test('ends each call that uses one id again, and leaves the broken one open', () => {
    expect(state.tools).toMatchObject({ requested: 3, succeeded: 1, failed: 1, open: [{ messageId: 'run-2', callId: 'bad' }] })
    expect(payloadsOf(conversation, 'toolFailed')).toMatchObject([
      { messageId: 'run-2', callId: 'write:0', resultMessageId: 't2', problem: 'no' },
    ])
  })

  test('takes what was cached out of the input, and gives no usage where there is none', () => {
    expect(payloadsOf(conversation, 'usageRecorded')).toMatchObject([
      { messageId: 'run-2', usage: { input: 30, cacheRead: 60, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 10 }, output: 5 } },
    ])
  })

  test('stores no place in the list, so that a thread which lost its first messages still has the same commands', () => {
    const { values } = langGraphThread
    const trimmed = importValue({ ...langGraphThread, values: { ...values, messages: values.messages.slice(2) } })
      .conversations[0]
    const inputs = (of: typeof conversation) =>
      of?.commands.filter(({ commandId }) => /:(t1|t2|m3)$/.test(commandId)).map(({ actions }) => actions)
    expect(inputs(trimmed)).toEqual(inputs(conversation))
  })

  test('of another step has its other fields under another id', () => {
    const later = importValue({ ...langGraphThread, metadata: { ...langGraphThread.metadata, step: 8 } }).conversations[0]
    const ids = (of: typeof conversation) =>
      of?.commands.map(({ commandId }) => commandId).filter((id) => id.startsWith('langgraph:thread:'))
    expect(ids(later)).toHaveLength(1)
    expect(ids(later)).not.toEqual(ids(conversation))
  })
})

describe('serialised messages', () => {
  const [conversation] = importValue(langChainList).conversations

  test('are read like plain ones; a call in the content and beside it is one call', () => {
    expect(messagesOf(conversation).map(({ role, parts }) => [role, parts.map(({ type }) => type)])).toEqual([
      ['user', ['text']],
      ['assistant', ['text', 'tool_call']],
      ['tool', ['tool_result']],
    ])
    expect(foldImported(conversation).state.tools).toMatchObject({ requested: 1, succeeded: 1, open: [] })
  })

  test('know how long what was cached lives', () => {
    expect(payloadsOf(conversation, 'usageRecorded')).toMatchObject([
      {
        usage: { input: 10, cacheRead: 0, cacheWrite: { ttl5m: 20, ttl1h: 0, other: 0 }, output: 6 },
        model: { provider: 'anthropic', id: 'claude-test' },
      },
    ])
  })

  test('of a kind that says nothing stay raw', () => {
    const [changed] = importValue([
      ...langChainList,
      { lc: 1, type: 'constructor', id: ['x', 'RemoveMessage'], kwargs: { id: 'h1' } },
    ]).conversations
    expect(payloadsOf(changed, 'foreignRecordKept')).toMatchObject([{ recordType: 'remove' }])
  })
})

test('of several threads it is told in which one something is, of one thread in which message', () => {
  const answer = { type: 'tool', tool_call_id: 'nobody', content: 'late' }
  const said = { type: 'human', content: 'Hello' }
  const second = { values: { messages: [said, said, answer] } }
  expect(importValue([langGraphThread, second]).remarks).toContainEqual(expect.objectContaining({ line: 2 }))
  expect(importValue(second).remarks).toEqual([expect.objectContaining({ line: 3 })])
  const wide = { values: { messages: [{ type: 'human', content: 'x'.repeat(10_001).split('') }] } }
  for (const [value, line] of [
    [[langGraphThread, wide], 2],
    [wide, 1],
  ] as const)
    expect(() => importValue(value)).toThrow(expect.objectContaining({ details: expect.objectContaining({ line }) }))
})

test('a checkpoint among threads that holds no list is refused with its number', () => {
  expect(() => importValue([langGraphThread, { values: {} }])).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      details: expect.objectContaining({ line: 2, problem: expect.stringMatching(/values\.messages is not a list/) }),
    }),
  )
})
