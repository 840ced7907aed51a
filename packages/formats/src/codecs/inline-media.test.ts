import { isColloquyError, toHex } from '@colloquy/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256 } from '../../../../test/support/core-log.ts'
import { decodeBase64 } from '../base64.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import { encodeBase64, mediaTaker, putBack } from './inline-media.ts'
import { openaiChat } from './openai-chat.ts'

const bytes = Uint8Array.of(1, 2, 3, 4)
const base64 = 'AQIDBA=='
const hash = toHex(sha256(bytes))
const context = { ids: () => 'm1', sha256 }

test('base64 is written as everybody else does', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), (some) => {
      expect(encodeBase64(some)).toBe(Buffer.from(some).toString('base64'))
      expect(decodeBase64(encodeBase64(some)) ?? new Uint8Array()).toEqual(some)
    }),
    { numRuns: 200 },
  )
})

test('a file in a message becomes bytes beside it, once, and the message names it by hash', () => {
  const url = `data:image/png;base64,${base64}`
  const image = { type: 'image_url', image_url: { url } }
  const { messages, media } = openaiChat.decode([{ role: 'user', content: [image, image] }], context)
  expect(media).toEqual([{ hash, mediaType: 'image/png', bytes }])
  expect(messages[0]?.parts[0]).toEqual({
    type: 'media',
    kind: 'image',
    mediaType: 'image/png',
    source: { kind: 'hash', hash, bytes: 4 },
  })
  expect(JSON.stringify(messages)).not.toContain(base64)
  const source = { type: 'base64', media_type: 'image/png', data: base64 }
  const { body } = anthropicMessages.encode(messages, { media: () => bytes })
  expect(body.messages).toEqual([
    {
      role: 'user',
      content: [
        { type: 'image', source },
        { type: 'image', source },
      ],
    },
  ])
})

test('a file whose bytes are not handed in becomes a line of text', () => {
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: base64 } }
  const { messages } = anthropicMessages.decode([{ role: 'user', content: [image] }], context)
  expect(anthropicMessages.encode(messages)).toEqual({
    body: { messages: [{ role: 'user', content: [{ type: 'text', text: '[image (image/png), not sent]' }] }] },
    losses: [{ kind: 'media_missing', messageId: 'm1', part: 0 }],
  })
})

test('arguments of tools stay what the model wrote, even when they look like files', () => {
  const input = { type: 'base64', media_type: 'image/png', data: base64 }
  const call = { type: 'tool_use', id: 't', name: 'f', input }
  const { messages, media } = anthropicMessages.decode([{ role: 'assistant', content: [call] }], context)
  expect(media).toEqual([])
  expect(messages[0]?.parts[0]).toMatchObject({ args: { raw: JSON.stringify(input), json: input, valid: true } })
})

const words = fc.constantFrom(
  '$media',
  '$$media',
  'before',
  'bytes',
  'data',
  'type',
  'media_type',
  'url',
  'args',
  base64,
  'data:a/b;base64,QUJD',
)
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    words,
    fc.constantFrom(4, hash),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(words, tie('value'), { maxKeys: 4 }),
  ),
})).value

test('what was taken out is put back, whatever it is and looks like', () => {
  fc.assert(
    fc.property(json, (value) => {
      const taker = mediaTaker(sha256)
      const taken = taker.takeOut(value as never)
      const lookup = (wanted: string) => taker.all().find((each) => each.hash === wanted)?.bytes
      expect(putBack(JSON.parse(JSON.stringify(taken)), lookup)).toEqual(value)
    }),
    { numRuns: 5000 },
  )
})

test('NUL and half surrogate pairs survive, and go out as U+FFFD', () => {
  const messages = [{ role: 'user', content: 'a\u0000b\ud800c' }]
  const decoded = openaiChat.decode(messages, context)
  expect(openaiChat.encode(decoded.messages, { purpose: 'transcript' }).body).toEqual({ messages })
  expect(openaiChat.encode(decoded.messages)).toEqual({
    body: { messages: [{ role: 'user', content: 'a\u0000b\ufffdc' }] },
    losses: [{ kind: 'text_repaired', messageId: 'm1', part: 0 }],
  })
})

test.each([
  ['a number', 5],
  ['nothing', null],
  ['an object without messages', { model: 'm' }],
  ['messages that are no list', { messages: { 0: {} } }],
  ['an integer that JSON would change', [{ role: 'user', content: 2 ** 60 }]],
  ['a key that is a prototype', JSON.parse('[{"__proto__": {"a": 1}}]')],
])('%s is refused with an error of ours', (_, foreign) => {
  let caught: unknown
  try {
    openaiChat.decode(foreign, context)
  } catch (error) {
    caught = error
  }
  expect(isColloquyError(caught)).toBe(true)
})
