/** Over recorded streams, which are not part of the repository: without them every test here is skipped and says so. */
import { readFileSync } from 'node:fs'
import { canonicalJson, type Message, type Part } from '@colloquy/core'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { createStreamDecoder, detectStream } from '../../packages/formats/src/streams/detect-stream.ts'
import { partsOfItem } from '../../packages/formats/src/streams/responses-items.ts'
import { sha256 } from '../support/core-log.ts'
import { files, isMissing, root } from './recorded-streams.ts'
import { runs } from './runs.ts'
import { type Chunk, callsOf, type Decoded, decode, decodedFrom, only, partsOf, problemsWith } from './streams-decoded.ts'

const table: Record<string, unknown>[] = []

describe.skipIf(isMissing)(`recorded streams${isMissing ? ' (skipped: ../shared/data is not beside this checkout)' : ''}`, () => {
  afterAll(() => console.table(table))

  test('are all there', () => {
    expect(files).toHaveLength(91)
  })

  test.each(files)('$path decodes whole', ({ path, format }) => {
    const bytes = bytesOf(path)
    expect(detectStream(bytes)).toBe(format)
    const decoded = decode(format, bytes)
    expect(problemsWith(decoded)).toEqual([])
    table.push(rowOf(path, decoded))
    const { answers, events } = counted(path)
    expect(decoded.messages).toHaveLength(answers)
    expect(events).toBeGreaterThan(0)
    expect(decoded.notices.map(({ kind, problem }) => `${kind}: ${problem}`)).toEqual(notices[path] ?? [])
    expect(decoded.ended.filter(({ interrupted }) => interrupted)).toHaveLength(interrupted.has(path) ? 1 : 0)
    expect(callsOf(decoded).filter(({ args }) => !args.valid)).toHaveLength(path.includes('incomplete-partial-json') ? 1 : 0)
  })

  test.each(files)('$path is the same however it is cut into chunks', ({ path, format }) => {
    const bytes = bytesOf(path)
    const whole = canonicalJson(decode(format, bytes).events)
    const same = (chunks: readonly Chunk[]) => expect(canonicalJson(decode(format, chunks).events)).toBe(whole)

    same([...bytes].map((byte) => Uint8Array.of(byte)))
    for (const at of boundaries(bytes.length)) same([bytes.subarray(0, at), bytes.subarray(at)])
    // Text that was decoded elsewhere, cut inside of surrogate pairs too.
    same(bytes.toString('utf8').split(''))
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(bytes.length), { maxLength: 40 }), (places) => {
        same(cutAt(bytes, places))
      }),
      { numRuns: runs(10, 100) },
    )
  })

  test.each(files)('$path keeps what arrived wherever it is cut off', ({ path, format }) => {
    const bytes = bytesOf(path)
    const whole = decode(format, bytes)
    const lengths: number[] = []
    for (const at of sample(bytes.length, 60)) {
      const cut = decode(format, bytes.subarray(0, at))
      expect(problemsWith(cut)).toEqual([])
      lengths.push(lengthOf(cut))
    }
    // More bytes never give less; the pieces of a call that is cut are kept as text.
    expect(lengths).toEqual([...lengths].sort((a, b) => a - b))
    expect(lengths.at(-1) ?? 0).toBeLessThanOrEqual(lengthOf(whole))
  })

  test.each(files.filter(({ format }) => format === 'openai-responses'))('$path is what response.completed says', ({ path }) => {
    const finals = payloadsOf(path).filter(({ type }) => type === 'response.completed')
    const { messages } = decode('openai-responses', bytesOf(path))
    for (const [at, final] of finals.entries()) {
      const { output, usage, model, status, id } = final.response as ResponseObject
      const message = messages[at] as Message
      // At the gateway that gives each event new ids, the last response has another id than the first.
      expect(message.model?.responseId).toBe(path.includes('id-rotation') ? 'capture-id-1' : id)
      expect(message.model?.id).toBe(model)
      expect(message.model?.stop?.raw).toBe(status)
      expect(message.model?.usage?.raw).toEqual(usage)
      const putMedia = () => undefined
      const expected = output.flatMap((item, index) => partsOfItem(item as never, { index, isWhole: true, putMedia }))
      expect(message.parts.map(withoutIds)).toEqual(expected.map(withoutIds))
    }
  })

  test.each(files.filter(({ format }) => format === 'anthropic'))(
    '$path has the texts, inputs and usage of its events',
    ({ path }) => {
      const payloads = payloadsOf(path)
      const decoded = decode('anthropic', bytesOf(path))
      const joined = (field: string) => payloads.map(({ delta }) => textIn(delta, field)).join('')
      const reasoning = partsOf(decoded).map((part) => (part.type === 'reasoning' ? (part.text ?? '') : ''))
      expect(
        partsOf(decoded)
          .map((part) => (part.type === 'text' ? part.text : ''))
          .join(''),
      ).toBe(joined('text'))
      expect(reasoning.join('')).toBe(joined('thinking'))
      const streamed = callsOf(decoded).filter(({ caller }) => (caller as Fields | undefined)?.tool_id === undefined)
      expect(streamed.map(({ args }) => (args.raw === '{}' ? '' : args.raw)).join('')).toBe(joined('partial_json'))
      expect(decoded.messages.map(({ model }) => model?.usage?.output)).toEqual(outputsOf(payloads))
    },
  )

  test.each(files.filter(({ format }) => format === 'openai-chat'))(
    '$path has the texts and arguments of its chunks',
    ({ path }) => {
      const chunks = payloadsOf(path)
      const decoded = decode('openai-chat', bytesOf(path))
      for (const { choice, message } of choicesOf(decoded)) {
        const deltas = chunks.flatMap(({ choices }) =>
          ((choices ?? []) as ChunkChoice[]).filter(({ index }) => (index ?? 0) === choice).map(({ delta }) => delta ?? {}),
        )
        const joined = (field: string) => deltas.map((delta) => textIn(delta, field)).join('')
        expect(message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')).toBe(joined('content'))
        expect(message.parts.map((part) => (part.type === 'refusal' ? part.text : '')).join('')).toBe(joined('refusal'))
        const thoughts = message.parts.map((part) => (part.type === 'reasoning' ? (part.text ?? '') : '')).join('')
        expect(thoughts).toBe(joined('reasoning_content') + joined('reasoning'))
        const written = deltas.flatMap((delta) => (delta.tool_calls ?? []) as { function?: { arguments?: string | null } }[])
        const args = callsOf(decoded).map((call) => (call.args.raw === '{}' ? '' : call.args.raw))
        expect(args.join('')).toBe(
          written
            .map((call) => call.function?.arguments ?? '')
            .join('')
            .replaceAll('{}', ''),
        )
      }
    },
  )

  test.each(files)('$path gives a sound message however it is damaged', ({ path, format }) => {
    const lines = bytesOf(path).toString('utf8').split('\n')
    const damage = fc.record({
      kind: fc.constantFrom('drop', 'repeat', 'swap', 'cut', 'flip'),
      at: fc.nat(lines.length - 1),
      to: fc.nat(lines.length - 1),
      char: fc.nat(400),
      value: fc.constantFrom('{', '}', '"', '\\', '0', 'null', '[', '\u0000', '\ud800', '-1', 'e9', '__proto__'),
    })
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (damages) => {
        const damaged = damages.reduce((before, { kind, at, to, char, value }) => {
          const line = before[at] ?? ''
          if (kind === 'drop') return before.toSpliced(at, 1)
          if (kind === 'repeat') return before.toSpliced(to, 0, line)
          if (kind === 'swap') return before.toSpliced(at, 1, before[to] ?? '').toSpliced(to, 1, line)
          if (kind === 'cut') return before.toSpliced(at, 1, line.slice(0, char))
          return before.toSpliced(at, 1, line.slice(0, char) + value + line.slice(char + 1))
        }, lines)
        expect(problemsWith(decode(format, damaged.join('\n')))).toEqual([])
      }),
      { numRuns: 60 },
    )
  })

  test('the two connections of a background response give one message, wherever the first was lost', () => {
    const [first, second] = [
      bytesOf('openai-responses/pyai-background-full.sse'),
      bytesOf('openai-responses/pyai-background-resume.sse'),
    ]
    const expected = only(decode('openai-responses', first).messages)
    for (let at = 0; at <= first.length; at += 7) {
      const decoder = createStreamDecoder('openai-responses', { sha256 })
      const events = decoder.push(first.subarray(0, at))
      decoder.reopen()
      events.push(...decoder.push(second), ...decoder.end())
      const decoded = decodedFrom(events)
      expect(problemsWith(decoded)).toEqual([])
      expect(only(decoded.messages)).toEqual(expected)
    }
  })
})

type Fields = Readonly<Record<string, unknown>>
interface ResponseObject {
  readonly id: string
  readonly model: string
  readonly status: string
  readonly usage: unknown
  readonly output: readonly unknown[]
}
interface ChunkChoice {
  readonly index?: number
  readonly delta?: Fields
}

/** What is in a file beside its messages. */
const notices: Readonly<Record<string, readonly string[]>> = {
  'anthropic/vercel-duplicate-message-start.jsonl': ['repeated: message_start of msg_dup came again'],
  'openai-compatible/pyai-groq-tool-use-failed-text.sse': ['unknown: the delta has a field "channel" that we do not know'],
  'openai-compatible/pyai-groq-tool-use-failed.sse': ['unknown: the delta has a field "channel" that we do not know'],
  'openai-responses/vercel-parallel-tool-call-wrapper.1.jsonl': [
    'unreadable: the JSON does not end',
    'unreadable: the JSON does not end',
  ],
}

const interrupted = new Set([
  'openai-compatible/pyai-groq-tool-use-failed-text.sse',
  'openai-compatible/pyai-groq-tool-use-failed.sse',
  'openai-responses/vercel-error.1.jsonl',
  // Its last line lacks a brace.
  'openai-responses/vercel-parallel-tool-call-wrapper.1.jsonl',
])

function bytesOf(path: string): Buffer {
  return readFileSync(new URL(path, root))
}

function textIn(fields: unknown, field: string): string {
  const text = (fields as Fields | undefined)?.[field]
  return typeof text === 'string' ? text : ''
}

/** The payloads, read in the plainest way: by line. */
function payloadsOf(path: string): Fields[] {
  return bytesOf(path)
    .toString('utf8')
    .split('\n')
    .flatMap((line) => {
      const text = line.trim().replace(/^data: /, '')
      try {
        return text.startsWith('{') ? [JSON.parse(text) as Fields] : []
      } catch {
        return []
      }
    })
}

/** Answers as counted in the payloads. */
function counted(path: string): { readonly answers: number; readonly events: number } {
  const payloads = payloadsOf(path)
  const ids = payloads.flatMap(({ type, message, response }) => {
    if (type === 'message_start') return [(message as Fields).id]
    return type === 'response.created' ? [(response as Fields).id] : []
  })
  const choices = payloads.flatMap(({ choices }) => ((choices ?? []) as ChunkChoice[]).map(({ index }) => index ?? 0))
  const answers = Math.max(new Set(ids).size, new Set(choices).size, payloads.length > 0 ? 1 : 0)
  return { answers, events: payloads.length }
}

function rowOf(path: string, decoded: Decoded): Record<string, unknown> {
  const { messages, errors, ended } = decoded
  const usages = messages.flatMap(({ model }) => model?.usage ?? [])
  const sum = (pick: (usage: (typeof usages)[number]) => number): number | string =>
    usages.length === 0 ? '-' : usages.reduce((total, usage) => total + pick(usage), 0)
  const stops = new Set(messages.map(({ model }) => `${model?.stop?.unified ?? '-'} (${model?.stop?.raw ?? '-'})`))
  const calls = callsOf(decoded)
  return {
    file: path,
    format: detectStream(bytesOf(path)),
    answers: messages.length,
    parts: partsOf(decoded).length,
    calls: calls.length,
    'input+cache': `${sum(({ input }) => input)}+${sum(({ cacheRead, cacheWrite }) => cacheRead + cacheWrite.ttl5m + cacheWrite.ttl1h + cacheWrite.other)}`,
    'output (reasoning)': `${sum(({ output }) => output)} (${sum(({ reasoning }) => reasoning)})`,
    stop: [...stops].join(', '),
    errors: errors.map(({ kind }) => kind).join(', '),
    interrupted: ended.some((event) => event.interrupted) ? 'yes' : '',
  }
}

/** Every place of a short file; of a long one the first and last 100, and 60 between them. */
/** Every place, of long files some: that takes hours, and bytes one by one are in another check. All of them with `COLLOQUY_RUNS=10000`. */
function boundaries(length: number): number[] {
  const all = Array.from({ length: length + 1 }, (_, at) => at)
  return length <= runs(2_000) ? all : all.filter((at) => at <= 100 || at >= length - 100 || at % Math.ceil(length / 60) === 0)
}

function sample(length: number, places: number): number[] {
  return Array.from({ length: places }, (_, i) => Math.floor(((i + 1) * length) / (places + 1)))
}

function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places].sort((a, b) => a - b)
  return [...ends, bytes.length].map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
}

const lengthOf = (decoded: Decoded): number =>
  partsOf(decoded).reduce((total, part) => {
    if (part.type === 'text' || part.type === 'refusal') return total + part.text.length
    if (part.type === 'reasoning') return total + (part.text ?? '').length + (part.summary ?? []).join('').length
    return part.type === 'tool_call' && part.executor.kind === 'client' && part.raw === undefined
      ? total + part.args.raw.length
      : total
  }, 0)

/** Ids, and what is encrypted, differ between an item's own event and its copy in the end. */
function withoutIds(part: Part): unknown {
  const text = JSON.stringify(part, (key, value: unknown) =>
    ['id', 'callId', 'call_id', 'encrypted', 'encrypted_content', 'fingerprint'].includes(key) ? 'differs' : value,
  )
  return JSON.parse(text)
}

/** Of each answer, the output tokens that were reported last. */
function outputsOf(payloads: readonly Fields[]): (number | undefined)[] {
  const outputs = new Map<unknown, number | undefined>()
  let id: unknown
  for (const { type, message, usage } of payloads) {
    if (type === 'message_start') ({ id } = message as Fields)
    const reported = ((type === 'message_start' ? (message as Fields).usage : usage) ?? {}) as { output_tokens?: number }
    if (reported.output_tokens !== undefined) outputs.set(id, reported.output_tokens)
  }
  return [...outputs.values()]
}

function choicesOf({ events, messages }: Decoded): { readonly choice: number; readonly message: Message }[] {
  return messages.map((message) => {
    const started = events.find((event) => event.type === 'answerStarted' && event.messageId === message.id)
    return { choice: started?.type === 'answerStarted' ? started.choice : 0, message }
  })
}
