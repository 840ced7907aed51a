/** Writes the feed of partition 0 down, once. */
import { openPostgresLog } from '@colloquy/postgres'
import { wholeFeed } from '../oracle.ts'
import { work } from './work.ts'

export interface FeedListJob {
  readonly url: string
}

export interface FeedListEntry {
  readonly commandId: string | null
  readonly conversationId: string
  readonly occurredAt: number
  readonly recordedAt: number
}

await work<FeedListJob>(async ({ job, record: write, start }) => {
  const record = (entry: FeedListEntry) => write(entry)
  await start()
  await using log = await openPostgresLog({ url: job.url })
  for (const { commandId, conversationId, occurredAt, recordedAt } of (await wholeFeed(log))[0] ?? [])
    record({ commandId, conversationId, occurredAt, recordedAt })
})
