import type { ImportedFile } from '@colloquy/core'
import { expect, test } from 'vitest'
import { messagesOf, payloadsOf } from './imported.ts'
import { describeRealFiles, resolved } from './real-files.ts'

type Fields = Record<string, unknown>
interface Exchange {
  readonly uri: string
  readonly request: Fields & { readonly messages?: readonly Fields[]; readonly input?: readonly Fields[] }
  readonly response: string | (Fields & { readonly usage: Fields })
}

/** Counted by hand in each file: a conversation is what somebody would read as one, each message once. */
const counted: Readonly<Record<string, { conversations: number; messages: number; calls: number; unanswered: number }>> = {
  'compact-stateful.json': { conversations: 1, messages: 8, calls: 0, unanswered: 0 },
  'encrypted-reasoning-round-trip.json': { conversations: 1, messages: 6, calls: 2, unanswered: 0 },
  'interleaved-reasoning.json': { conversations: 1, messages: 8, calls: 8, unanswered: 5 },
  'multi-tool-gpt5nano.json': { conversations: 1, messages: 9, calls: 3, unanswered: 0 },
  'tool-search-handoff-3-providers.json': { conversations: 1, messages: 13, calls: 4, unanswered: 0 },
  'multi-turn-stream-tools.json': { conversations: 1, messages: 8, calls: 2, unanswered: 0 },
  'parallel-tools.json': { conversations: 1, messages: 4, calls: 2, unanswered: 0 },
  'prompt-cache-round-trip.json': { conversations: 2, messages: 4, calls: 0, unanswered: 0 },
  'thinking-signatures.json': { conversations: 1, messages: 4, calls: 0, unanswered: 0 },
  'web-search-replay.json': { conversations: 1, messages: 4, calls: 1, unanswered: 0 },
}

const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0)

/** Tokens of an answer with what was cached, which OpenAI counts in and Anthropic beside. */
function tokensOf({ response }: Exchange): [input: number, output: number] {
  if (typeof response !== 'string') {
    const {
      input_tokens: input,
      output_tokens: output,
      cache_read_input_tokens: read,
      cache_creation_input_tokens: written,
    } = response.usage
    return [numberOf(input) + numberOf(read) + numberOf(written), numberOf(output)]
  }
  // The last figures of a stream are those of the answer.
  const last = (name: string): number => Number([...response.matchAll(new RegExp(`"${name}":(\\d+)`, 'g'))].at(-1)?.[1] ?? 0)
  return [last('input_tokens'), last('output_tokens')]
}

for (const [folder, files] of [
  ['openai-responses', 5],
  ['anthropic-messages', 5],
] as const) {
  describeRealFiles(
    folder,
    'exchanges',
    files,
    (value, name) => {
      const all = value as Exchange[]
      const { conversations, messages, calls, unanswered } = counted[name] as (typeof counted)[string]
      const tokens = all.map(tokensOf)
      return {
        records: all.length,
        conversations,
        messages,
        calls,
        unanswered,
        input: tokens.reduce((sum, [input]) => sum + input, 0),
        output: tokens.reduce((sum, [, output]) => sum + output, 0),
      }
    },
    (file, read) => {
      test('every exchange can be put together again from the actions, to the last field', () => {
        const { value, imported } = read()
        expect(rebuiltExchanges(imported)).toEqual(value)
      })

      test('no message is stored twice: each answer has its words in one place', () => {
        const { imported } = read()
        const ids = imported.conversations.flatMap(messagesOf).map(({ id }) => id)
        expect(new Set(ids).size).toBe(ids.length)
        for (const { response } of read().value as Exchange[]) {
          const id = typeof response === 'string' ? /"id":"(msg_\w+)"/.exec(response)?.[1] : response.id
          expect(ids.filter((each) => each === id)).toHaveLength(1)
        }
      })

      if (file !== 'compact-stateful.json') return
      test('the compaction is the part that the provider gave, once, and the later call names no second one', () => {
        const parts = read()
          .imported.conversations.flatMap(messagesOf)
          .flatMap((message) => message.parts)
        const [given] = (read().value as Exchange[])
          .flatMap(({ response }) => (response as unknown as { output: Fields[] }).output)
          .filter(({ type }) => type === 'compaction')
        expect(parts.filter(({ type }) => type === 'compaction')).toMatchObject([{ opaque: given?.encrypted_content }])
      })
    },
  )
}

/** The exchanges of a file: fields and messages that an earlier one has, and words that stand in messages, in their places again. */
function rebuiltExchanges(file: ImportedFile): unknown[] {
  const messages = new Map(file.conversations.flatMap(messagesOf).map((message) => [message.id, message]))
  const kept = file.conversations.flatMap((each) => payloadsOf(each, 'foreignRecordKept')) as { line: number; record: Fields }[]
  const whole = new Map<number, Exchange>()
  for (const { line, record } of kept.sort((a, b) => a.line - b.line)) {
    const { $as: as, ...rest } = resolved(record, (id) => messages.get(id)) as Fields & {
      $as?: { exchange: number; fields: string[]; messages: number }
    }
    const own = rest as unknown as Exchange
    const earlier = as && whole.get(as.exchange)
    const listKey = own.request.input ? 'input' : 'messages'
    const list = [...(earlier?.request[listKey] ?? []).slice(0, as?.messages ?? 0), ...(own.request[listKey] ?? [])]
    const shared = Object.fromEntries((as?.fields ?? []).map((field) => [field, earlier?.request[field]]))
    whole.set(line, { ...own, request: { ...shared, ...own.request, [listKey]: list } })
  }
  return [...whole.values()]
}
