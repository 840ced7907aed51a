import { sha256 } from '@colloquy/engine'
import { createOpenAIChatDecoder, createOpenAIResponsesDecoder } from '@colloquy/formats'
import type OpenAI from 'openai'
import type { Model } from '../model.ts'
import { openaiChatEncoder, openaiResponsesEncoder } from './encoders.ts'
import { readResponse } from './read-response.ts'

export interface OpenAIModelOptions {
  readonly id: string
  /** Default 'openai'; for others who serve this API. */
  readonly provider?: string
}

/** A model behind `openai`'s Responses. SDK retries are off for these calls, and its body is read byte by byte by our decoder. */
export function openaiModel(client: Pick<OpenAI, 'responses'>, options: OpenAIModelOptions): Model {
  const { id, provider = 'openai' } = options
  return {
    provider,
    id,
    encoder: openaiResponsesEncoder,
    stream: (body, { signal }) => {
      const params = { model: id, ...body, stream: true } as unknown as OpenAI.Responses.ResponseCreateParamsStreaming
      const response = client.responses.create(params, { signal, maxRetries: 0 }).asResponse()
      return readResponse(response, createOpenAIResponsesDecoder({ sha256, provider }), signal)
    },
  }
}

/** The same over Chat Completions: for the servers that speak nothing else. Name them by `provider`. */
export function openaiChatModel(client: Pick<OpenAI, 'chat'>, options: OpenAIModelOptions): Model {
  const { id, provider = 'openai' } = options
  return {
    provider,
    id,
    encoder: openaiChatEncoder,
    stream: (body, { signal }) => {
      const params = { model: id, ...body, stream: true } as unknown as OpenAI.ChatCompletionCreateParamsStreaming
      const response = client.chat.completions.create(params, { signal, maxRetries: 0 }).asResponse()
      return readResponse(response, createOpenAIChatDecoder({ sha256, provider }), signal)
    },
  }
}
