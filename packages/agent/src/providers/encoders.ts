/**
 * Requests as the bodies of the APIs. Each is pure and for ever: a manifest names the encoder, and years later the same bytes come
 * out of it. What a request's `config` says by our names (`maxTokens`, `temperature`, ...) becomes the API's; every other field of it
 * goes into the body as it is.
 */
import type { MediaLookup, ModelRequest, RequestEncoder, ToolSchema } from '@colloquy/context'
import type { Json, JsonObject, Message } from '@colloquy/core'
import { aiSdkModel, anthropicMessages, type Codec, langChainStored, openaiChat, openaiResponses } from '@colloquy/formats'

/** What our names of settings are in an API; null: it has none. */
type Names = Readonly<
  Record<'model' | 'maxTokens' | 'temperature' | 'topP' | 'topK' | 'stopSequences' | 'cacheKey', string | null>
>

/** Anthropic takes no request without a limit, so one that says none has this. */
const anthropicMaxTokens = 4_096

/**
 * Anthropic Messages, streamed. The stable prefix is marked for its prompt cache: the tools and the system prompt, the conversation up
 * to the present input, and all of it (the next call of the turn begins so). Marks that messages bring (`cacheHint`) are left alone,
 * and then none is added; the API takes four.
 */
export const anthropicEncoder: RequestEncoder = {
  id: 'anthropic.messages@1',
  encode: (request, media) => {
    const { system, messages } = bodyOf(anthropicMessages, request, media)
    const tools = request.tools.map((tool) => described(tool, { input_schema: tool.inputSchema }))
    const body = { ...settings(request, anthropicNames), system, tools, messages, stream: true }
    return cached(without({ max_tokens: anthropicMaxTokens, ...body }))
  },
}

const anthropicNames: Names = {
  model: 'model',
  maxTokens: 'max_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  stopSequences: 'stop_sequences',
  cacheKey: null,
}

/** OpenAI Responses, streamed; nothing is stored there, so encrypted reasoning is asked for. `cacheKey` becomes `prompt_cache_key`. */
export const openaiResponsesEncoder: RequestEncoder = {
  id: 'openai.responses@1',
  encode: (request, media) => {
    const names = { ...openaiNames, maxTokens: 'max_output_tokens', stopSequences: null }
    const tools = request.tools.map((tool) => ({
      type: 'function',
      ...described(tool, { parameters: tool.inputSchema }),
      strict: false,
    }))
    const include = ['reasoning.encrypted_content']
    return without({
      store: false,
      include,
      ...settings(request, names),
      ...bodyOf(openaiResponses, request, media),
      tools,
      stream: true,
    })
  },
}

/** OpenAI Chat Completions, and the many servers that speak it, streamed and with usage. */
export const openaiChatEncoder: RequestEncoder = {
  id: 'openai.chat@1',
  encode: (request, media) => {
    const tools = request.tools.map((tool) => ({
      type: 'function',
      function: described(tool, { parameters: tool.inputSchema }),
    }))
    const body = { ...settings(request, openaiNames), ...bodyOf(openaiChat, request, media), tools }
    return without({ ...body, stream: true, stream_options: { include_usage: true } })
  },
}

const openaiNames: Names = {
  model: 'model',
  maxTokens: 'max_completion_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: null,
  stopSequences: 'stop',
  cacheKey: 'prompt_cache_key',
}

/** The options of `LanguageModelV4.doStream`. */
export const aiSdkEncoder: RequestEncoder = {
  id: 'ai-sdk.language-model-v4@1',
  encode: (request, media) => {
    const { messages } = bodyOf(aiSdkModel, request, media)
    const tools = request.tools.map((tool) => ({ type: 'function', ...described(tool, { inputSchema: tool.inputSchema }) }))
    return without({ ...settings(request, aiSdkNames), prompt: (messages as JsonObject[]).map(promptMessage), tools })
  },
}

const aiSdkNames: Names = {
  model: null,
  maxTokens: 'maxOutputTokens',
  temperature: 'temperature',
  topP: 'topP',
  topK: 'topK',
  stopSequences: 'stopSequences',
  cacheKey: null,
}

/** LangChain's stored messages, and the tools as OpenAI writes them, which `bindTools` takes of every model. */
export const langChainEncoder: RequestEncoder = {
  id: 'langchain.chat-model@1',
  encode: (request, media) => {
    const tools = request.tools.map((tool) => ({
      type: 'function',
      function: described(tool, { parameters: tool.inputSchema }),
    }))
    return without({ options: settings(request, langChainNames), ...bodyOf(langChainStored, request, media), tools })
  },
}

const langChainNames: Names = {
  model: null,
  maxTokens: 'maxTokens',
  temperature: 'temperature',
  topP: 'topP',
  topK: 'topK',
  stopSequences: 'stop',
  cacheKey: null,
}

function bodyOf<Foreign extends object>(codec: Codec<Foreign>, request: ModelRequest, media?: MediaLookup): JsonObject {
  const { system } = request
  const said: Message[] = system === null ? [] : [{ v: 1, id: 'system', role: 'system', parts: [{ type: 'text', text: system }] }]
  const { body } = codec.encode([...said, ...request.messages], { purpose: 'request', ...(media && { media }) })
  return body as JsonObject
}

function settings({ config }: ModelRequest, names: Names): JsonObject {
  const renamed = Object.entries(config).flatMap(([key, value]): [string, Json][] => {
    const name = Object.hasOwn(names, key) ? names[key as keyof Names] : key
    return name === null ? [] : [[name, value]]
  })
  return Object.fromEntries(renamed)
}

const described = ({ name, description }: ToolSchema, more: JsonObject): JsonObject => ({
  name,
  ...(description !== undefined && { description }),
  ...more,
})

/** Without what is undefined, and without empty lists of tools, which some APIs refuse. */
function without(body: { readonly [key: string]: Json | undefined }): JsonObject {
  const kept = Object.entries(body).filter(([key, value]) => value !== undefined && !(key === 'tools' && isEmpty(value)))
  return Object.fromEntries(kept) as JsonObject
}

const isEmpty = (value: Json): boolean => Array.isArray(value) && value.length === 0

// Anthropic's prompt cache

const mark = { cache_control: { type: 'ephemeral' } }

function cached(body: JsonObject): JsonObject {
  if (hasMark([body.system, body.messages, body.tools])) return body
  const messages = body.messages as readonly JsonObject[]
  const users = messages.flatMap(({ role }, index) => (role === 'user' ? [index] : []))
  // The present input, and the one before it: where the last call of this conversation ended.
  const marked = new Set(users.slice(-2))
  return {
    ...body,
    ...(body.tools !== undefined && { tools: markLast(body.tools) }),
    ...(body.system !== undefined && { system: markLast(blocks(body.system)) }),
    messages: messages.map((message, index) =>
      marked.has(index) ? { ...message, content: markLast(blocks(message.content)) } : message,
    ),
  }
}

const hasMark = (value: unknown): boolean => {
  if (Array.isArray(value)) return value.some(hasMark)
  if (typeof value !== 'object' || value === null) return false
  const { cache_control, content } = value as Record<string, unknown>
  return cache_control !== undefined || hasMark(content)
}

const blocks = (content: Json | undefined): Json =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? [])

function markLast(list: Json): Json {
  if (!Array.isArray(list)) return list
  const all = list as readonly Json[]
  const last = all.at(-1)
  if (typeof last !== 'object' || last === null) return list
  return [...all.slice(0, -1), { ...(last as JsonObject), ...mark }]
}

// The AI SDK's prompt: its messages, with every content a list and every file tagged

function promptMessage(message: JsonObject): JsonObject {
  const { role, content } = message
  if (role === 'system') return message
  const list = blocks(content) as readonly JsonObject[]
  return { ...message, content: list.map(promptPart) }
}

function promptPart(part: JsonObject): JsonObject {
  const { data } = part
  if (part.type !== 'file' || typeof data !== 'string') return part
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(data)
  return { ...part, data: isUrl ? { type: 'url', url: data } : { type: 'data', data } }
}
