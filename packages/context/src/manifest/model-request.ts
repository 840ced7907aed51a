import type { JsonObject, Message } from '@colloquy/core'

/** A tool as a model is told of it. */
export interface ToolSchema {
  readonly name: string
  readonly description?: string
  /** JSON schema of the arguments. */
  readonly inputSchema: JsonObject
}

/** What a model is asked, in our own words. */
export interface ModelRequest {
  readonly system: string | null
  readonly tools: readonly ToolSchema[]
  readonly messages: readonly Message[]
  /** Everything else: model id, `maxTokens`, `temperature`, `topP`, `topK`, what a provider alone knows. */
  readonly config: JsonObject
}

/** What a provider is sent, as JSON: a field that is undefined is not written, so messages and their parts may stand in it as they are. */
export type RequestBody = { readonly [name: string]: RequestValue | undefined }
type RequestValue = null | boolean | number | string | readonly RequestValue[] | RequestBody

/** Turns a request into the body that a provider is sent. Pure and for ever: a change of what it makes is a new version. */
export interface RequestEncoder {
  /** `<api>@<version>`, stored in the manifest. */
  readonly id: string
  /** `media` finds the bytes of files that messages name by hash. */
  encode(request: ModelRequest, media?: MediaLookup): RequestBody
}

/** Bytes of media by their hash; undefined for what is not kept. */
export type MediaLookup = (hash: string) => Uint8Array | undefined
