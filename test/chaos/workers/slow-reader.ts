/** Reads the feed much more slowly than it was written, and writes down what memory that takes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
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
  /** What is reachable, not what waits to be collected. */
  readonly liveBytes: number
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function liveBytes(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

await work<SlowReaderJob>(async ({ job, record: write, start, isStopped }) => {
  const record = (entry: SlowReaderEntry) => write(entry)
  await using log = await openPostgresLog({ url: job.url })
  const engine = createEngine({ log, onError: () => {} })
  await start()
  record({ read: 0, liveBytes: liveBytes() })
  const batches = engine.feed()
  let read = 0
  for await (const { envelopes } of batches) {
    read += envelopes.length
    record({ read, liveBytes: liveBytes() })
    if (read >= job.envelopes || isStopped()) break
    await sleep(job.pauseMs)
  }
  await engine.close()
})
