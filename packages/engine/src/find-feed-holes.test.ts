import { type EventLog, type FeedPage, pageSize } from '@colloquy/core'
import { expect, test } from 'vitest'
import { say } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { findFeedHoles } from './find-feed-holes.ts'
import { openMemoryLog } from './memory-log.ts'

const end = pageSize + 20

/** A feed of more than a page, of two tenants, from which some positions were taken. */
async function feedWithout(...gone: number[]): Promise<EventLog> {
  const log = openMemoryLog()
  for (const tenant of ['one', 'two']) {
    await using engine = createEngine({ log, tenant })
    await (await engine.open('c')).dispatch(Array.from({ length: end / 2 }, (_, i) => say(`m${i}`)))
  }
  const without = (page: FeedPage): FeedPage => {
    const envelopes = page.envelopes.filter(({ feedPosition }) => !gone.includes(feedPosition))
    return { envelopes, scannedTo: envelopes.at(-1)?.feedPosition ?? page.scannedTo }
  }
  return Object.assign(Object.create(log) as EventLog, {
    feed: async (query: Parameters<EventLog['feed']>[0]) => without(await log.feed(query)),
  })
}

test('a feed that is whole has none, and neither has an empty one', async () => {
  expect(await findFeedHoles(await feedWithout())).toEqual([])
  expect(await findFeedHoles(openMemoryLog({ partitions: 3 }))).toEqual([])
})

test.each([
  ['at the beginning', [1], { expected: 1, found: 2 }],
  [
    'on a later page, and the first of two',
    [pageSize + 2, pageSize + 3, pageSize + 9],
    { expected: pageSize + 2, found: pageSize + 4 },
  ],
  ['at the end, which the partition still counts', [end], { expected: end, found: end + 1 }],
])('a hole %s is named', async (_, gone, hole) => {
  expect(await findFeedHoles(await feedWithout(...gone))).toEqual([{ partition: 0, ...hole }])
})
