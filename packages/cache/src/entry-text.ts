/**
 * How an entry is written outside of the process: a line of JSON about it, then the value. The key is in it, in full, so that an entry
 * that got under another key (a collision, a copied file, two caches with one prefix) is seen for what it is.
 */
import type { CacheEntry } from './tier.ts'

export function writeEntry(key: string, { text, tags, expiresAt, generations }: CacheEntry): string {
  return `${JSON.stringify({ key, tags, expiresAt, generations })}\n${text}`
}

/** Undefined when it is damaged, or of another key. */
export function readEntry(key: string, written: string): CacheEntry | undefined {
  const end = written.indexOf('\n')
  try {
    const head = JSON.parse(written.slice(0, end)) as Record<string, unknown> | null
    if (end < 0 || head === null || head['key'] !== key || typeof head['expiresAt'] !== 'number') return undefined
    const { tags, generations } = head
    if (!isStrings(tags) || !(generations === undefined || isStrings(generations))) return undefined
    const text = written.slice(end + 1)
    JSON.parse(text)
    return { text, tags, expiresAt: head['expiresAt'], ...(generations !== undefined && { generations }) }
  } catch {
    return undefined
  }
}

/** The key that a written entry names. */
export function keyIn(written: string): string | undefined {
  try {
    const head = JSON.parse(written.slice(0, written.indexOf('\n'))) as { key?: unknown } | null
    return typeof head?.key === 'string' ? head.key : undefined
  } catch {
    return undefined
  }
}

const isStrings = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')
