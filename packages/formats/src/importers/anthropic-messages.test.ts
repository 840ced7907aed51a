import { openEnvelope } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { actionsOf, foldImported, messagesOf, payloadsOf, recordsIn, refusalsOf } from '../../../../test/formats/imported.ts'
import { envelopesOf, sha256 } from '../../../../test/support/core-log.ts'
import { exportAnthropicMessages } from '../exporters/export-anthropic-messages.ts'
import { importFile } from './import-file.ts'

const importText = (content: string) => importFile({ source: 'x.json', content, sha256 })
const importValue = (value: unknown) => importText(JSON.stringify(value))

const use = (id: string) => ({ type: 'tool_use', id, name: 'read', input: { file: id } })
const answer = { type: 'tool_result', tool_use_id: 't1', content: 'found' }
const messages = [
  { role: 'user', content: 'Read both' },
  {
    role: 'assistant',
    content: [{ type: 'thinking', thinking: 'Both?', signature: 'sig' }, { type: 'text', text: 'Yes.' }, use('t1'), use('t2')],
  },
  {
    role: 'user',
    content: [answer, { type: 'tool_result', tool_use_id: 't2', content: [{ type: 'text', text: 'gone' }], is_error: true }],
  },
  { role: 'assistant', content: 'One is there.' },
]
const request = { model: 'claude', max_tokens: 100, system: 'Be brief.', messages }

describe('a request of the Messages API', () => {
  const { format, records, conversations } = importValue(request)
  const [conversation] = conversations

  test('is a conversation with its prompt, its thoughts, and calls that have their results', () => {
    expect([format, records, conversations.length]).toEqual(['anthropic-messages', 6, 1])
    expect(messagesOf(conversation).map(({ id, role }) => [id, role])).toEqual([
      ['system', 'system'],
      ['message-1', 'user'],
      ['message-2', 'assistant'],
      ['message-3', 'tool'],
      ['message-4', 'assistant'],
    ])
    expect(payloadsOf(conversation, 'toolRequested')).toMatchObject([{ callId: 't1' }, { callId: 't2' }])
    expect(payloadsOf(conversation, 'toolSucceeded')).toMatchObject([{ callId: 't1', resultMessageId: 'message-3' }])
    expect(payloadsOf(conversation, 'toolFailed')).toMatchObject([{ callId: 't2' }])
    expect(payloadsOf(conversation, 'foreignRecordKept')).toMatchObject([{ record: { model: 'claude', max_tokens: 100 } }])
    expect(foldImported(conversation).state.turn).toMatchObject({ started: 1, current: null })
    expect(conversations.flatMap(refusalsOf)).toEqual([])
  })

  test('keeps its messages as they were, and no words twice', () => {
    const kept = actionsOf(importValue({ ...request, system: 'Be brief. '.repeat(9) }).conversations[0]).flatMap(recordsIn)
    expect(kept).toHaveLength(records)
    expect(kept[1]).toEqual({ index: 0, record: { system: { $message: '/parts/0/text' } } })
    expect(kept[5]).toEqual({ index: 4, record: messages[3] })
  })

  test('is exported as it was, and that again', () => {
    const once = exportAnthropicMessages(envelopesOf(actionsOf(conversation)).map(openEnvelope))
    expect(JSON.parse(once)).toEqual({ system: 'Be brief.', messages })
    const [again] = importText(once).conversations
    expect(exportAnthropicMessages(envelopesOf(actionsOf(again)).map(openEnvelope))).toBe(once)
  })

  test('is known by its content, or by its id', () => {
    expect(conversation?.conversationId).toMatch(/^anthropic-messages-[0-9a-f]{16}$/)
    expect(importValue(request).conversations[0]?.conversationId).toBe(conversation?.conversationId)
    expect(importValue({ ...request, id: 'c' }).conversations[0]?.conversationId).toBe('c')
  })
})

test('files in it become media, and the same bytes again', () => {
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' } }
  const said = [{ role: 'user', content: [{ type: 'text', text: 'See' }, image] }]
  const [conversation] = importValue({ messages: said }).conversations
  expect(conversation?.media).toMatchObject([{ mediaType: 'image/png' }])
  const envelopes = envelopesOf(actionsOf(conversation)).map(openEnvelope)
  const media = (hash: string) => conversation?.media.find((each) => each.hash === hash)?.bytes
  expect(JSON.parse(exportAnthropicMessages(envelopes, { media }))).toEqual({ messages: said })
})

test('requests come as a list, in lines, and as messages alone', () => {
  const lines = [request, { messages: messages.slice(0, 1), system: [{ type: 'text', text: 'Hi' }] }]
  for (const content of [JSON.stringify(lines), lines.map((line) => JSON.stringify(line)).join('\n')])
    expect(importText(content).conversations.map((each) => messagesOf(each).length)).toEqual([5, 2])
  for (const content of [JSON.stringify(messages), messages.map((line) => JSON.stringify(line)).join('\n')])
    expect(importText(content)).toMatchObject({ format: 'anthropic-messages', conversations: [{}], records: 4 })
})

test.each([
  ['Chat Completions', { messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] }],
  ['Chat Completions with a prompt of its own', { messages: [{ role: 'developer', content: 'x' }], system: 'y' }],
  ['a log of a call', { messages: [{ role: 'user', content: 'x' }], system: 'y', response: { choices: [] } }],
])('%s stays what it is', (_, value) => {
  expect(importValue(value).format).toBe('openai-chat')
})

test('a line without messages refuses the file, with its number', () => {
  const content = [request, { model: 'x' }].map((line) => JSON.stringify(line)).join('\n')
  expect(() => importText(content)).toThrow(
    expect.objectContaining({ code: 'import_refused', details: expect.objectContaining({ line: 2 }) }),
  )
})
