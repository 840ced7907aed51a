import type { Usage } from '@colloquy/core'

export const noUsage: Usage = {
  input: 0,
  output: 0,
  cacheRead: 0,
  cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
  reasoning: 0,
}

/** What several calls took together. */
export function addUsage(a: Usage, b: Usage): Usage {
  const cost =
    a.costMicros === undefined && b.costMicros === undefined ? {} : { costMicros: (a.costMicros ?? 0) + (b.costMicros ?? 0) }
  return {
    input: a.input + b.input,
    output: a.output + b.output,
    cacheRead: a.cacheRead + b.cacheRead,
    cacheWrite: {
      ttl5m: a.cacheWrite.ttl5m + b.cacheWrite.ttl5m,
      ttl1h: a.cacheWrite.ttl1h + b.cacheWrite.ttl1h,
      other: a.cacheWrite.other + b.cacheWrite.other,
    },
    reasoning: a.reasoning + b.reasoning,
    ...cost,
  }
}
