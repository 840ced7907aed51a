import { createHash } from 'node:crypto'
import { toHex } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import {
  actionOf,
  changedByGrowth,
  commandIdsOf,
  importLines,
  importText,
  messagesIn,
  payloadsOf,
  refusal,
  stateOf,
  told,
  typesOf,
} from '../../../../test/formats/told.ts'

const second = (at: number) => new Date(Date.UTC(2026, 2, 1, 9, 0, at))
const timeOf = (at: number): number => second(at).getTime() * 1000

const record = (type: string, at: number, fields: object = {}) => ({ type, timestamp: second(at).toISOString(), ...fields })
const header = record('session', 0, {
  id: 'session-1',
  cwd: '/work',
  provider: 'anthropic',
  modelId: 'm-1',
  thinkingLevel: 'off',
})
const said = (role: string, at: number, fields: object) =>
  record('message', at, { message: { role, ...fields, timestamp: second(at).getTime() } })
const text = (words: string) => ({ type: 'text', text: words })
const user = (words: string, at = 1) => said('user', at, { content: [text(words)] })
const call = (id: string, args: unknown = { path: 'a.ts' }) => ({ type: 'toolCall', id, name: 'read', arguments: args })
const usage = (output: number, cost = 0.001234) => ({ input: 3, output, cacheRead: 70, cacheWrite: 9, cost: { total: cost } })
const answer = (content: readonly unknown[], at = 2, fields: object = {}) =>
  said('assistant', at, {
    content,
    api: 'anthropic-messages',
    provider: 'anthropic',
    model: 'm-1',
    usage: usage(5),
    stopReason: content.some((block) => (block as { type: string }).type === 'toolCall') ? 'toolUse' : 'stop',
    ...fields,
  })
const result = (toolCallId: string, words: string, at = 3, fields: object = {}) =>
  said('toolResult', at, { toolCallId, toolName: 'read', content: [text(words)], isError: false, ...fields })

test('a plain exchange becomes these actions and nothing else', () => {
  const file = importLines([header, user('Hello'), answer([text('Hi.')])])
  expect(file).toMatchObject({ format: 'pi', records: 3, skipped: [], remarks: [] })
  const [conversation] = file.conversations
  expect(conversation?.conversationId).toBe('session-1')
  expect(conversation?.commands.map(({ commandId, occurredAt }) => [commandId, occurredAt])).toEqual([
    ['pi:started', timeOf(0)],
    ['pi:line:1', timeOf(0)],
    ['pi:line:2', timeOf(1)],
    ['pi:line:3', timeOf(2)],
  ])
  expect(told(file)).toEqual([
    ['metadataChanged', { set: { cwd: '/work', provider: 'anthropic', modelId: 'm-1', thinkingLevel: 'off' } }],
    ['turnStarted', { turnId: 'line:2' }],
    [
      'messageAdded',
      {
        message: {
          v: 1,
          id: 'line:2',
          role: 'user',
          parts: [{ type: 'text', text: 'Hello' }],
          author: { id: 'user' },
          createdAt: timeOf(1),
          meta: { kind: 'prompt' },
        },
        tokenCount: 2,
        tokenCounter: 'chars4@1',
      },
    ],
    [
      'messageAdded',
      {
        message: {
          v: 1,
          id: 'line:3',
          role: 'assistant',
          parts: [{ type: 'text', text: 'Hi.' }],
          author: { id: 'm-1' },
          createdAt: timeOf(2),
          model: { provider: 'anthropic', api: 'messages', id: 'm-1', stop: { unified: 'end', raw: 'stop' } },
        },
        tokenCount: 1,
        tokenCounter: 'chars4@1',
      },
    ],
    [
      'usageRecorded',
      {
        usage: {
          input: 3,
          output: 5,
          cacheRead: 70,
          cacheWrite: { ttl5m: 0, ttl1h: 0, other: 9 },
          reasoning: 0,
          costMicros: 1234,
          raw: usage(5),
        },
        messageId: 'line:3',
        model: { provider: 'anthropic', id: 'm-1' },
      },
    ],
    ['turnEnded', { turnId: 'line:2' }],
  ])
})

test('what a message has no place for is kept beside it, and no text twice', () => {
  const words = 'Words that are long enough to be worth a pointer.'
  const file = importLines([header, user(words)])
  expect(actionOf(file, 'messageAdded')?.meta).toEqual({
    records: [
      {
        line: 2,
        record: {
          ...user(words),
          message: {
            role: 'user',
            content: [{ type: 'text', text: { $message: '/parts/0/text' } }],
            timestamp: second(1).getTime(),
          },
        },
      },
    ],
  })
})

describe('tool calls', () => {
  test('are answered by the nearest open call of the id, and those of one answer are a batch', () => {
    const file = importLines([
      header,
      user('Read'),
      answer([{ type: 'thinking', thinking: 'Hm.', thinkingSignature: 'c2ln' }, call('a'), call('b')]),
      result('b', 'second'),
      result('a', 'first'),
      answer([call('a')], 4),
      result('a', 'third', 5),
    ])
    expect(messagesIn(file)[1]?.parts).toEqual([
      { type: 'reasoning', text: 'Hm.', signature: 'c2ln', redacted: false, origin: { provider: 'anthropic', api: 'messages' } },
      expect.objectContaining({
        type: 'tool_call',
        callId: 'a',
        batchId: 'line:3',
        args: { raw: '{"path":"a.ts"}', json: { path: 'a.ts' }, valid: true },
      }),
      expect.objectContaining({ callId: 'b', batchId: 'line:3' }),
    ])
    expect(payloadsOf(file, 'toolSucceeded')).toEqual([
      { messageId: 'line:3', callId: 'b', resultMessageId: 'line:4' },
      { messageId: 'line:3', callId: 'a', resultMessageId: 'line:5' },
      { messageId: 'line:6', callId: 'a', resultMessageId: 'line:7' },
    ])
  })

  test.each([
    ['fails', 'No such file', 'toolFailed', { kind: 'error', problem: 'No such file' }],
    ['is stopped', 'half of it\n\nCommand aborted', 'toolCancelled', { reason: 'interrupted by the user' }],
  ])('one that %s says so', (_, words, type, payload) => {
    const file = importLines([header, user('Read'), answer([call('a')]), result('a', words, 3, { isError: true })])
    expect(payloadsOf(file, type)).toEqual([expect.objectContaining({ callId: 'a', ...payload })])
  })

  test('without a result stay open, and a result without a call is kept and remarked on', () => {
    const file = importLines([header, user('Read'), answer([call('a')]), result('lost', 'x')])
    expect(stateOf(file).tools.open).toMatchObject([{ messageId: 'line:3', callId: 'a' }])
    expect(file.remarks).toEqual([{ line: 4, remark: 'the result of lost answers no open call; it is kept as a message' }])
  })
})

describe('an answer', () => {
  test('that was stopped before it said anything is an empty message, counts nothing, and interrupts the turn', () => {
    const nothing = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, cost: { total: 0 } }
    const file = importLines([
      header,
      user('Go'),
      answer([], 2, { stopReason: 'aborted', errorMessage: 'Request was aborted.', usage: nothing }),
    ])
    expect(told(file).slice(3)).toMatchObject([
      ['messageAdded', { message: { model: { stop: { unified: 'interrupted', raw: 'aborted' } } } }],
      ['turnInterrupted', { turnId: 'line:2', reason: 'Request was aborted.' }],
    ])
    expect(messagesIn(file)[1]?.parts).toEqual([])
  })

  test('that failed is an error, and interrupts the turn', () => {
    const file = importLines([header, user('Go'), answer([text('Ha')], 2, { stopReason: 'error', errorMessage: 'overloaded' })])
    expect(told(file).slice(-2)).toEqual([
      ['errorRecorded', { kind: 'model_error', problem: 'overloaded' }],
      ['turnInterrupted', { turnId: 'line:2', reason: 'the model failed' }],
    ])
  })

  test('of another model changes the participant; the change itself is metadata', () => {
    const file = importLines([
      header,
      user('a'),
      answer([text('b')]),
      record('model_change', 3, { provider: 'openai', modelId: 'm-2' }),
      record('thinking_level_change', 3, { thinkingLevel: 'high' }),
      user('c', 4),
      answer([text('d')], 5, { provider: 'openai', api: 'openai-responses', model: 'm-2' }),
    ])
    expect(payloadsOf(file, 'metadataChanged').slice(1)).toEqual([
      { set: { provider: 'openai', modelId: 'm-2' } },
      { set: { thinkingLevel: 'high' } },
    ])
    expect(stateOf(file).participants.map(({ id }) => id)).toEqual(['user', 'm-2'])
    expect(messagesIn(file)[3]?.model).toMatchObject({ provider: 'openai', api: 'responses' })
  })
})

test('a turn runs through its calls to the answer without one', () => {
  const file = importLines([header, user('Go'), answer([text('Look.'), call('a')]), result('a', 'x'), answer([text('Done.')], 4)])
  expect(typesOf(file).filter((type) => /^(turn|tool)/.test(type))).toEqual([
    'turnStarted',
    'toolRequested',
    'toolSucceeded',
    'turnEnded',
  ])
})

test('a command that the user ran is shown to the model as a message, and begins no turn', () => {
  const ran = said('bashExecution', 1, { command: 'ls', output: 'a.ts', exitCode: 0, cancelled: false, truncated: false })
  const file = importLines([header, ran])
  expect(typesOf(file)).toEqual(['metadataChanged', 'messageAdded'])
  expect(messagesIn(file)).toMatchObject([{ role: 'user', parts: [text('ls'), text('a.ts')], meta: { kind: 'local_command' } }])
  expect(JSON.stringify(actionOf(file, 'messageAdded')?.meta)).toContain('"exitCode":0')
})

test('pictures are kept by hash, in messages and beside them', () => {
  const bytes = new TextEncoder().encode('not really a picture')
  const data = Buffer.from(bytes).toString('base64')
  const hash = toHex(createHash('sha256').update(bytes).digest())
  const file = importLines([header, said('user', 1, { content: [{ type: 'image', data, mimeType: 'image/png' }] })])
  expect(file.conversations[0]?.media).toEqual([{ hash, mediaType: 'image/png', bytes }])
  expect(messagesIn(file)[0]?.parts).toEqual([
    { type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'hash', hash, bytes: 20 } },
  ])
  expect(JSON.stringify(file.conversations[0]?.commands)).not.toContain(data)
})

describe('a compaction', () => {
  const compaction = (firstKeptEntryIndex: unknown, at = 9) =>
    record('compaction', at, { summary: 'What was said.', tokensBefore: 100, firstKeptEntryIndex })
  const before = [header, user('one'), answer([text('two')]), user('three', 3), answer([text('four')], 4)]
  const shown = (lines: readonly unknown[]) => [...stateOf(importLines(lines)).messages].map(({ id }) => id)

  test('covers what stands before the first entry that stays, counted from the header', () => {
    const file = importLines([...before, compaction(3)])
    expect(payloadsOf(file, 'contextCompacted')).toMatchObject([
      {
        covered: { messageIds: ['line:2', 'line:3'], tokens: 2 },
        summary: { message: { id: 'line:6', role: 'user', parts: [{ type: 'compaction', content: 'What was said.' }] } },
        strategy: 'pi',
        trigger: 'imported',
        before: { messages: 4, tokens: 5 },
        after: { messages: 3, tokens: 7 },
      },
    ])
    const { covered } = payloadsOf(file, 'contextCompacted')[0] as { covered: { ranges: unknown } }
    expect(actionOf(file, 'contextCompacted')?.derivedFrom).toEqual(covered.ranges)
    expect(shown([...before, compaction(3), user('five', 10)])).toEqual(['line:6', 'line:4', 'line:5', 'line:7'])
  })

  test('counts objects that are glued together on a line one by one', () => {
    const glued = `${JSON.stringify(user('one'))}${JSON.stringify(answer([text('two')]))}`
    expect(shown([header, glued, user('three'), compaction(3)])).toEqual(['line:4', 'line:3'])
    expect(commandIdsOf(importLines([header, glued]))).toEqual(['pi:started', 'pi:line:1', 'pi:line:2', 'pi:line:2.2'])
  })

  test('that keeps from its own place keeps nothing, and a later one covers the summary of an earlier one', () => {
    const lines = [...before, compaction(4), user('five', 10), compaction(7, 11)]
    expect(shown(lines)).toEqual(['line:8'])
    const [, second] = payloadsOf(importLines(lines), 'contextCompacted') as {
      covered: { messageIds: string[] }
      standsAt?: number
    }[]
    expect(second?.covered.messageIds).toEqual(['line:6', 'line:5', 'line:7'])
    // Where line 2 stood: after the start, the header's metadata, the participant and the turn.
    expect(second?.standsAt).toBe(5)
  })

  test('that does not say where covers all, with a remark; without a summary it is kept raw', () => {
    const file = importLines([...before, compaction('x')])
    expect([...stateOf(file).messages].map(({ id }) => id)).toEqual(['line:6'])
    expect(file.remarks).toEqual([{ line: 6, remark: 'the compaction does not say which entries stay: it covers all before it' }])
    expect(typesOf(importLines([...before, { ...compaction(1), summary: 7 }])).at(-1)).toBe('foreignRecordKept')
  })

  test('of a newer version names the entry by its id', () => {
    const named = before.map((line, index) => (index === 0 ? line : { ...line, id: `e${index}` }))
    const file = importLines([...named, { ...compaction(undefined), id: 'c1', firstKeptEntryId: 'e3' }])
    expect([...stateOf(file).messages].map(({ id }) => id)).toEqual(['c1', 'e3', 'e4'])
    expect(commandIdsOf(file)).toEqual(['pi:started', 'pi:line:1', 'pi:e1', 'pi:e2', 'pi:e3', 'pi:e4', 'pi:c1'])
  })
})

test.each([
  ['a type that nobody knows', record('label', 1, { targetId: 'x' }), 'label'],
  ['a message of an unknown role', said('hook', 1, { content: [] }), 'message'],
  ['a message without content', said('user', 1, {}), 'message'],
  ['a value that is no record', 42, 'unknown'],
])('%s is kept raw', (_, value, recordType) => {
  expect(told(importLines([header, value])).at(-1)).toEqual([
    'foreignRecordKept',
    { format: 'pi', recordType, line: 2, reason: expect.any(String), record: value },
  ])
})

test('a second header begins a second conversation', () => {
  const file = importLines([header, user('one'), { ...header, id: 'session-2' }, user('two')])
  expect(file.conversations.map(({ conversationId, commands }) => [conversationId, commands.length])).toEqual([
    ['session-1', 3],
    ['session-2', 3],
  ])
})

test('a number that JSON here would change is kept as text', () => {
  const line = JSON.stringify(answer([text('Hi.')])).replace('"output":5', '"output":9007199254740993')
  const file = importLines([header, user('x'), line])
  expect(file.remarks[0]?.remark).toContain('9007199254740993')
  expect(JSON.stringify(actionOf(file, 'foreignRecordKept')?.payload)).toContain('9007199254740993')
})

test('a bad line is refused, or kept as text without being counted by compactions', () => {
  const lines = [
    header,
    '{"type":',
    user('one'),
    answer([text('two')]),
    record('compaction', 5, { summary: 's', firstKeptEntryIndex: 2 }),
  ]
  expect(() => importLines(lines)).toThrow(refusal(2))
  const file = importLines(lines, { keepBadLines: true })
  expect([...stateOf(file).messages].map(({ id }) => id)).toEqual(['line:5', 'line:4'])
  expect(file.records).toBe(5)
})

test('a file that was cut is refused, or imported without its last line', () => {
  const content = `${JSON.stringify(header)}\n${JSON.stringify(user('one'))}\n{"type":"mess`
  expect(() => importText(content)).toThrow(refusal(3, expect.stringContaining('--allow-truncated')))
  expect(importText(content, { allowTruncated: true }).skipped).toMatchObject([{ line: 3, recordType: 'cut line' }])
})

test('a branch of a newer version is kept in file order, with a remark', () => {
  const [first, second, third] = [user('one'), answer([text('two')]), user('again')]
  const file = importLines([
    header,
    { ...first, id: 'e1', parentId: null },
    { ...second, id: 'e2', parentId: 'e1' },
    { ...third, id: 'e3', parentId: 'e1' },
  ])
  expect(messagesIn(file).map(({ id }) => id)).toEqual(['e1', 'e2', 'e3'])
  expect(file.remarks).toEqual([
    { line: 4, remark: 'it goes on from e1, not from the entry before it: branches are kept in file order' },
  ])
})

test('a file that has grown gives the commands it gave before, and then more', () => {
  expect(
    changedByGrowth([
      header,
      user('one'),
      answer([call('a')]),
      result('a', 'x'),
      answer([text('two')], 4),
      record('compaction', 5, { summary: 's', firstKeptEntryIndex: 4 }),
      user('three', 6),
      answer([], 7, { stopReason: 'aborted' }),
    ]),
  ).toEqual([])
})
