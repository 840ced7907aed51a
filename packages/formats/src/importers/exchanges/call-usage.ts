/** What one call took, as each API says it in a whole answer. */
import type { Json, JsonObject, Usage } from '@colloquy/core'
import { chatUsage } from '../../streams/chat-usage.ts'
import { asCount, asList, asObject } from '../fields.ts'
import type { Api } from './exchange.ts'

export function callUsage(api: Api, value: Json | undefined): Usage | undefined {
  const raw = asObject(value)
  if (raw === undefined) return undefined
  switch (api) {
    case 'anthropic':
      return anthropicUsage(raw)
    case 'responses':
      return responsesUsage(raw)
    case 'chat':
      return chatUsage(raw)
    default:
      return api satisfies never
  }
}

/** After a compaction the figures are those of the last iteration; the bill is for all of them. */
function anthropicUsage(raw: JsonObject): Usage {
  const iterations = (asList(raw.iterations) ?? []).map(asObject).filter((each) => each !== undefined)
  const calls: readonly JsonObject[] = iterations.length > 0 ? iterations : [raw]
  const sum = (count: (call: JsonObject) => Json | undefined): number =>
    calls.reduce((total, call) => total + (asCount(count(call)) ?? 0), 0)
  const ttl5m = sum((call) => asObject(call.cache_creation)?.ephemeral_5m_input_tokens)
  const ttl1h = sum((call) => asObject(call.cache_creation)?.ephemeral_1h_input_tokens)
  const written = sum((call) => call.cache_creation_input_tokens)
  const uses = Object.entries(asObject(raw.server_tool_use) ?? {}).filter(([, count]) => asCount(count) !== undefined)
  return {
    input: sum((call) => call.input_tokens),
    output: sum((call) => call.output_tokens),
    cacheRead: sum((call) => call.cache_read_input_tokens),
    cacheWrite: { ttl5m, ttl1h, other: Math.max(0, written - ttl5m - ttl1h) },
    reasoning: sum((call) => asObject(call.output_tokens_details)?.thinking_tokens),
    ...(uses.length > 0 && { serverTools: Object.fromEntries(uses) as Record<string, number> }),
    raw,
  }
}

/** `input_tokens` holds what was read from the cache and written to it. */
function responsesUsage(raw: JsonObject): Usage {
  const details = asObject(raw.input_tokens_details)
  const input = asCount(raw.input_tokens) ?? 0
  const cacheRead = Math.min(input, asCount(details?.cached_tokens) ?? 0)
  const written = Math.min(input - cacheRead, asCount(details?.cache_write_tokens) ?? 0)
  return {
    input: input - cacheRead - written,
    output: asCount(raw.output_tokens) ?? 0,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: written },
    reasoning: asCount(asObject(raw.output_tokens_details)?.reasoning_tokens) ?? 0,
    raw,
  }
}
