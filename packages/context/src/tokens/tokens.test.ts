import { existsSync, readdirSync, readFileSync } from 'node:fs'
import type { Message, Usage } from '@colloquy/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { call, result, said } from '../../../../test/support/conversations.ts'
import { type Calibration, calibrate, calibratedFactor } from './calibration.ts'
import { charactersCounter } from './characters-counter.ts'
import { countMessage, countRequest, countTools } from './count-message.ts'
import { calibratedCounter, estimateCounter } from './estimate-counter.ts'
import { gptTokenizerCounter } from './gpt-tokenizer.ts'
import type { TokenCounter } from './token-counter.ts'

const counters = [charactersCounter, estimateCounter, gptTokenizerCounter, calibratedCounter({}, 'any/model')]

describe.each(counters.map((counter) => [`${counter.id}@${counter.version}`, counter] as const))('%s', (_, counter) => {
  test('counts any text, the same every time, and nothing as nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const tokens = counter.count(text)
        expect(Number.isInteger(tokens) && tokens >= 0).toBe(true)
        expect(counter.count(text)).toBe(tokens)
      }),
    )
    expect(counter.count('')).toBe(0)
  })

  test('takes what looks like a special token, a lone surrogate and NUL for text', () => {
    for (const text of ['<|endoftext|>', '<|im_start|>system', 'a \ud800 b', '\0'.repeat(9)])
      expect(counter.count(text)).toBeGreaterThan(0)
  })
})

const folder = new URL('../../../../../shared/data/tokens/', import.meta.url)
const texts = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.txt')) : []
const notice = texts.length === 0 ? ' (skipped: ../shared/data is not beside this checkout)' : ''

test.skipIf(texts.length === 0)(`the exact counter agrees with the tokenizer's own test plans${notice}`, () => {
  const plans = readFileSync(new URL('gpt-tokenizer-TestPlans.txt', folder), 'utf8')
  const cases = plans
    .split('EncodingName: ')
    .filter((plan) => plan.startsWith('o200k_base'))
    .map((plan) => /\nSample: ([\s\S]*?)\nEncoded: \[(.*?)\]/.exec(plan))
    .filter((found) => found !== null)
  for (const [, sample = '', encoded = ''] of cases) {
    expect([sample, gptTokenizerCounter.count(sample)]).toEqual([
      sample,
      encoded.split(',').filter((each) => each.trim() !== '').length,
    ])
  }
  expect(cases.length).toBeGreaterThan(10)
})

test('the estimate is near the exact count where the heuristic is not', () => {
  const json = JSON.stringify(Array.from({ length: 200 }, (_, n) => ({ id: n, path: `src/file-${n}.ts`, ok: n % 2 === 0 })))
  const exact = gptTokenizerCounter.count(json)
  const miss = (counter: TokenCounter): number => Math.abs(counter.count(json) / exact - 1)
  expect(miss(estimateCounter)).toBeLessThan(miss(charactersCounter))
})

/** Bytes that are random and always the same. */
function someBytes(length: number): Buffer {
  let seed = 1
  return Buffer.from(Array.from({ length }, () => (seed = (seed * 48_271) % 0x7fffffff) >> 8))
}

const hex = (bytes: number): string => someBytes(bytes).toString('hex')
const uuids = hex(1_600).replaceAll(/(.{8})(.{4})(.{4})(.{4})(.{12})/g, '$1-$2-$3-$4-$5\n')

test.each([
  ['English', 'The quick brown fox jumps over the lazy dog. '.repeat(20)],
  ['German', 'Die Prüfung ist rot, weil der Fehler in der letzten Änderung noch nicht behoben wurde. '.repeat(20)],
  ['Polish', 'Test nie przeszedł, ponieważ błąd w ostatniej zmianie nie został jeszcze naprawiony. '.repeat(20)],
  ['Russian', 'Сегодня хорошая погода, пойдём в парк. '.repeat(20)],
  ['Greek', 'Ο καιρός είναι καλός σήμερα, πάμε στο πάρκο. '.repeat(20)],
  ['Arabic', 'الطقس جميل اليوم فلنذهب إلى الحديقة. '.repeat(20)],
  ['Hindi', 'आज मौसम बहुत अच्छा है, चलो पार्क चलते हैं। '.repeat(20)],
  ['Thai', 'วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะกัน'.repeat(10)],
  ['Korean', '오늘 날씨가 좋아서 공원에 산책하러 갔습니다. '.repeat(20)],
  ['Chinese', '今天天气很好，我们去公园散步吧。'.repeat(20)],
  ['Japanese', '私は昨日東京へ行きました。とても楽しかったです。'.repeat(20)],
  ['emoji', '😀🎉🚀💡🔥'.repeat(40)],
  ['emoji of several', '👩‍👩‍👧‍👦👨🏽‍💻🏳️‍🌈'.repeat(20)],
  ['base64', someBytes(3_000).toString('base64')],
  ['hex', hex(1_000)],
  ['UUIDs', uuids],
  ['digits', '3141592653589793'.repeat(100)],
  ['line ends', '\n'.repeat(2_000)],
  ['spaces', ' '.repeat(4_000)],
  ['tabs', '\t'.repeat(2_000)],
  ['rules', `${'-'.repeat(80)}\n`.repeat(20)],
  ['indented lines', Array.from({ length: 300 }, (_, i) => `${' '.repeat(i % 40)}x`).join('\n')],
  ['JSON', JSON.stringify(Array.from({ length: 100 }, (_, id) => ({ id, isOk: true, v: [id, id * 2] })))],
  [
    'JSON that is indented',
    JSON.stringify(
      Array.from({ length: 100 }, (_, n) => ({ n, path: `src/file-${n}.ts` })),
      null,
      2,
    ),
  ],
  ['minified code', 'var a=function(b,c){return b[c]||(b[c]={}),b[c].d&&b[c].d(b,c)};'.repeat(30)],
  ['random capitals', hex(2_000).replaceAll(/../g, (byte) => String.fromCharCode(65 + (Number.parseInt(byte, 16) % 26)))],
])('the estimate of %s is within a quarter of the exact count', (_, text) => {
  const ratio = estimateCounter.count(text) / gptTokenizerCounter.count(text)
  expect(ratio).toBeGreaterThan(0.75)
  expect(ratio).toBeLessThan(1.25)
})

test('an estimate grows with the text, but for a token at the edge', () => {
  const pieces = fc.constantFrom(
    'word',
    'X',
    'ABC',
    ' ',
    '\n',
    '  ',
    '(',
    '.',
    '--',
    '7',
    '2026',
    'é',
    'я',
    '漢',
    '😀',
    'A'.repeat(30),
  )
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), fc.nat(), (all, at) => {
      const text = all.join('')
      expect(estimateCounter.count(text.slice(0, at % (text.length + 1)))).toBeLessThanOrEqual(estimateCounter.count(text) + 2)
    }),
    { numRuns: 2_000 },
  )
})

describe('a message', () => {
  const tokensOf = (message: Message): number => countMessage(charactersCounter, message)
  const empty = tokensOf(said('m', 'user', []))

  test('weighs its parts: text, calls, results, reasoning, media', () => {
    expect(empty).toBe(4)
    expect(tokensOf(said('m', 'user', 'x'.repeat(40)))).toBe(empty + 10)
    expect(tokensOf(said('m', 'assistant', [call('c', { path: 'x'.repeat(400) })]))).toBeGreaterThan(empty + 100)
    expect(tokensOf(said('m', 'tool', [result('c', 'x'.repeat(400))]))).toBeGreaterThan(empty + 100)
    // 40,000 characters of thinking and an image of 1 MB are nothing to LangChain's counter.
    expect(
      tokensOf(said('m', 'assistant', [{ type: 'reasoning', text: 'x'.repeat(40_000), signature: 's', redacted: false }])),
    ).toBe(empty + 10_000)
    expect(tokensOf(said('m', 'assistant', [{ type: 'reasoning', encrypted: 'x'.repeat(4_000), redacted: true }]))).toBe(
      empty + 1_000,
    )
    const image = {
      type: 'media',
      kind: 'image',
      mediaType: 'image/png',
      source: { kind: 'hash', hash: 'a'.repeat(64), bytes: 1_000_000 },
    } as const
    expect(tokensOf(said('m', 'user', [image]))).toBe(empty + 765)
    expect(tokensOf(said('m', 'user', [{ ...image, kind: 'document', mediaType: 'application/pdf' }]))).toBe(empty + 20_000)
    expect(
      tokensOf(said('m', 'user', [{ ...image, kind: 'audio', source: { kind: 'url', url: 'https://example.org/a.mp3' } }])),
    ).toBe(empty + 1_920)
    expect(
      tokensOf(
        said('m', 'user', [{ ...image, kind: 'file', mediaType: 'text/plain', source: { kind: 'text', text: 'x'.repeat(80) } }]),
      ),
    ).toBe(empty + 20)
  })

  test('is counted once when it is frozen, and by each counter for itself', () => {
    let counts = 0
    const counting: TokenCounter = { id: 'counting', version: '1', count: (text) => (counts++, text.length) }
    const frozen = Object.freeze(said('m', 'user', 'words'))
    expect([countMessage(counting, frozen), countMessage(counting, frozen), counts]).toEqual([9, 9, 1])
    expect(countMessage(charactersCounter, frozen)).toBe(6)
    const loose = said('m', 'user', 'words')
    countMessage(counting, loose)
    countMessage(counting, loose)
    expect(counts).toBe(3)
  })
})

test('a request weighs its system prompt and its tools once, beside its messages', () => {
  const tool = {
    name: 'read',
    description: 'Reads a file.',
    inputSchema: { type: 'object', properties: { path: { type: 'string' } } },
  }
  const messages = [said('m1', 'user', 'x'.repeat(40)), said('m2', 'assistant', 'y'.repeat(40))]
  const bare = countRequest(charactersCounter, { system: null, tools: [], messages, config: {} })
  expect(bare).toBe(28)
  expect(countTools(charactersCounter, [tool])).toBeGreaterThan(346)
  expect(countRequest(charactersCounter, { system: 'z'.repeat(40), tools: [tool], messages, config: {} })).toBe(
    bare + 14 + countTools(charactersCounter, [tool]),
  )
})

describe('calibration', () => {
  const usage = (input: number, cacheRead = 0): Usage => ({
    input,
    output: 0,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
    reasoning: 0,
  })
  const after = (reports: readonly number[]): Calibration =>
    reports.reduce<Calibration>(
      (known, ratio) => calibrate(known, { model: 'p/m', estimatedTokens: 1_000, usage: usage(ratio * 1_000) }),
      {},
    )

  test('learns a model from what its provider reports, wherever the tokens were read from', () => {
    expect(calibratedFactor(after([1.2, 1.2, 1.2]), 'p/m')).toBeCloseTo(1.2)
    expect(
      calibratedFactor(calibrate({}, { model: 'p/m', estimatedTokens: 1_000, usage: usage(100, 1_200) }), 'p/m'),
    ).toBeCloseTo(1.3)
    expect(calibratedFactor(after([1.2]), 'another/model')).toBe(1)
  })

  test('is bounded, whatever is reported, and follows a change', () => {
    expect(calibratedFactor(after([100, 100]), 'p/m')).toBe(4)
    expect(calibratedFactor(after([0.001, 0.001]), 'p/m')).toBe(0.5)
    expect(
      calibratedFactor(after([...Array.from({ length: 50 }, () => 1), ...Array.from({ length: 50 }, () => 1.4)]), 'p/m'),
    ).toBeCloseTo(1.4, 1)
  })

  test('takes nothing from a report that says nothing', () => {
    expect(calibrate({}, { model: 'p/m', estimatedTokens: 1_000, usage: usage(0) })).toEqual({})
    expect(calibrate({}, { model: 'p/m', estimatedTokens: 10, usage: usage(500) })).toEqual({})
  })

  test('a calibrated count says in its version what it was multiplied by', () => {
    const counter = calibratedCounter(after([1.25]), 'p/m', charactersCounter)
    expect([counter.id, counter.version, counter.count('x'.repeat(400))]).toEqual(['characters/4', '1*1.250', 125])
  })
})
