/** A file that is read piece by piece is imported as if it were held: the same commands, files, remarks and refusals. */
import { readFileSync } from 'node:fs'
import { type ImportedConversation, type ImportedFile, isColloquyError, type Media } from '@colloquy/core'
import { type ByteSource, type ImportOptions, importFile } from '@colloquy/formats'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { agentLists } from './agent-samples.ts'
import { mutate, strangeValue } from './hostile.ts'
import { readReal, realNames } from './real-files.ts'
import { runs } from './runs.ts'

const utf8 = new TextEncoder()

function pieces(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read(target, from) {
      const part = bytes.subarray(from, from + target.length)
      target.set(part)
      return part.length
    },
  }
}

/** What is told of a conversation, however its commands are made. */
function plain({ conversationId, format, commands, media }: ImportedConversation) {
  const walked = [...commands]
  const files: Media[] = [...media, ...walked.flatMap((command) => command.media ?? [])]
  return {
    conversationId,
    format,
    commands: walked.map(({ media: _media, ...command }) => command),
    media: files.toSorted((a, b) => (a.hash < b.hash ? -1 : 1)),
  }
}

function outcome(read: () => ImportedFile<ImportedConversation>) {
  try {
    const { conversations, ...rest } = read()
    return { ...rest, conversations: conversations.map(plain) }
  } catch (error) {
    if (isColloquyError(error, 'import_refused')) return error.details
    throw error
  }
}

const held = (content: string | Uint8Array, options: ImportOptions = {}) =>
  outcome(() => importFile({ source: 'file', content, sha256, options }))
const streamed = (content: string | Uint8Array, options: ImportOptions = {}) =>
  outcome(() => {
    const bytes = typeof content === 'string' ? utf8.encode(content) : content
    return importFile({ source: 'file', content: pieces(bytes), sha256, options: { ...options, heldBytes: 0 } })
  })

const sample = readFileSync(new URL('../../packages/cli/samples/claude-code.jsonl', import.meta.url), 'utf8')

describe.each(['claude-code', 'codex', 'pi'])('real files in %s', (folder) => {
  test.each(realNames(folder))('%s', (name) => {
    const content = readReal(`${folder}/${name}`) ?? ''
    expect(streamed(content)).toEqual(held(content))
  })
})

test('the commands of a streamed file are made anew in each walk, and are not held', () => {
  const content = pieces(utf8.encode(sample))
  const file = importFile({ source: 'file', content, sha256, options: { heldBytes: 0 } })
  const [session] = file.conversations
  expect(Array.isArray(session?.commands)).toBe(false)
  const [first, second] = [[...(session?.commands ?? [])], [...(session?.commands ?? [])]]
  expect(second).toEqual(first)
  expect(second[0]).not.toBe(first[0])
  expect(session?.checked?.actions).toBe(first.reduce((sum, { actions }) => sum + actions.length, 0))
})

test('a list of records, each in a line, is no JSON lines and is held', () => {
  const records = sample.trimEnd().split('\n')
  expect(streamed(`[\n${records.join(',\n')}\n]\n`)).toEqual(held(sample))
})

/** More than is kept of a file at once: prompts of 44 KB each, with characters of one to four bytes. */
const longSession = `\ufeff${Array.from({ length: 120 }, (_, n) => {
  const message = { role: 'user', content: `${n} ${'a – 😀 '.repeat(4000 + n)}` }
  return JSON.stringify({ type: 'user', uuid: `u${n}`, sessionId: 's', parentUuid: n === 0 ? null : `u${n - 1}`, message })
}).join('\r\n')}`

test('lines that cross the pieces in which a file is read, and characters that do, are read whole', () => {
  expect(utf8.encode(longSession).length).toBeGreaterThan(5 * 2 ** 20)
  expect(streamed(longSession)).toEqual(held(longSession))
  expect(held(longSession)).toMatchObject({ records: 120 })
})

test.each<[string, string | Uint8Array, ImportOptions]>([
  ['a cut last line', `${sample.trimEnd()}\n{"type":"user","uu`, {}],
  ['a cut last line that may be', `${sample.trimEnd()}\n{"type":"user","uu\n \n`, { allowTruncated: true }],
  ['a bad line in the middle', `${sample}{"type":\n${sample}`, {}],
  ['bad lines that are kept', `nonsense\n${sample}{"type":\nnull nonsense\n`, { keepBadLines: true, allowTruncated: true }],
  ['records glued together', sample.replaceAll('}\n{', '}{'), {}],
  ['numbers and keys that JSON here would change', `${sample}{"type":"x","a":9007199254740993,"b":{"c":1,"c":2}}\n`, {}],
  ['a record that is kept as text', `${sample}{"type":"x","type":"y"} {"uuid":1}\n`, {}],
  ['a key with an escape', `${sample}{"type":"x","k\\n":1}\n{"type":"x","k\\t":2}\n`, {}],
  ['another id', sample, { conversationId: 'mine' }],
  ['a NUL byte', `${sample}{"a":"\0"}\n`, {}],
  ['bytes that are not UTF-8', Uint8Array.from([...utf8.encode(sample), 0xff, 0xfe, 0x0a]), {}],
  ['a record too large for an envelope', sample, { envelopeBytes: 700 }],
  ['a raw copy too large for an envelope', `${sample}{"type":"x","a":"${'y'.repeat(2 ** 20)}"}\n`, {}],
])('%s', (_, content, options) => {
  expect(streamed(content, options)).toEqual(held(content, options))
})

test('a key with an escape is read as it is written, whatever was read before', () => {
  const line = (key: string) => `{"type":"x","uuid":"u","sessionId":"s","o":{"${key}":1}}`
  for (const [content, key] of [
    [line('a\\n'), 'a\n'] as const,
    [line('a\\t'), 'a\t'] as const,
    [line('b\\u0041'), 'bA'] as const,
  ]) {
    for (const read of [held, streamed])
      expect(JSON.stringify(read(`${content}\n{"a":1}`))).toContain(JSON.stringify({ [key]: 1 }))
  }
})

test('a line of a long file may have 16 MiB, and a document 64 MiB', () => {
  const long = `{"type":"user","sessionId":"s","uuid":"u","message":{"content":"${'x'.repeat(2 ** 24)}"}}`
  expect(streamed(`${sample}${long}\n`)).toMatchObject({
    line: sample.split('\n').length,
    problem: expect.stringContaining('16777216'),
  })
  const size = 2 ** 26 + 1
  const content: ByteSource = { size, read: (target) => target.fill(0x20).length }
  expect(outcome(() => importFile({ source: 'file', content, sha256 }))).toMatchObject({ line: 1 })
})

test.each<[string, (bytes: Uint8Array) => Uint8Array, string]>([
  ['shorter', (bytes) => bytes.subarray(0, 1000), 'the file became shorter while it was imported'],
  ['another one', (bytes) => bytes.fill(0x7b), 'the line was changed while the file was imported'],
])('a file that has become %s when it is read again is refused', (_, change, problem) => {
  let bytes: Uint8Array = utf8.encode(longSession)
  const content: ByteSource = { size: bytes.length, read: (target, from) => pieces(bytes).read(target, from) }
  const file = importFile({ source: 'file', content, sha256, options: { heldBytes: 0 } })
  bytes = change(bytes)
  expect(() => file.conversations.map(({ commands }) => [...commands])).toThrow(problem)
})

test('hostile lines are imported or refused alike, held or streamed', () => {
  const change = fc.tuple(
    fc.array(fc.nat(12), { minLength: 1, maxLength: 6 }),
    strangeValue('c1', 'a1', 'm1', 'assistant', 'tool'),
  )
  const lists = [
    sample
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line)),
    ...agentLists,
  ]
  const lines = fc
    .constantFrom(...lists)
    .chain((list) =>
      fc.array(
        fc.tuple(
          fc.constantFrom(...list),
          fc.array(change, { maxLength: 2 }),
          fc.constantFrom('\n', '\n', '\n', '', '\n\n', 'x\n', '{"a":\n'),
        ),
        { minLength: 1, maxLength: 8 },
      ),
    )
  fc.assert(
    fc.property(lines, fc.option(fc.nat(200), { freq: 5 }), fc.boolean(), (records, cut, isLenient) => {
      const whole = records
        .map(([record, changes, end]) => {
          const copy: unknown = structuredClone(record)
          for (const [steps, value] of changes) mutate(copy, steps, structuredClone(value))
          return JSON.stringify(copy) + end
        })
        .join('')
      const content = cut === null ? whole : whole.slice(0, -cut || undefined)
      const options = isLenient ? { allowTruncated: true, keepBadLines: true } : {}
      expect(streamed(content, options)).toEqual(held(content, options))
    }),
    { numRuns: runs(2_000) },
  )
})
