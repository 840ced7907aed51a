import { setTimeout as sleep } from 'node:timers/promises'
import { createLogDatabase } from '../database.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'
import type { SlowReaderEntry, SlowReaderJob } from '../workers/slow-reader.ts'

const figures = {
  quick: { envelopes: 8_000, textBytes: 6_000, reads: 12 },
  full: { envelopes: 100_000, textBytes: 6_000, reads: 100 },
}
const limitBytes = 50 * 1_048_576
const patienceMs = 120_000

export const slowReader: Row = {
  id: 'D14',
  promise: 'A reader of the feed that is much slower than its writers holds a page in memory and not what waits.',
  service: 'postgres',
  mutants: ['feed-in-memory'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { envelopes, textBytes, reads } = figures[scale]
    const url = await createLogDatabase(postgres, { partitions: 1 })
    const conversations = Array.from({ length: envelopes / 20 }, (_, c) => `conversation-${c}`)
    const writerJob: DispatchJob = {
      url,
      seed,
      count: envelopes,
      conversations,
      lanes: 32,
      textBytes,
      idleMs: 200,
      retryWaitMs: 50,
    }
    const writer = startWorker<DispatchEntry>('dispatch', 'writer', writerJob, { directory, mutant: undefined })
    const readerJob: SlowReaderJob = { url, envelopes, pauseMs: 100 }
    const reader = startWorker<SlowReaderEntry>('slow-reader', 'reader', readerJob, { directory, mutant })
    await goTogether([writer, reader])
    const wrong = await endOf([writer])
    const deadline = performance.now() + patienceMs
    let done = false
    const ended = endOf([reader]).finally(() => {
      done = true
    })
    while (!done && reader.entries().length < reads && performance.now() < deadline) await sleep(50)
    reader.stop()
    wrong.push(...(await ended))
    const read = reader.entries()
    const live = read.map(({ liveBytes }) => liveBytes)
    const growth = Math.max(...live) - (live[0] ?? 0)
    if (read.length < 4) wrong.push('the reader read less than three pages')
    if (growth > limitBytes) wrong.push(`the reader grew by ${Math.round(growth / 1_048_576)} MB`)
    return {
      facts: { written: writer.entries().length, read: read.at(-1)?.read ?? 0, 'growth MB': Math.round(growth / 1_048_576) },
      wrong,
    }
  },
}
