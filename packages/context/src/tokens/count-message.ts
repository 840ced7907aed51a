/**
 * What a message, and a whole request, weighs. Everything that a provider is sent counts: text, calls and their arguments, results,
 * reasoning, media, tool schemas, system prompt. A message is counted once per counter: messages are frozen, so the number is kept
 * beside the object.
 */
import type { Message, Part } from '@colloquy/core'
import type { ModelRequest, ToolSchema } from '../manifest/model-request.ts'
import { counterName, type TokenCounter } from './token-counter.ts'

/** Role and separators of a message: 3 and 1 in OpenAI's chat format (cookbook, "How to count tokens with tiktoken"). */
export const messageOverheadTokens = 4
/** Type, id and delimiters of a call or a result. No provider documents a figure; our allowance, calibrated away with the rest. */
const callOverheadTokens = 8
/**
 * Of an image whose size we do not know: 765, the cost of 1024 x 1024 at high detail (OpenAI, "Vision: calculating costs"; Mastra's
 * limiter takes the same). Anthropic says width x height / 750, at most about 1,600.
 */
const imageTokens = 765
/** A page of a document is 1,500 to 3,000 tokens (Anthropic, "PDF support: estimate your costs"), and a scanned one about 100 kB. */
const documentTokensPerByte = 2_000 / 100_000
/** 32 tokens a second (Gemini, "Audio understanding"), at 16 kB a second. */
const audioTokensPerByte = 32 / 16_000
/** 263 tokens a second (Gemini, "Video understanding"), at 250 kB a second. */
const videoTokensPerByte = 263 / 250_000
/** Of a document, a sound or a film whose size is not known: one page, a minute, ten seconds. */
const unknownMediaTokens = { document: 2_000, file: 2_000, audio: 1_920, video: 2_630 }
/** Delimiters of a tool beside its schema's text. No provider documents a figure; our allowance. */
const toolOverheadTokens = 10
/** The prompt that a request with tools brings along (Anthropic, "Tool use: pricing", 346 with `tool_choice: auto`). */
const toolPromptTokens = 346

const counted = new WeakMap<TokenCounter, WeakMap<Message, number>>()

/** Tokens of one message as it is sent. Linear in its text; the second time a look-up. */
export function countMessage(counter: TokenCounter, message: Message): number {
  let known = counted.get(counter)
  if (known === undefined) counted.set(counter, (known = new WeakMap()))
  const before = known.get(message)
  if (before !== undefined) return before
  let tokens = messageOverheadTokens
  for (const part of message.parts) tokens += countPart(counter, part)
  // What may still change must be counted again.
  if (Object.isFrozen(message)) known.set(message, tokens)
  return tokens
}

/** A message as `messageAdded` takes it: with its tokens, and the name of the counter. */
export function countedMessage<M extends Message>(
  counter: TokenCounter,
  message: M,
): { readonly message: M; readonly tokenCount: number; readonly tokenCounter: string } {
  return { message, tokenCount: countMessage(counter, message), tokenCounter: counterName(counter) }
}

/** Tokens of a whole request: system prompt and tool schemas once, then the messages. */
export function countRequest(counter: TokenCounter, request: ModelRequest): number {
  const system = request.system === null ? 0 : counter.count(request.system) + messageOverheadTokens
  return request.messages.reduce((sum, m) => sum + countMessage(counter, m), system + countTools(counter, request.tools))
}

/** Tokens of the tool schemas, which every call of the conversation carries. */
export function countTools(counter: TokenCounter, tools: readonly ToolSchema[]): number {
  if (tools.length === 0) return 0
  return tools.reduce((sum, tool) => sum + toolOverheadTokens + counter.count(JSON.stringify(tool)), toolPromptTokens)
}

function countPart(counter: TokenCounter, part: Part): number {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return counter.count(part.text)
    case 'reasoning':
      // Sent back whole while its loop lasts. A signature or an encrypted block is base64, of which providers count about what it stands for.
      return part.text !== undefined
        ? counter.count(part.text)
        : counter.count((part.summary ?? []).join('\n')) + counter.count(part.encrypted ?? part.signature ?? '')
    case 'tool_call':
      return callOverheadTokens + counter.count(part.name) + counter.count(part.args.raw)
    case 'tool_result':
      return part.content.reduce((sum, inner) => sum + countPart(counter, inner), callOverheadTokens)
    case 'media':
      return countMedia(counter, part)
    case 'compaction':
      return counter.count(part.content ?? part.opaque ?? '')
    case 'approval':
      return callOverheadTokens + counter.count(part.reason ?? '')
    case 'citation_source':
      return counter.count(`${part.title ?? ''} ${part.url ?? ''}`)
    case 'custom':
      return counter.count(JSON.stringify(part.payload))
    case 'tool_change':
      return counter.count(JSON.stringify(part.ref))
    case 'control':
      return part.payload === undefined ? 0 : counter.count(JSON.stringify(part.payload))
    default:
      part satisfies never
      return 0
  }
}

function countMedia(counter: TokenCounter, { kind, source }: Extract<Part, { type: 'media' }>): number {
  if (source.kind === 'text') return counter.count(source.text)
  if (kind === 'image') return imageTokens
  const bytes = source.kind === 'hash' ? source.bytes : undefined
  if (bytes === undefined) return unknownMediaTokens[kind]
  const perByte = {
    document: documentTokensPerByte,
    file: documentTokensPerByte,
    audio: audioTokensPerByte,
    video: videoTokensPerByte,
  }
  return Math.ceil(bytes * perByte[kind])
}
