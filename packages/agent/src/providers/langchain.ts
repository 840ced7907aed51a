import type { JsonObject, Message, Usage } from '@colloquy/core'
import { type OpenPart, toolArguments } from '@colloquy/formats'
import type { BaseChatModel } from '@langchain/core/language_models/chat_models'
import {
  type AIMessageChunk,
  mapStoredMessagesToChatMessages,
  type StoredMessage,
  type UsageMetadata,
} from '@langchain/core/messages'
import type { Model } from '../model.ts'
import { type AnswerWriter, append, openAnswer } from './answer-writer.ts'
import { langChainEncoder } from './encoders.ts'
import { jsonOf } from './json-of.ts'

export interface LangChainModelOptions {
  readonly id: string
  /** Who serves it: `mistral`, `bedrock`, ... Default 'langchain'. */
  readonly provider?: string
}

/** Any chat model of LangChain. Construct it with `maxRetries: 0`: its own tries (6 by default) would multiply with ours. */
export function langChainModel(model: BaseChatModel, options: LangChainModelOptions): Model {
  const { id, provider = 'langchain' } = options
  return {
    provider,
    id,
    encoder: langChainEncoder,
    async *stream(body, { signal }) {
      const { messages, tools, options: settings = {} } = body as unknown as StoredBody
      const writer = openAnswer({ provider, api: 'langchain', model: id })
      const reader = readChunks(writer)
      yield* writer.drain()
      let failure: { readonly error: unknown } | undefined
      try {
        const bound = tools === undefined || model.bindTools === undefined ? model : model.bindTools([...tools])
        const stream = await bound.stream(mapStoredMessagesToChatMessages([...messages]), { ...settings, signal })
        for await (const chunk of stream) {
          reader.take(chunk)
          yield* writer.drain()
          if (signal.aborted) break
        }
      } catch (error) {
        failure = { error }
      }
      reader.end(failure !== undefined || signal.aborted)
      yield* writer.drain()
      if (failure !== undefined && !signal.aborted) throw failure.error
    },
  }
}

interface StoredBody {
  readonly messages: readonly StoredMessage[]
  readonly tools?: readonly JsonObject[]
  readonly options?: JsonObject
}

interface OpenCall {
  readonly index: number | string | undefined
  readonly part: OpenPart
  readonly callId: string
  name: string
}

function readChunks({ answer }: AnswerWriter): { take(chunk: AIMessageChunk): void; end(isCut: boolean): void } {
  let text: OpenPart | undefined
  let reasoning: OpenPart | undefined
  const calls: OpenCall[] = []
  let metadata: JsonObject = {}
  let usage: UsageMetadata | undefined

  const say = (piece: string): void => {
    if (piece === '') return
    text ??= answer.open('text')
    append(text, 'text', piece)
  }
  const think = (piece: string): void => {
    if (piece === '') return
    reasoning ??= answer.open('reasoning')
    append(reasoning, 'reasoning', piece)
  }

  const takeBlock = (block: JsonObject): void => {
    const type = typeof block.type === 'string' ? block.type : 'unknown'
    if (typeof block.text === 'string') say(block.text)
    else if (typeof block.reasoning === 'string') think(block.reasoning)
    else if (typeof block.thinking === 'string') think(block.thinking)
    // Calls come as `tool_call_chunks` too; what else there is stays as it is.
    else if (!callBlocks.has(type)) answer.add({ type: 'custom', kind: `langchain.${type}`, payload: block })
  }

  const takeCall = (chunk: { index?: number | string; id?: string; name?: string; args?: string }): void => {
    const { index, id, name, args = '' } = chunk
    let call = calls.find((open) => (index !== undefined && open.index === index) || (id !== undefined && open.callId === id))
    if (call === undefined && id === undefined && name === undefined) call = calls.at(-1)
    if (call === undefined) {
      const callId = id ?? `call_${index ?? calls.length}`
      call = { index, callId, name: name ?? '', part: answer.open('tool_call', { callId, ...(name !== undefined && { name }) }) }
      calls.push(call)
    } else if (call.name === '' && name !== undefined) call.name = name
    append(call.part, 'arguments', args)
  }

  return {
    take: (chunk) => {
      const { content, tool_call_chunks = [], usage_metadata, response_metadata, id } = chunk
      const thought = chunk.additional_kwargs?.reasoning_content
      if (typeof thought === 'string') think(thought)
      if (typeof content === 'string') say(content)
      else for (const block of content) takeBlock(jsonOf(block) as JsonObject)
      for (const call of tool_call_chunks) takeCall(call)
      // A model that does not stream brings its calls whole.
      if (tool_call_chunks.length === 0) {
        for (const { id: callId, name, args } of chunk.tool_calls ?? []) {
          takeCall({ name, args: JSON.stringify(args), ...(callId !== undefined && { id: callId }) })
        }
      }
      metadata = { ...metadata, ...(jsonOf(response_metadata ?? {}) as JsonObject) }
      usage = usage_metadata ?? usage
      if (id !== undefined) answer.identify({ responseId: id })
    },
    end: (isCut) => {
      const model = metadata.model_name ?? metadata.model
      if (typeof model === 'string') answer.identify({ model })
      reasoning?.finish({ type: 'reasoning', text: reasoning.text(), redacted: false })
      text?.finish({ type: 'text', text: text.text() })
      for (const { part, callId, name } of calls) {
        part.finish({ type: 'tool_call', callId, name, args: toolArguments(part.text(), !isCut), executor: { kind: 'client' } })
      }
      if (usage !== undefined) answer.report(usageOf(usage))
      if (!isCut) answer.stop(stopOf(metadata, calls.length > 0))
      answer.end({ interrupted: isCut })
    },
  }
}

const callBlocks: ReadonlySet<string> = new Set(['tool_use', 'tool_call', 'tool_call_chunk', 'input_json_delta'])

/** LangChain's input counts what the cache had; ours does not. */
function usageOf(usage: UsageMetadata): Usage {
  const { cache_read: cacheRead = 0, cache_creation: written = 0 } = usage.input_token_details ?? {}
  return {
    input: Math.max(0, usage.input_tokens - cacheRead - written),
    output: usage.output_tokens,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: written },
    reasoning: usage.output_token_details?.reasoning ?? 0,
    raw: jsonOf(usage),
  }
}

type Stop = NonNullable<NonNullable<Message['model']>['stop']>

/** Each integration has the provider's own word, under the provider's own name. */
function stopOf(metadata: JsonObject, hasCalls: boolean): Stop {
  const said = metadata.finish_reason ?? metadata.stop_reason ?? metadata.finishReason ?? metadata.stopReason
  const raw = typeof said === 'string' ? said : null
  if (hasCalls) return { unified: 'tool_calls', raw }
  const unified = raw === null ? 'end' : Object.hasOwn(stops, raw) ? stops[raw] : undefined
  return { unified: unified ?? 'other', raw }
}

const stops: Readonly<Record<string, Stop['unified']>> = {
  stop: 'end',
  end_turn: 'end',
  STOP: 'end',
  length: 'length',
  max_tokens: 'length',
  MAX_TOKENS: 'length',
  stop_sequence: 'stop_sequence',
  tool_calls: 'tool_calls',
  tool_use: 'tool_calls',
  pause_turn: 'pause',
  refusal: 'refusal',
  content_filter: 'content_filter',
  SAFETY: 'content_filter',
}
