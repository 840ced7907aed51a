import type { Json, JsonObject, Media, Message, Sha256, Usage } from '@colloquy/core'
import { anthropicMessages } from '../../codecs/anthropic-messages.ts'
import type { Codec } from '../../codecs/codec.ts'
import { openaiChat } from '../../codecs/openai-chat.ts'
import { openaiResponses } from '../../codecs/openai-responses.ts'
import { createStreamDecoder, detectStream } from '../../streams/detect-stream.ts'
import { asCount, asId, asList, asObject, asString } from '../fields.ts'
import { callUsage } from './call-usage.ts'

export type Api = 'anthropic' | 'responses' | 'chat'

/** A request with its response, of one of the three APIs. */
export interface Exchange {
  readonly api: Api
  readonly fields: JsonObject
  readonly request: JsonObject
  /** The name of the field of the request that holds the conversation. */
  readonly listKey: 'messages' | 'input'
  readonly list: readonly Json[]
}

/** What came back. */
export interface Answer {
  readonly messages: readonly Message[]
  readonly media: readonly Media[]
  readonly responseId: string | undefined
  readonly model: Message['model']
  readonly usage: Usage | undefined
  /** Microseconds since 1970: when the answer was begun, and when it was whole. */
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** What the provider said instead of an answer, or in the middle of one. */
  readonly problem: string | undefined
}

const codecs = {
  anthropic: anthropicMessages,
  responses: openaiResponses,
  chat: openaiChat,
} as const satisfies Record<Api, Codec<unknown>>

/** Undefined: it is no exchange of these APIs. */
export function readExchange(value: Json): Exchange | undefined {
  const fields = asObject(value)
  const request = asObject(fields?.request)
  if (fields === undefined || request === undefined || fields.response === undefined) return undefined
  const input = typeof request.input === 'string' ? [{ role: 'user', content: request.input }] : asList(request.input)
  if (input !== undefined) return { api: 'responses', fields, request, listKey: 'input', list: input }
  const messages = asList(request.messages)
  if (messages === undefined) return undefined
  return { api: isChat(fields) ? 'chat' : 'anthropic', fields, request, listKey: 'messages', list: messages }
}

function isChat({ uri, response }: JsonObject): boolean {
  if (typeof uri === 'string') return uri.includes('/chat/completions')
  return asObject(response)?.choices !== undefined || (typeof response === 'string' && detectStream(response) === 'openai-chat')
}

export interface Decoding {
  readonly sha256: Sha256
}

/** The messages of the request, and its system prompt apart from them. @throws what the codec throws */
export function decodeRequest({ api, request, listKey, list }: Exchange, { sha256 }: Decoding) {
  const context = { sha256, ids: counter() }
  const { messages, media } = codecs[api].decode({ [listKey]: list }, context)
  const promptKey = api === 'responses' ? 'instructions' : 'system'
  const prompt = request[promptKey]
  const system =
    prompt === undefined || prompt === null ? [] : codecs[api].decode({ [promptKey]: prompt, [listKey]: [] }, context).messages
  return { messages, media, system }
}

/** @throws what the codec throws */
export function decodeAnswer(exchange: Exchange, { sha256 }: Decoding): Answer {
  const { api, fields } = exchange
  const { response } = fields
  if (typeof response === 'string') return decodeStream(response, { sha256 })
  const whole = asObject(response)
  const error = asObject(whole?.error)
  const status = asCount(fields.status)
  const list = whole && answerList(api, whole)
  const base = {
    responseId: asId(whole?.id),
    startedAt: seconds(whole?.created_at ?? whole?.created),
    endedAt: seconds(whole?.completed_at) ?? seconds(whole?.created_at ?? whole?.created),
    usage: callUsage(api, whole?.usage),
    model: whole && modelOf(api, whole),
  }
  if (list === undefined || error !== undefined || (status !== undefined && status >= 400)) {
    const said = asString(error?.message) ?? asString(whole?.error) ?? asString(whole?.message) ?? asString(whole?.detail)
    return {
      ...base,
      messages: [],
      media: [],
      problem: said ?? `the call failed${status === undefined ? '' : ` with status ${status}`}`,
    }
  }
  const { messages, media } = codecs[api].decode({ [exchange.listKey]: list }, { sha256, ids: counter() })
  return { ...base, messages, media, problem: undefined }
}

/** The answer as the API would be sent it back. */
function answerList(api: Api, response: JsonObject): readonly Json[] | undefined {
  switch (api) {
    case 'anthropic': {
      const content = asList(response.content)
      return content && [{ role: 'assistant', content }]
    }
    case 'responses':
      return asList(response.output)
    case 'chat': {
      const message = asObject(asObject(asList(response.choices)?.[0])?.message)
      return message && [message]
    }
    default:
      return api satisfies never
  }
}

/** The body of a streamed answer, as it was sent. */
function decodeStream(text: string, { sha256 }: Decoding): Answer {
  const format = detectStream(text)
  const nothing = {
    messages: [],
    media: [],
    responseId: undefined,
    model: undefined,
    usage: undefined,
    startedAt: undefined,
    endedAt: undefined,
  }
  if (format === undefined) return { ...nothing, problem: 'the response is text that is no stream of a known API' }
  const decoder = createStreamDecoder(format, { sha256 })
  const events = [...decoder.push(text), ...decoder.end()]
  const ended = events.find((event) => event.type === 'answerEnded')
  const failed = events.find((event) => event.type === 'errorReported')
  const problem = failed?.error.message ?? (ended?.interrupted ? 'the stream was cut' : undefined)
  if (ended === undefined) return { ...nothing, problem: problem ?? 'the stream holds no answer' }
  const { model, ...message } = ended.message
  const { usage, ...said } = model ?? {}
  const reported = events.findLast((event) => event.type === 'usageReported' && event.messageId === message.id)
  return {
    ...nothing,
    messages: [message],
    media: ended.media,
    responseId: asId(model?.responseId),
    model: model && (said as Message['model']),
    usage: reported?.type === 'usageReported' ? reported.usage : usage,
    problem,
  }
}

const stops = {
  end_turn: 'end',
  stop: 'end',
  completed: 'end',
  max_tokens: 'length',
  max_output_tokens: 'length',
  length: 'length',
  stop_sequence: 'stop_sequence',
  tool_use: 'tool_calls',
  tool_calls: 'tool_calls',
  pause_turn: 'pause',
  refusal: 'refusal',
  content_filter: 'content_filter',
  compaction: 'compaction',
  model_context_window_exceeded: 'length',
  failed: 'error',
  cancelled: 'interrupted',
} as const

const providers = { anthropic: 'anthropic', responses: 'openai', chat: 'openai' } as const
const apiNames = { anthropic: 'messages', responses: 'responses', chat: 'chat' } as const

function modelOf(api: Api, response: JsonObject): Message['model'] {
  const id = asString(response.model)
  if (!id) return undefined
  const responseId = asString(response.id)
  const raw =
    asString(response.stop_reason) ??
    asString(asObject(asList(response.choices)?.[0])?.finish_reason) ??
    asString(asObject(response.incomplete_details)?.reason) ??
    asString(response.status)
  const hasCall = raw === 'completed' && (asList(response.output) ?? []).some((item) => asObject(item)?.type === 'function_call')
  const unified = raw !== undefined && Object.hasOwn(stops, raw) ? stops[raw as keyof typeof stops] : 'other'
  return {
    provider: providers[api],
    api: apiNames[api],
    id,
    ...(responseId !== undefined && { responseId }),
    ...(raw !== undefined && { stop: { unified: hasCall ? 'tool_calls' : unified, raw } }),
  }
}

/** Ids are given when it is known where a message belongs; until then any will do. */
function counter(): () => string {
  let n = 0
  return () => `decoded-${++n}`
}

function seconds(value: Json | undefined): number | undefined {
  if (typeof value !== 'number') return undefined
  const time = Math.round(value * 1_000_000)
  return Number.isSafeInteger(time) ? time : undefined
}
