import type Anthropic from '@anthropic-ai/sdk'
import { sha256 } from '@colloquy/engine'
import { createAnthropicDecoder } from '@colloquy/formats'
import type { Model } from '../model.ts'
import { anthropicEncoder } from './encoders.ts'
import { readResponse } from './read-response.ts'

export interface AnthropicModelOptions {
  /** As the API names it: `claude-...`. */
  readonly id: string
  /** Default 'anthropic'; for others who serve this API. */
  readonly provider?: string
}

/**
 * A model behind `@anthropic-ai/sdk`. The client brings key, address, headers and `fetch`; its own retries are switched off for these
 * calls. The body is read byte by byte by our decoder, so that nothing is lost that the SDK does not know.
 */
export function anthropicModel(client: Pick<Anthropic, 'messages'>, options: AnthropicModelOptions): Model {
  const { id, provider = 'anthropic' } = options
  return {
    provider,
    id,
    encoder: anthropicEncoder,
    stream: (body, { signal }) => {
      const params = { model: id, ...body, stream: true } as unknown as Anthropic.MessageCreateParamsStreaming
      const response = client.messages.create(params, { signal, maxRetries: 0 }).asResponse()
      return readResponse(response, createAnthropicDecoder({ sha256, provider }), signal)
    },
  }
}
