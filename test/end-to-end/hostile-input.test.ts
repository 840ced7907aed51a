/** Input that breaks stores: text that few columns hold, bodies too large or too deep, numbers that JSON changes. */
import {
  ColloquyError,
  defaultLimits,
  type EventLog,
  envelopeProblem,
  genesisHash,
  type StoredEnvelope,
  toUtf8,
} from '@colloquy/core'
import { createEngine, openMemoryLog, sha256, verifyChain } from '@colloquy/engine'
import { exportJsonLine } from '@colloquy/formats'
import { openEmbeddedLog, openPostgresLog } from '@colloquy/postgres'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { say, storedIn } from '../support/given.ts'
import { utf8 } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const openLogs: readonly { readonly name: string; readonly isMissing?: boolean; readonly open: () => Promise<EventLog> }[] = [
  { name: 'PGlite', open: () => openEmbeddedLog({ memory: true }) },
  {
    name: 'Postgres',
    isMissing: server === undefined,
    open: async () => openPostgresLog({ url: (await server?.createDatabase()) ?? '', migrate: true, partitions: 4 }),
  },
]

/** What text columns, jsonb, line readers and normalising clients lose. */
const awkwardPiece = fc.oneof(
  fc.constantFrom(
    '\0',
    '\ud800',
    '\udfff',
    '\u00e9',
    'e\u0301',
    '\u{1f469}\u200d\u{1f680}',
    '\u05e9\u05dc\u05d5\u05dd',
    '\u202e',
  ),
  fc.constantFrom('\u2028', '\u2029', '\r\n', '\\u0000', '\\', '"', '\ufeff', '\u007f', '\ufffd', '\uffff', '__proto__'),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
)
const awkwardText = fc.array(awkwardPiece, { maxLength: 8 }).map((pieces) => pieces.join(''))

for (const { name, isMissing = false, open } of openLogs) {
  describe.skipIf(isMissing)(`awkward text, through ${name}`, () => {
    let log: EventLog
    beforeAll(async () => {
      log = await open()
    })
    afterAll(() => log?.close())

    test('5,000 strings come back from append, store, replay and export byte for byte', async () => {
      const seed = Math.floor(Math.random() * 2 ** 31)
      const texts = fc.sample(awkwardText, { seed, numRuns: 5_000 })
      await using engine = createEngine({ log })
      const conversation = await engine.open('awkward')
      for (let from = 0; from < texts.length; from += 250) {
        await conversation.dispatch(texts.slice(from, from + 250).map((text, i) => say(`m${from + i}`, text)))
      }

      const stored = await storedIn(log, 'awkward')
      const replayed = (await engine.replay('awkward')).state.messages.slice().map(({ parts }) => parts)
      const exported = stored.map((envelope) => readLine(exportJsonLine(envelope)))
      const expected = texts.map((text) => [{ type: 'text', text }])
      const differing = texts.findIndex(
        (text, i) =>
          JSON.stringify(replayed[i]) !== JSON.stringify(expected[i]) ||
          textOf(stored[i]?.body) !== text ||
          Buffer.compare(exported[i]?.body ?? utf8(''), stored[i]?.body ?? utf8('?')) !== 0,
      )
      expect({ seed, differing, text: texts[differing] }).toEqual({ seed, differing: -1, text: undefined })
      expect(problemsOf(exported)).toEqual([])
      expect(await verifyChain(log, { tenant: 'default', conversationId: 'awkward' }, sha256)).toMatchObject({ ok: true })
    })

    test('a message of 10 MB comes back where the limit is raised', async () => {
      const text = '\u0000\ud800 e\u0301 \u{1f600} '.repeat(700_000)
      await using engine = createEngine({ log, limits: { envelopeBytes: 32 * 2 ** 20 } })
      const conversation = await engine.open('large')
      const { envelopes } = await conversation.dispatch(say('m1', text))
      expect(envelopes[0]?.body.length).toBeGreaterThan(10e6)
      const [stored] = await storedIn(log, 'large')
      expect(Buffer.compare(stored?.body ?? utf8(''), envelopes[0]?.body ?? utf8('?'))).toBe(0)
      expect(textOf(stored?.body) === text).toBe(true)
    })

    test('a message of 10 MB is refused by the default limit, and nothing is stored', async () => {
      await using engine = createEngine({ log })
      const conversation = await engine.open('too-large')
      await expect(conversation.dispatch(say('m1', 'x'.repeat(10e6)))).rejects.toMatchObject({
        code: 'envelope_too_large',
        details: { limitBytes: 1_048_576 },
      })
      expect(await log.head({ tenant: 'default', conversationId: 'too-large' })).toBeUndefined()
    })
  })
}

describe('depth', () => {
  const nested = (depth: number): unknown => {
    let value: unknown = 1
    for (let i = 0; i < depth; i++) value = [value]
    return value
  }
  const depths = [65, 2_000, 100_000]

  test.each(depths)('%i levels are refused at dispatch, before anything recurses over them', async (depth) => {
    const log = openMemoryLog()
    await using engine = createEngine({ log })
    const conversation = await engine.open('deep')
    const action = { ...say('m1'), meta: { deep: nested(depth) } }
    await expect(conversation.dispatch(action as never)).rejects.toMatchObject({
      code: 'json_too_deep',
      details: { limitDepth: 64 },
    })
    expect(await log.head({ tenant: 'default', conversationId: 'deep' })).toBeUndefined()
  })
})

describe('values that JSON changes', () => {
  const cases: readonly [string, unknown][] = [
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['1e400', JSON.parse('1e400')],
    ['-0', -0],
    ['2^53', 2 ** 53],
    ['-(2^53)', -(2 ** 53)],
    ['1e300', 1e300],
    ['a bigint', 1n],
    ['undefined', undefined],
    ['a Date', new Date(0)],
    ['a Map', new Map([[1, 2]])],
    ['a Set', new Set([1])],
    ['bytes', new Uint8Array(2)],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a boxed number', Object(1) as unknown],
  ]

  test.each(cases)('%s is refused at dispatch with its path, and nothing is stored', async (_name, value) => {
    const log = openMemoryLog()
    await using engine = createEngine({ log })
    const conversation = await engine.open('numbers')
    const action = { ...say('m1'), meta: { list: [1, { value }] } }
    const refusal: unknown = await conversation.dispatch(action as never).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(ColloquyError)
    expect(refusal).toMatchObject({ code: 'json_invalid', details: { path: '$.meta.list[1].value' } })
    expect(await log.head({ tenant: 'default', conversationId: 'numbers' })).toBeUndefined()
  })

  test('what is accepted comes back as it was, to the last bit', async () => {
    const numbers = [2 ** 53 - 1, -(2 ** 53 - 1), 5e-324, 0.1 + 0.2, 1e-7, 0.1234567890123, 0]
    const log = openMemoryLog()
    await using engine = createEngine({ log })
    await (await engine.open('numbers')).dispatch({ ...say('m1'), meta: { numbers } })
    const [stored] = await storedIn(log, 'numbers')
    expect(stored?.action.meta).toEqual({ numbers })
    expect(defaultLimits.envelopeBytes).toBe(1_048_576)
  })
})

/** By the platform's own parser, not by ours. */
function textOf(body: Uint8Array | undefined): string | undefined {
  const read = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as ReturnType<typeof say>
  const [part] = read.payload.message.parts
  return part?.type === 'text' ? part.text : undefined
}

/** A line of an export as an envelope again. */
function readLine(line: string): StoredEnvelope {
  const { format: _, ...fields } = JSON.parse(line) as StoredEnvelope &
    Record<'format' | 'body' | 'salt' | 'commit' | 'hash', string>
  const bytes = (hex: unknown) => (hex === null ? null : new Uint8Array(Buffer.from(hex as string, 'hex')))
  const { salt, commit, hash, inputHash, body } = fields as Record<string, unknown>
  return {
    ...fields,
    body: toUtf8(body as string),
    salt: bytes(salt),
    commit: bytes(commit) as Uint8Array,
    hash: bytes(hash) as Uint8Array,
    inputHash: bytes(inputHash),
  }
}

/** What is wrong in a chain from its beginning. */
function problemsOf(envelopes: readonly StoredEnvelope[]): string[] {
  let previousHash = genesisHash({ tenant: 'default', conversationId: 'awkward' }, sha256)
  return envelopes.flatMap((envelope, i) => {
    const problem = envelopeProblem(envelope, { position: i + 1, previousHash }, sha256)
    previousHash = envelope.hash
    return problem ?? []
  })
}
