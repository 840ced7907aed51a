import type { Cancellation } from '@colloquy/core'
import type { ModelRequest } from '../manifest/model-request.ts'

/** The provider's own count of a whole request, asked for over the network (`messages.countTokens`, `responses.inputTokens.count`). */
export interface ProviderCounter {
  readonly id: string
  readonly version: string
  /** Rejects when the provider does not answer; then fall back on `countRequest`. */
  count(request: ModelRequest, options?: { readonly signal?: Cancellation }): Promise<number>
}
