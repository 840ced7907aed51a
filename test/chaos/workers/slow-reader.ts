/** Reads the feed much more slowly than it was written, and writes down what memory that takes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { work } from './work.ts'

export interface SlowReaderJob {
  readonly url: string
  readonly envelopes: number
  /** Waits so long after each batch. */
  readonly pauseMs: number
}

export interface SlowReaderEntry {
  readonly read: number
  readonly rssBytes: number
}

await work<SlowReaderJob>(async ({ job, record: write, start, isStopped }) => {
  const record = (entry: SlowReaderEntry) => write(entry)
  await using log = await openPostgresLog({ url: job.url })
  const engine = createEngine({ log, onError: () => {} })
  await start()
  const batches = engine.feed()
  let read = 0
  for await (const { envelopes } of batches) {
    read += envelopes.length
    record({ read, rssBytes: process.memoryUsage.rss() })
    if (read >= job.envelopes || isStopped()) break
    await sleep(job.pauseMs)
  }
  await engine.close()
})
