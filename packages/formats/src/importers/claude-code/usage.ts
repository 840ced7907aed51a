import { type Json, type JsonObject, type Usage } from '@colloquy/core'
import { asCount, asObject } from '../fields.ts'
import type { SessionRecord } from './record.ts'

/**
 * What one answer took. Its lines repeat the figure, and where they differ it only grows: the largest is the answer's, the sum
 * would be a multiple of it (77,612 instead of 51,933 output tokens in one of the real files).
 */
export function usageOf(records: readonly Pick<SessionRecord, 'message'>[]): Usage | undefined {
  const reports = records.map((record) => asObject(record.message?.usage)).filter((report) => report !== undefined)
  const last = reports.at(-1)
  if (last === undefined) return undefined
  const most = (pick: (report: JsonObject) => Json | undefined) =>
    Math.max(0, ...reports.map((report) => asCount(pick(report)) ?? 0))
  const ttl5m = most((report) => asObject(report.cache_creation)?.ephemeral_5m_input_tokens)
  const ttl1h = most((report) => asObject(report.cache_creation)?.ephemeral_1h_input_tokens)
  const cacheWrite = most((report) => report.cache_creation_input_tokens)
  const serverTools = Object.entries(asObject(last.server_tool_use) ?? {}).flatMap(([tool, count]) =>
    asCount(count) === undefined ? [] : [[tool, count as number] as const],
  )
  return {
    input: most((report) => report.input_tokens),
    output: most((report) => report.output_tokens),
    cacheRead: most((report) => report.cache_read_input_tokens),
    // Older files give only the sum.
    cacheWrite: { ttl5m, ttl1h, other: Math.max(0, cacheWrite - ttl5m - ttl1h) },
    reasoning: 0,
    ...(serverTools.length > 0 && { serverTools: Object.fromEntries(serverTools) }),
    raw: last,
  }
}
