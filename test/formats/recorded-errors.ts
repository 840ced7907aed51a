/** Recorded HTTP exchanges that failed, which are not part of the repository. */
import { existsSync, readFileSync } from 'node:fs'
import type { Json } from '@colloquy/core'
import { parse } from 'yaml'

export const root = new URL('../../../shared/data/streams/errors/', import.meta.url)
export const isMissing = !existsSync(root)

export interface FailedExchange {
  readonly url: string
  readonly status: number
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: Json
}

/** Two recorders, two shapes: a list of interactions, the body as text or parsed. */
interface Cassette {
  readonly http_interactions?: readonly Interaction[]
  readonly interactions?: readonly Interaction[]
}
interface Interaction {
  readonly request: { readonly uri: string }
  readonly response: {
    readonly status: { readonly code: number }
    readonly headers: Readonly<Record<string, readonly string[]>>
    readonly body?: { readonly string: string }
    readonly parsed_body?: Json
  }
}

/** Those of a cassette that were answered with 400 and above, in order. */
export function failedExchanges(name: string): FailedExchange[] {
  const cassette = parse(readFileSync(new URL(name, root), 'utf8')) as Cassette
  return (cassette.http_interactions ?? cassette.interactions ?? [])
    .filter(({ response }) => response.status.code >= 400)
    .map(({ request, response }) => ({
      url: request.uri,
      status: response.status.code,
      headers: response.headers,
      body: response.body?.string ?? (response.parsed_body as Json),
    }))
}
