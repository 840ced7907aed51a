/**
 * The stream of Chat Completions (https://platform.openai.com/docs/api-reference/chat-streaming), as OpenAI writes it and as the
 * many servers that are compatible with it do. One response holds `n` answers, whose chunks interleave.
 */
import type { Json, JsonObject } from '@colloquy/core'
import { asCount, asList, asObject, asString } from '../codecs/fields.ts'
import type { Session } from './answer.ts'
import { type Choice, endChoice, finishChoice, openChoice, takeDelta } from './chat-choice.ts'
import { chatUsage } from './chat-usage.ts'
import { createDecoder, type Dialect, type DialectReader, reportError } from './decoder.ts'
import { asText, asTime } from './fields.ts'
import type { StreamDecoder, StreamOptions } from './stream-event.ts'

export const openaiChat: Dialect = {
  provider: 'openai',
  api: 'chat',
  recognises: ({ object, choices }) => (asString(object)?.startsWith('chat.completion') ?? false) || Array.isArray(choices),
  start: readChat,
}

export const createOpenAIChatDecoder = (options: StreamOptions): StreamDecoder => createDecoder(openaiChat, options)

interface Response {
  readonly id: string | undefined
  readonly choices: Map<number, Choice>
  sources: readonly Json[]
  /** Fields of deltas that were noticed as unknown, once each. */
  readonly unknown: Set<string>
}

function readChat(session: Session): DialectReader {
  let response: Response | undefined

  const end = (how: 'whole' | 'cut' | 'failed'): void => {
    if (response === undefined) return
    for (const choice of response.choices.values()) endChoice(choice, response.sources, how)
    response = undefined
  }

  const choiceAt = (index: number, chunk: JsonObject): Choice => {
    const head = { responseId: asText(chunk.id), model: asText(chunk.model), createdAt: asTime(chunk.created) }
    response ??= { id: head.responseId, choices: new Map(), sources: [], unknown: new Set() }
    const known = response.choices.get(index)
    if (known !== undefined) {
      known.answer.identify(head)
      return known
    }
    const choice = openChoice(session.openAnswer({ ...head, choice: index }))
    response.choices.set(index, choice)
    return choice
  }

  const read = (chunk: JsonObject): void => {
    if (!openaiChat.recognises(chunk)) return session.notice('unknown', 'the event is no chunk of a chat completion', chunk)
    const entries = (asList(chunk.choices) ?? []).map((entry) => asObject(entry) ?? {})
    if (response !== undefined && isNext(response, chunk, entries)) end('whole')
    for (const entry of entries) {
      const choice = choiceAt(asCount(entry.index) ?? 0, chunk)
      // A server that ends with the whole message repeats what its deltas said.
      const delta = asObject(entry.delta) ?? (choice.answer.hasParts() ? {} : (asObject(entry.message) ?? {}))
      takeDelta(session, choice, delta, asObject(entry.logprobs))
      noticeUnknown(delta, chunk)
      const finish = asText(entry.finish_reason)
      if (finish !== undefined) finishChoice(choice, finish)
    }
    takeSources(chunk)
    takeUsage(chunk)
  }

  const noticeUnknown = (delta: JsonObject, chunk: JsonObject): void => {
    for (const [field, value] of Object.entries(delta)) {
      if (knownFields.has(field) || value === null || response === undefined || response.unknown.has(field)) continue
      if (response.unknown.size < 100) response.unknown.add(field)
      session.notice('unknown', `the delta has a field "${field}" that we do not know`, chunk)
    }
  }

  /** Of the whole response, so it goes to its first answer, once. Perplexity sends it with each chunk: the last counts. */
  const takeUsage = (chunk: JsonObject): void => {
    const usage = asObject(chunk.usage) ?? asObject(asObject(chunk.x_groq)?.usage)
    const first = response?.choices.values().next().value
    if (usage !== undefined && first !== undefined) first.answer.report(chatUsage(usage))
    else if (usage !== undefined) session.notice('unknown', 'usage came before any answer, or after its end', chunk)
  }

  const takeSources = (chunk: JsonObject): void => {
    const sources = asList(chunk.search_results) ?? asList(chunk.citations)
    if (response !== undefined && sources !== undefined) response.sources = sources
  }

  const openMessageId = (): string | undefined => response?.choices.values().next().value?.answer.messageId

  return {
    read,
    fail: (raw) => {
      reportError(session, openMessageId(), raw)
      end('failed')
    },
    done: () => end('whole'),
    end: () => end('cut'),
    openMessageId,
  }
}

/** Fields of a delta that are read, or say nothing of their own. */
const knownFields: ReadonlySet<string> = new Set([
  'role',
  'content',
  'refusal',
  'reasoning',
  'reasoning_content',
  'reasoning_details',
  'annotations',
  'tool_calls',
  'function_call',
  'index',
])

/** In files of payloads alone, `[DONE]` is lost: a new id with new content, when all choices have finished, is another response. */
function isNext(response: Response, chunk: JsonObject, entries: readonly JsonObject[]): boolean {
  const id = asText(chunk.id)
  if (id === undefined || response.id === undefined || id === response.id) return false
  if (![...response.choices.values()].every(({ finish }) => finish !== undefined)) return false
  return entries.some(({ delta }) => contentFields.some((field) => hasContent(asObject(delta)?.[field])))
}

const contentFields = ['content', 'reasoning_content', 'reasoning', 'refusal', 'tool_calls'] as const

const hasContent = (value: Json | undefined): boolean => asText(value) !== undefined || (asList(value)?.length ?? 0) > 0
