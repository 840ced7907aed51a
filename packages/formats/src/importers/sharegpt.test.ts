import { describe, expect, test } from 'vitest'
import { shareGptList } from '../../../../test/formats/app-fixtures.ts'
import { foldImported, messagesOf, payloadsOf } from '../../../../test/formats/imported.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { importFile } from './import-file.ts'

const importText = (content: string) => importFile({ source: 'data.json', content, sha256 })
const importValue = (value: unknown) => importText(JSON.stringify(value))

describe('a list of training conversations', () => {
  const { conversations, records, remarks } = importValue(shareGptList)
  const [search, picture, areas] = conversations

  test('gives each a name made of its label and its words', () => {
    expect([records, conversations.length]).toEqual([14, 3])
    for (const { conversationId } of conversations) expect(conversationId).toMatch(/^sharegpt-[0-9a-f]{16}$/)
    expect(foldImported(search).state.lineage.source).toEqual({ format: 'sharegpt', id: 'identity_0' })
  })

  test('answers a call without an id by the observation after it, and a second one answers nothing', () => {
    expect(foldImported(search).state.tools).toMatchObject({ requested: 1, succeeded: 1, open: [] })
    expect(messagesOf(search).map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool', 'tool', 'assistant'])
    expect(remarks).toEqual([{ line: 1, remark: 'the result of observation-5 answers no open call; it is kept as a message' }])
  })

  test('keeps the tools, which are text, as they are', () => {
    expect(payloadsOf(search, 'foreignRecordKept')).toMatchObject([{ record: { tools: '[{"name": "search"}]' } }])
  })

  test('puts the files where their marks are, and leaves what has no mark in the record', () => {
    expect(messagesOf(picture)[0]?.parts).toEqual([
      { type: 'text', text: '<image>Who are <image>they?' },
      { type: 'media', kind: 'image', mediaType: 'image/*', source: { kind: 'url', url: '1.jpg' } },
      { type: 'media', kind: 'image', mediaType: 'image/*', source: { kind: 'url', url: '2.jpg' } },
    ])
  })

  test('answers two calls by one observation that lists two answers', () => {
    expect(messagesOf(areas)[1]?.parts).toMatchObject([
      { type: 'reasoning', text: 'Two calls.' },
      { type: 'tool_call', callId: 'call-2.2', name: 'area', args: { json: { r: 1 } } },
      { type: 'tool_call', callId: 'call-2.3', name: 'area', args: { json: { r: 2 } } },
    ])
    expect(messagesOf(areas)[2]?.parts).toMatchObject([
      { type: 'tool_result', callId: 'call-2.2', content: [{ type: 'text', text: '3.1' }] },
      { type: 'tool_result', callId: 'call-2.3', content: [{ type: 'custom', payload: { area: 12.6 } }] },
    ])
  })

  test('is the same from JSON lines, and other fields do not make it another conversation', () => {
    const lines = importText(shareGptList.map((each) => JSON.stringify(each)).join('\n')).conversations
    expect(lines).toEqual(conversations)
    const [tagged] = importValue([{ ...shareGptList[0], quality: 5 }]).conversations
    expect(tagged?.conversationId).toBe(search?.conversationId)
  })
})

test.each([
  [
    'a call that is no call',
    { from: 'function_call', value: 'search for a' },
    'messageAdded',
    { message: { parts: [{ type: 'text', text: 'search for a' }] } },
  ],
  [
    'a speaker whom nobody knows',
    { from: 'narrator', value: 'Meanwhile' },
    'foreignRecordKept',
    { recordType: 'narrator', record: { value: 'Meanwhile' } },
  ],
  ['words that are no text', { from: 'gpt', value: 7 }, 'foreignRecordKept', { recordType: 'gpt', record: { value: 7 } }],
])('%s is kept', (_, turn, type, payload) => {
  const [conversation] = importValue([{ conversations: [{ from: 'human', value: 'Hi' }, turn] }]).conversations
  expect(payloadsOf(conversation, type).at(-1)).toMatchObject(payload)
})

test('observations answer the calls that wait in the order in which they were made', () => {
  const call = (name: string) => ({ from: 'function_call', value: JSON.stringify({ name, arguments: {} }) })
  const turns = [
    { from: 'human', value: 'Both' },
    call('f'),
    call('g'),
    { from: 'observation', value: '1' },
    { from: 'observation', value: '2' },
  ]
  const [conversation] = importValue([{ conversations: turns }]).conversations
  expect(payloadsOf(conversation, 'toolSucceeded')).toMatchObject([
    { messageId: 'message-2', resultMessageId: 'message-4' },
    { messageId: 'message-3', resultMessageId: 'message-5' },
  ])
})

test('what is no conversation is refused with its number and field', () => {
  expect(() => importValue([shareGptList[0], { conversations: 'none' }])).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      details: expect.objectContaining({ line: 2, problem: expect.stringContaining('$[1].conversations') }),
    }),
  )
})

test('a cut last line is refused, or listed when that is allowed', () => {
  const content = `${JSON.stringify(shareGptList[0])}\n{"conversations":[{"from":"hu`
  expect(() => importText(content)).toThrow(
    expect.objectContaining({ code: 'import_refused', details: expect.objectContaining({ line: 2 }) }),
  )
  const file = importFile({ source: 'data.jsonl', content, sha256, options: { allowTruncated: true } })
  expect([file.conversations.length, file.skipped]).toMatchObject([1, [{ line: 2, recordType: 'cut line' }]])
})

test('a line that is no JSON is kept as text when that is asked for', () => {
  const content = `Lorem\n${JSON.stringify(shareGptList[0])}`
  const file = importFile({ source: 'data.jsonl', content, sha256, options: { keepBadLines: true } })
  expect(payloadsOf(file.conversations[0], 'foreignRecordKept')[0]).toMatchObject({
    recordType: 'unreadable',
    line: 1,
    record: 'Lorem',
  })
})
