import type { RequestBody, RequestEncoder } from '@colloquy/context'
import type { StreamEvent } from '@colloquy/formats'

/**
 * A model that can be asked. What it is sent is made by `encoder`, is stored as a manifest before it leaves, and can be made again from
 * the log; what it answers arrives as the events of `formats`' stream decoders, whatever the provider.
 */
export interface Model {
  readonly provider: string
  readonly id: string
  readonly encoder: RequestEncoder
  /**
   * Sends a body that `encoder` made. Tries once: retries are the turn's. Rejects, or throws while it is read, with what the provider or
   * the network said (`classify` in `recovery` knows it); ends early, and frees the connection, when `signal` aborts.
   */
  stream(body: RequestBody, options: { readonly signal: AbortSignal }): AsyncIterable<StreamEvent>
}
