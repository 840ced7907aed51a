import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import {
  decode,
  decodedFrom,
  only,
  partsOf,
  problemsWith,
  sse,
  stopOf,
  textOf,
} from '../../../../test/formats/streams-decoded.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { createAnthropicDecoder } from './anthropic.ts'
import { decodeStream } from './decoder.ts'
import { createStreamDecoder, detectStream } from './detect-stream.ts'
import { createOpenAIChatDecoder } from './openai-chat.ts'
import type { StreamEvent } from './stream-event.ts'

const chat = (content: string, fields: object = {}) => ({
  id: 'c1',
  model: 'm',
  choices: [{ index: 0, delta: { content } }],
  ...fields,
})
const finish = { id: 'c1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }
const start = { type: 'message_start', message: { id: 'msg_1', model: 'm' } }
const text = (said: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: said } })

test('messages are named by the response id, else by their number', () => {
  const ids = (...payloads: object[]) => decode('openai-chat', sse(...payloads, '[DONE]')).messages.map(({ id }) => id)
  expect(ids(chat('a'))).toEqual(['c1'])
  expect(ids(chat('a', { id: '' }))).toEqual(['answer-1'])
  expect(ids(chat('a', { id: 'x'.repeat(201) }))).toEqual(['answer-1'])
  const twice = decode('openai-chat', sse(chat('a'), '[DONE]', chat('b'), '[DONE]'))
  expect(twice.messages.map(({ id }) => id)).toEqual(['c1', 'answer-2'])
})

test('ids may be handed in', () => {
  const given: unknown[] = []
  const ids = (answer: { readonly number: number }) => {
    given.push(answer)
    return `mine-${answer.number}`
  }
  const second = { id: 'c1', choices: [{ index: 1, delta: { content: 'b' } }] }
  const decoded = decode('openai-chat', sse(chat('a'), second, '[DONE]'), { ids })
  expect(decoded.messages.map(({ id }) => id)).toEqual(['mine-0', 'mine-1'])
  expect(given).toEqual([
    { responseId: 'c1', choice: 0, number: 0 },
    { responseId: 'c1', choice: 1, number: 1 },
  ])
})

test('the provider may be handed in: many companies speak these APIs', () => {
  const decoded = decode('openai-chat', sse(chat('a'), { error: { message: 'x' } }), { provider: 'groq' })
  expect([only(decoded.messages).model?.provider, only(decoded.errors).provider]).toEqual(['groq', 'groq'])
})

test('bytes that are not UTF-8 are told, and the text around them is kept', () => {
  const [before, after] = sse(chat('a#b'), finish).split('#') as [string, string]
  const decoded = decode('openai-chat', [before, Uint8Array.of(0xff), after])
  expect(textOf(decoded)).toBe('a\ufffdb')
  expect(only(decoded.notices)).toMatchObject({ kind: 'replaced_bytes' })
})

test('an event that is no object is told', () => {
  expect(only(decode('anthropic', 'data: [1]\n\n').notices)).toMatchObject({ kind: 'unknown', raw: [1] })
})

test('nothing is read after the end', () => {
  const decoder = createAnthropicDecoder({ sha256 })
  expect(decoder.end()).toEqual([])
  expect([...decoder.push(sse(start)), ...decoder.end()]).toEqual([])
})

test.each([
  ['eventChars', [`data: ${'x'.repeat(200)}`], ''],
  ['answerChars', [sse(text('x'.repeat(80)), text('y'.repeat(80)))], 'x'.repeat(80) + 'y'.repeat(80)],
  ['answerParts', [sse(...Array.from({ length: 9 }, (_, index) => ({ ...text('z'), index })))], 'zzzzz'],
] as const)('past %s the stream is left: a typed error, and what arrived is kept', (limit, chunks, kept) => {
  const limits = { eventChars: 200, answerChars: 150, answerParts: 5 }
  for (const pieces of [chunks, chunks.join('').split('')]) {
    const decoded = decode('anthropic', [sse(start), ...pieces, sse(text('after'))], { limits })
    expect(problemsWith(decoded)).toEqual([])
    expect(only(decoded.errors)).toMatchObject({ kind: 'stream_limit', code: limit, retryable: false })
    expect(only(decoded.errors).message).toContain(String(limits[limit]))
    expect(only(decoded.ended).interrupted).toBe(true)
    expect(stopOf(decoded)).toEqual([{ unified: 'interrupted', raw: null }])
    expect(textOf(decoded)).toBe(kept)
  }
})

test('limits hold for what is open at one time, not for the sum of a stream', () => {
  const answers = Array.from({ length: 50 }, (_, i) =>
    sse({ ...start, message: { id: `msg_${i}` } }, text('x'.repeat(50)), { type: 'message_stop' }),
  )
  const decoded = decode('anthropic', answers, { limits: { answerChars: 200, answerParts: 5 } })
  expect(decoded.errors).toEqual([])
  expect(decoded.messages).toHaveLength(50)
})

test('a source of chunks is decoded as it arrives', async () => {
  async function* chunks() {
    yield sse(chat('a'))
    yield sse(finish)
  }
  const events: StreamEvent[] = []
  for await (const event of decodeStream(createOpenAIChatDecoder({ sha256 }), chunks())) events.push(event)
  expect(decodedFrom(events)).toEqual(decode('openai-chat', sse(chat('a'), finish)))
})

test('when the source fails, what arrived is told before the error is thrown', async () => {
  async function* chunks() {
    yield sse(chat('par'))
    throw new Error('connection reset')
  }
  const events: StreamEvent[] = []
  const reading = (async () => {
    for await (const event of decodeStream(createOpenAIChatDecoder({ sha256 }), chunks())) events.push(event)
  })()
  await expect(reading).rejects.toThrow('connection reset')
  expect(only(decodedFrom(events).ended)).toMatchObject({ interrupted: true, message: { parts: [{ text: 'par' }] } })
})

test.each([
  [
    'anthropic',
    [
      { type: 'error', error: {} },
      { type: 'content_block_stop', index: 0 },
    ],
  ],
  ['openai-responses', [{ type: 'response.in_progress', response: {} }]],
  ['openai-chat', [{ id: '', object: '', choices: [] }]],
  ['openai-chat', [{ object: 'chat.completion.chunk' }]],
  ['gemini', [{ promptFeedback: {} }]],
  ['gemini', [{ candidates: [] }]],
  [undefined, [{ hello: 1 }]],
  [undefined, []],
] as const)('a stream of %s is known by its content, framed either way', (format, payloads) => {
  expect(detectStream(`: comment\n\n${sse(...payloads)}`)).toBe(format)
  const lines = payloads.map((payload) => JSON.stringify(payload)).join('\n')
  expect(detectStream(new TextEncoder().encode(`\ufeff{"cut\n${lines}`))).toBe(format)
})

/** 100 MB of one answer, in chunks of a few hundred bytes that end anywhere. */
function* longStream(bytes: number): Generator<string> {
  const frame = sse({ ...text('x'), obfuscation: 'o'.repeat(200) }, { type: 'ping' })
  const unit = `: comment ${'c'.repeat(3_000)}\n\n${frame}${frame}event: ping\ndata: {"type":"ping","padding":"${'p'.repeat(4_000)}"}\n\n`
  let rest = ''
  for (let sent = 0; sent < bytes; sent += unit.length) {
    rest += unit
    for (; rest.length >= 700; rest = rest.slice(700)) yield rest.slice(0, 700)
  }
  yield rest
}

test('100 MB of a stream pass through; what is held is the answer, not the stream', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = () => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const encoder = new TextEncoder()
  const decoder = createStreamDecoder('anthropic', { sha256 })
  decoder.push(sse(start))
  const before = heap()
  let [most, deltas, pushes] = [0, 0, 0]
  for (const chunk of longStream(100_000_000)) {
    for (const event of decoder.push(encoder.encode(chunk))) if (event.type === 'partDelta') deltas++
    if (++pushes % 20_000 === 0) most = Math.max(most, heap() - before)
  }
  const ended = decodedFrom(decoder.end())
  expect(textOf(ended)).toBe('x'.repeat(deltas))
  expect(deltas).toBeGreaterThan(20_000)
  // 27,000 deltas of one character: a few MB while they are joined, of 100 that passed.
  expect(most).toBeLessThan(6_000_000)
  expect(partsOf(ended)).toHaveLength(1)
})
