import { createHash } from 'node:crypto'
import { toHex } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import {
  actionOf,
  commandIdsOf,
  importText,
  importValue,
  messagesIn,
  payloadsOf,
  refusal,
  stateOf,
  told,
} from '../../../../test/formats/told.ts'

const second = (at: number) => new Date(Date.UTC(2026, 2, 1, 9, 0, at))
const timeOf = (at: number): number => second(at).getTime() * 1000

const message = (id: string, type: string, at: number, fields: object) => ({
  id,
  timestamp: second(at).toISOString(),
  type,
  ...fields,
})
const session = (messages: unknown, fields: object = {}) => ({
  sessionId: 'session-1',
  projectHash: 'ab12',
  startTime: second(0).toISOString(),
  lastUpdated: second(59).toISOString(),
  messages,
  ...fields,
})
const user = (id: string, content: unknown, at = 1) => message(id, 'user', at, { content })
const tokens = { input: 100, output: 5, cached: 40, thoughts: 7, tool: 3, total: 115 }
const response = (id: string, inner: object) => [{ functionResponse: { id, name: 'read_file', response: inner } }]
const call = (id: string, status: string, result?: unknown) => ({
  id,
  name: 'read_file',
  args: { path: 'a.ts' },
  status,
  timestamp: second(3).toISOString(),
  ...(result !== undefined && { result }),
})
const gemini = (id: string, content: unknown, fields: object = {}, at = 2) =>
  message(id, 'gemini', at, { content, model: 'gemini-test', tokens, ...fields })

test('a session becomes these actions and nothing else, however it is printed', () => {
  const value = session([
    user('m1', 'Read it'),
    gemini('m2', 'I will.', {
      thoughts: [{ subject: 'Reading', description: 'I read the file.', timestamp: second(2).toISOString() }],
      toolCalls: [call('c1', 'success', response('c1', { output: 'the text of the file' }))],
    }),
    gemini('m3', 'Done.', {}, 4),
  ])
  const file = importValue(value)
  expect(importText(JSON.stringify(value))).toEqual(file)
  expect(file).toMatchObject({ format: 'gemini-cli', records: 4, skipped: [] })
  expect(file.remarks).toEqual([{ line: 1, remark: expect.stringContaining('lastUpdated is left out') }])
  expect(file.conversations[0]?.conversationId).toBe('session-1')
  expect(file.conversations[0]?.commands.map(({ commandId, occurredAt }) => [commandId, occurredAt])).toEqual([
    ['gemini-cli:started', timeOf(0)],
    ['gemini-cli:session', timeOf(0)],
    ['gemini-cli:m1', timeOf(1)],
    ['gemini-cli:m2', timeOf(2)],
    ['gemini-cli:m2:results', timeOf(2)],
    ['gemini-cli:m3', timeOf(4)],
    ['gemini-cli:turn-ended:m1', timeOf(4)],
  ])
  const usage = { input: 63, output: 12, cacheRead: 40, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 7, raw: tokens }
  expect(told(file)).toMatchObject([
    ['metadataChanged', { set: { projectHash: 'ab12' } }],
    ['turnStarted', { turnId: 'm1' }],
    ['messageAdded', { message: { id: 'm1', role: 'user', author: { id: 'user' }, parts: [{ type: 'text', text: 'Read it' }] } }],
    [
      'messageAdded',
      {
        message: {
          id: 'm2',
          role: 'assistant',
          author: { id: 'gemini-test' },
          model: { provider: 'gemini', api: 'generate_content', id: 'gemini-test' },
          parts: [
            { type: 'reasoning', summary: ['Reading', 'I read the file.'], redacted: false },
            { type: 'text', text: 'I will.' },
            {
              type: 'tool_call',
              callId: 'c1',
              name: 'read_file',
              args: { raw: '{"path":"a.ts"}', json: { path: 'a.ts' }, valid: true },
            },
          ],
        },
      },
    ],
    ['toolRequested', { messageId: 'm2', callId: 'c1', name: 'read_file' }],
    ['usageRecorded', { usage, messageId: 'm2', model: { provider: 'gemini', id: 'gemini-test' } }],
    [
      'messageAdded',
      {
        message: {
          id: 'm2:results',
          role: 'tool',
          parts: [
            {
              type: 'tool_result',
              callId: 'c1',
              callMessageId: 'm2',
              status: 'ok',
              content: [{ type: 'text', text: 'the text of the file' }],
            },
          ],
        },
      },
    ],
    ['toolSucceeded', { messageId: 'm2', callId: 'c1', resultMessageId: 'm2:results' }],
    ['messageAdded', { message: { id: 'm3' } }],
    ['usageRecorded', { messageId: 'm3' }],
    ['turnEnded', { turnId: 'm1' }],
  ])
})

test('fields without a place are kept, and long words only once', () => {
  const words = 'This output is long enough to be worth a pointer.'
  const file = importValue(
    session([
      gemini('m2', '', { toolCalls: [{ ...call('c1', 'success', response('c1', { output: words })), resultDisplay: 'shown' }] }),
    ]),
  )
  const { meta } = file.conversations[0]?.commands[2]?.actions.find(({ type }) => type === 'messageAdded') ?? {}
  expect(meta).toMatchObject({
    records: [
      {
        line: 1,
        record: {
          toolCalls: [
            { resultDisplay: 'shown', result: response('c1', { output: { $message: 'm2:results/parts/0/content/0/text' } }) },
          ],
        },
      },
    ],
  })
  expect(actionOf(file, 'metadataChanged')?.meta).toEqual({
    records: [{ line: 1, record: { sessionId: 'session-1', projectHash: 'ab12', startTime: second(0).toISOString() } }],
  })
})

test.each([
  ['error', { error: 'Path must be absolute' }, 'error', 'toolFailed', { kind: 'error', problem: 'Path must be absolute' }],
  ['cancelled', { error: '[Operation Cancelled]' }, 'interrupted', 'toolCancelled', {}],
])('a call of status %s ends so', (status, inner, expected, type, payload) => {
  const file = importValue(session([gemini('m2', '', { toolCalls: [call('c1', status, response('c1', inner))] })]))
  expect(messagesIn(file)[1]?.parts).toMatchObject([
    { status: expected, content: [{ type: 'text', text: Object.values(inner)[0] }] },
  ])
  expect(payloadsOf(file, type)).toMatchObject([{ callId: 'c1', ...payload }])
})

test('a call that still runs stays open, and results that are not text are kept whole', () => {
  const odd = response('c2', { output: { rows: 2 } })
  const file = importValue(session([gemini('m2', '', { toolCalls: [call('c1', 'executing'), call('c2', 'success', odd)] })]))
  expect(stateOf(file).tools.open).toMatchObject([{ callId: 'c1' }])
  expect(messagesIn(file)[1]?.parts).toMatchObject([
    { callId: 'c2', content: [{ type: 'custom', kind: 'gemini.functionResponse', payload: odd[0] }] },
  ])
})

test('a turn whose tool was cancelled is interrupted by the next prompt', () => {
  const stopped = gemini('m2', '', { toolCalls: [call('c1', 'cancelled', response('c1', { error: 'no' }))] })
  const file = importValue(session([user('m1', 'Go'), stopped, user('m3', 'Do this instead', 5)]))
  expect(payloadsOf(file, 'turnInterrupted')).toEqual([{ turnId: 'm1', reason: 'the next prompt came before a final answer' }])
})

test('content may be parts, with files that are kept by hash', () => {
  const bytes = new TextEncoder().encode('not really a picture')
  const data = Buffer.from(bytes).toString('base64')
  const hash = toHex(createHash('sha256').update(bytes).digest())
  const file = importValue(
    session([
      user('m1', [
        { text: 'Look' },
        { inlineData: { mimeType: 'image/png', data } },
        { fileData: { fileUri: 'gs://x', mimeType: 'video/mp4' } },
        { strange: 1 },
      ]),
    ]),
  )
  expect(messagesIn(file)[0]?.parts).toEqual([
    { type: 'text', text: 'Look' },
    { type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'hash', hash, bytes: 20 } },
    { type: 'media', kind: 'video', mediaType: 'video/mp4', source: { kind: 'url', url: 'gs://x' } },
    { type: 'custom', kind: 'gemini.strange', payload: { strange: 1 } },
  ])
  expect(JSON.stringify(file.conversations[0]?.commands)).not.toContain(data)
})

test('errors are recorded, notices and unknown types are kept raw, a summary is the title', () => {
  const file = importValue(
    session(
      [
        message('e', 'error', 1, { content: 'quota' }),
        message('w', 'warning', 1, { content: 'slow' }),
        message('x', 'strange', 1, {}),
        7,
      ],
      { summary: 'About files' },
    ),
  )
  expect(told(file).slice(1)).toMatchObject([
    ['errorRecorded', { kind: 'gemini_error', problem: 'quota' }],
    ['foreignRecordKept', { recordType: 'warning', line: 2, reason: 'a notice of the program, for the screen' }],
    ['foreignRecordKept', { recordType: 'strange', line: 3 }],
    ['foreignRecordKept', { recordType: 'unknown', line: 4, record: 7 }],
    ['conversationTitled', { title: 'About files' }],
  ])
})

describe('a file that is not as it should be', () => {
  test('is refused with the field', () => {
    expect(() => importValue(session('none'))).toThrow(refusal(1, expect.stringContaining('$.messages is not a list')))
  })

  test('keeps an odd number as text, and everything else as it is', () => {
    const text = JSON.stringify(session([user('m1', 'Go'), gemini('m2', 'x')])).replace(
      '"input":100',
      '"input":12345678901234567890',
    )
    const file = importText(text)
    expect(file.remarks[0]).toEqual({
      line: 1,
      remark: expect.stringContaining('$.messages[1].tokens.input holds the number 12345678901234567890'),
    })
    expect(messagesIn(file)).toHaveLength(2)
    expect(payloadsOf(file, 'usageRecorded')).toEqual([])
  })

  test('keeps a message whose keys repeat as text', () => {
    const file = importText(JSON.stringify(session([user('m1', 'Go')])).replace('"type":"user"', '"type":"user","type":"gemini"'))
    expect(payloadsOf(file, 'foreignRecordKept')).toMatchObject([
      { line: 1, reason: expect.stringContaining('kept as text'), record: { $text: expect.any(String) } },
    ])
  })

  test('two messages with one id are two messages', () => {
    const file = importValue(session([user('m1', 'a'), user('m1', 'b')]))
    expect(messagesIn(file).map(({ id }) => id)).toEqual(['m1', 'm1#2'])
  })
})

test('a session that went on gives the commands it gave before, and then more', () => {
  const messages = [
    user('m1', 'a'),
    gemini('m2', 'b', { toolCalls: [call('c1', 'success', response('c1', { output: 'x' }))] }),
    gemini('m3', 'c'),
    user('m4', 'd'),
  ]
  const all = importValue(session(messages)).conversations[0]?.commands ?? []
  for (let length = 0; length <= messages.length; length++) {
    const before =
      importValue(session(messages.slice(0, length), { lastUpdated: `2026-03-0${length + 1}` })).conversations[0]?.commands ?? []
    expect(all.slice(0, before.length)).toEqual(before)
  }
  expect(commandIdsOf(importValue(session(messages)))).toContain('gemini-cli:m4')
})
