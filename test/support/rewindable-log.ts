import type { EventLog } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import { beginningOf } from './log-writer.ts'

/** A log in memory that can lose its newest envelopes, as a database does whose standby took over before it had them all. */
export function openRewindableLog() {
  let current = openMemoryLog()
  const log = new Proxy({} as EventLog, { get: (_, name) => Reflect.get(current, name) })

  /** From now on the log has only the first `count` envelopes of its feed. */
  async function rewindTo(count: number): Promise<void> {
    const { envelopes } = await current.feed({ partition: 0, after: 0, limit: count })
    const shorter = openMemoryLog({ id: current.id })
    if (count > 0)
      for (const envelope of envelopes) {
        const { tenant, conversationId } = envelope
        const key = { tenant, conversationId }
        await shorter.append([{ key, expected: (await shorter.head(key)) ?? beginningOf(key), envelopes: [envelope] }])
      }
    current = shorter
  }

  return { log, rewindTo }
}
