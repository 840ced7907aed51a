import type { JsonObject, Usage } from '@colloquy/core'
import { asCount, asObject } from '../codecs/fields.ts'
import { countOf } from './fields.ts'

/** Usage of Chat Completions, where the input includes what was read from the cache, and each server adds fields of its own. */
export function chatUsage(raw: JsonObject): Usage {
  const input = countOf(raw.prompt_tokens)
  const output = countOf(raw.completion_tokens)
  const reasoning = countOf(asObject(raw.completion_tokens_details)?.reasoning_tokens)
  const details = asObject(raw.prompt_tokens_details)
  const cacheRead = Math.min(input, countOf(details?.cached_tokens ?? raw.prompt_cache_hit_tokens))
  // LiteLLM says beside the details what Anthropic wrote to its cache, and counts it as input too.
  const cacheWrite = Math.min(input - cacheRead, countOf(details?.cache_write_tokens ?? raw.cache_creation_input_tokens))
  // xAI counts reasoning beside the output; the total tells (26 + 227 of 560 tokens, 307 of them input).
  const isBeside = reasoning > 0 && raw.total_tokens === input + output + reasoning
  const costMicros = costOf(raw)
  return {
    input: input - cacheRead - cacheWrite,
    output: isBeside ? output + reasoning : output,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: cacheWrite },
    reasoning,
    ...(costMicros !== undefined && { costMicros }),
    raw,
  }
}

/** OpenRouter's `cost` is in US dollars, xAI's ticks are 10^-10 of one: 1,497,500 are the list price of that answer. */
function costOf({ cost, cost_in_usd_ticks: ticks }: JsonObject): number | undefined {
  const dollars = typeof cost === 'number' ? cost : typeof ticks === 'number' ? ticks / 1e10 : undefined
  return dollars === undefined ? undefined : asCount(Math.round(dollars * 1e6))
}
