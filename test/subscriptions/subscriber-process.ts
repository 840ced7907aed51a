/** A process that takes part in two subscriptions, for tests that kill and stop it. What it handled it writes into `handled`. */
import { setTimeout } from 'node:timers/promises'
import { openPostgresLog, subscribe } from '@colloquy/postgres'
import { type QueryExecutorProvider, sql } from 'kysely'

const { url, leaseMs, pauseMs } = JSON.parse(process.argv[2] ?? '{}') as { url: string; leaseMs: number; pauseMs: number }
const log = await openPostgresLog({ url })

async function write(
  database: QueryExecutorProvider,
  subscription: string,
  partition: number,
  feedPositions: readonly number[],
): Promise<void> {
  for (const feedPosition of feedPositions) {
    await sql`insert into handled (subscription, process, partition, feed_position)
      values (${subscription}, ${process.pid}, ${partition}, ${feedPosition})`.execute(database)
    await setTimeout(pauseMs)
  }
}

const common = { leaseMs, limit: 20, retryMs: 10, tries: 100, onError: () => {} }
await subscribe(log, {
  name: 'at least once',
  ...common,
  handle: (envelopes, { partition }) =>
    write(
      log.kysely,
      'at least once',
      partition,
      envelopes.map(({ feedPosition }) => feedPosition),
    ),
})
await subscribe(log, {
  name: 'exactly once',
  ...common,
  transactional: true,
  handle: (envelopes, { partition, transaction }) =>
    write(
      transaction,
      'exactly once',
      partition,
      envelopes.map(({ feedPosition }) => feedPosition),
    ),
})
process.stdout.write('subscribed\n')
