import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createSseReader, type SseEvent } from './sse.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

function read(chunks: readonly (Uint8Array | string)[], limitChars = 1_000): SseEvent[] {
  const reader = createSseReader({ limitChars })
  return [...chunks.flatMap((chunk) => reader.push(chunk)), ...reader.end()]
}

const dataOf = (text: string): string[] => read([text]).map(({ data }) => data)

test.each([
  ['line feeds', '\n'],
  ['carriage returns', '\r'],
  ['both', '\r\n'],
])('lines end with %s', (_, end) => {
  expect(read([['event: a', 'data: 1', '', 'data: 2', '', ''].join(end)])).toEqual([
    { event: 'a', data: '1' },
    { event: undefined, data: '2' },
  ])
})

test('a carriage return and a line feed in two chunks end one line', () => {
  expect(read(['data: 1\r', '\ndata: 2\r', '', '\n\r', '\n'])).toEqual([{ event: undefined, data: '1\n2' }])
})

test('a byte order mark is skipped at the start only, though its bytes come one by one', () => {
  const bytes = bytesOf('\ufeffdata: 1\n\n\ufeffdata: 2\n\n')
  expect(read([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual([{ event: undefined, data: '1' }])
})

test('comments, unknown fields and events without data say nothing', () => {
  expect(dataOf(': OPENROUTER PROCESSING\n\nid: 7\nretry: 10\nevent: x\n\ndata: 1\n\n')).toEqual(['1'])
})

test('the name of an event without data is not the name of the next', () => {
  expect(read(['event: a\n\ndata: 1\n\n'])).toEqual([{ event: undefined, data: '1' }])
})

test('data of several lines are joined, and one space after the colon is dropped', () => {
  expect(dataOf('data:1\ndata:  2\ndata\ndata: 3\n\n')).toEqual(['1\n 2\n\n3'])
})

test('the last event needs no blank line, nor an end of its line', () => {
  expect(dataOf('data: 1\n\ndata: 2\n')).toEqual(['1', '2'])
  expect(dataOf('data: 1\n\ndata: 2')).toEqual(['1', '2'])
})

test('a field may be indented, as the first line of a recorded stream is', () => {
  expect(dataOf(' data: 1\n\n\tdata: 2\n\n')).toEqual(['1', '2'])
})

test('a line that begins with a brace is an event of its own', () => {
  expect(dataOf('{"a":1}\n{"b":2}\ndata: 3\n{"error":"x"}\n\n')).toEqual(['{"a":1}', '{"b":2}', '3', '{"error":"x"}'])
})

test('a code point may be cut anywhere', () => {
  const bytes = bytesOf('data: €👋é\n\n')
  for (let at = 0; at <= bytes.length; at++) {
    expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual([{ event: undefined, data: '€👋é' }])
  }
  expect(read(['data: \ud83d', '\udc4b\n\n'])).toEqual([{ event: undefined, data: '👋' }])
})

test('bytes that are not UTF-8 become U+FFFD, in one chunk or in many', () => {
  const bytes = Uint8Array.of(...bytesOf('data: a'), 0xff, 0xe2, 0x82, ...bytesOf('b\n\n'))
  expect(read([bytes])).toEqual([{ event: undefined, data: 'a\ufffd\ufffdb' }])
  expect(read([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(read([bytes]))
})

test('a code point that is cut by the end of the stream is shown as such', () => {
  expect(read([Uint8Array.of(...bytesOf('data: a'), 0xe2, 0x82)])).toEqual([{ event: undefined, data: 'a\ufffd' }])
})

test('reopen forgets the unfinished line, event and code point of the connection before', () => {
  const reader = createSseReader({ limitChars: 100 })
  expect(reader.push('event: a\ndata: 1\ndata: 2')).toEqual([])
  reader.push(Uint8Array.of(0xe2))
  reader.reopen()
  expect(reader.push('\ufeffdata: 3\n\n')).toEqual([{ event: undefined, data: '3' }])
})

test.each([
  ['a line', `data: ${'x'.repeat(95)}\n\n`],
  ['an event of many lines', 'data: 0123456789\n'.repeat(11)],
  ['a line that never ends', 'x'.repeat(101)],
  ['a comment', `:${'x'.repeat(100)}\n\n`],
])('%s beyond the limit ends the reading, at the same place in one chunk or in many', (_, text) => {
  for (const chunks of [[text], text.split('')]) {
    const reader = createSseReader({ limitChars: 100 })
    expect(reader.push('data: before\n\n')).toHaveLength(1)
    expect(chunks.flatMap((chunk) => reader.push(chunk))).toEqual([])
    expect(reader.hasOverflowed()).toBe(true)
    expect([...reader.push('\n\ndata: after\n\n'), ...reader.end()]).toEqual([])
  }
})

test('the elements of a list are events, and one beyond the limit ends the reading', () => {
  const list = '[{"a":"]},"},\n 12, [1,{}] , {"b":{}}]'
  const events = ['{"a":"]},"}', '12', '[1,{}]', '{"b":{}}'].map((data) => ({ event: undefined, data }))
  expect(read([list])).toEqual(events)
  expect(read(list.split(''))).toEqual(events)
  expect(read([' \n[{"a":1},{"b":'])).toEqual(['{"a":1}', '{"b":'].map((data) => ({ event: undefined, data })))
  expect(read(['[{"a":1}] and more']).at(-1)).toEqual({ event: undefined, data: 'and more' })
  const reader = createSseReader({ limitChars: 100 })
  expect(reader.push(`[{"a":1},"${'x'.repeat(101)}`)).toHaveLength(1)
  expect(reader.hasOverflowed()).toBe(true)
})

test('what is just within the limit is read', () => {
  expect(read([`data: ${'x'.repeat(94)}\n\n`], 100)).toEqual([{ event: undefined, data: 'x'.repeat(94) }])
})

test('any bytes give the same events however they are cut', () => {
  const piece = fc.oneof(
    fc
      .constantFrom(
        '[',
        ',',
        ']',
        '}',
        '"',
        'data:',
        'data: ',
        'event: e',
        '\n',
        '\r',
        '\r\n',
        '\n\n',
        ':',
        '{',
        '\ufeff',
        '€',
        '👋',
        ' ',
      )
      .map(bytesOf),
    fc.uint8Array({ maxLength: 4 }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (pieces, sizes) => {
      const bytes = Uint8Array.from(pieces.flatMap((part) => [...part]))
      const chunks: Uint8Array[] = []
      for (let at = 0; at < bytes.length; ) {
        const size = sizes.next().value as number
        chunks.push(bytes.subarray(at, at + size))
        at += size
      }
      expect(read(chunks, 30)).toEqual(read([bytes], 30))
    }),
    { numRuns: 2_000 },
  )
})
