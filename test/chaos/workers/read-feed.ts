/** Reads everybody's feed and writes down each envelope, until it is stopped. */
import { partitionOf } from '@colloquy/core'
import { createEngine, sha256 } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { work } from './work.ts'

export interface ReadFeedJob {
  readonly url: string
}

export type ReadFeedEntry =
  | {
      readonly kind: 'read'
      readonly partition: number
      readonly feedPosition: number
      readonly conversationId: string
      readonly position: number
    }
  | { readonly kind: 'failed'; readonly text: string }

await work<ReadFeedJob>(async ({ job, record: write, start, stopped }) => {
  const record = (entry: ReadFeedEntry) => write(entry)
  await using log = await openPostgresLog({ url: job.url })
  const engine = createEngine({ log, onError: () => {} })
  await start()
  void stopped.then(() => engine.close())
  try {
    for await (const { envelopes } of engine.feed({ tenant: null })) {
      for (const { tenant, conversationId, feedPosition, position } of envelopes) {
        const partition = partitionOf({ tenant, conversationId }, log.partitions, sha256)
        record({ kind: 'read', partition, feedPosition, conversationId, position })
      }
    }
  } catch (error) {
    record({ kind: 'failed', text: String(error) })
  }
  await engine.close()
})
