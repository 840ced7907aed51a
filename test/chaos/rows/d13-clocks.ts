import type { EventLog, StoredEnvelope } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { newDatabase, withClient } from '../database.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { acknowledgement } from '../retry.ts'
import { defineRow, randomFrom } from '../row.ts'

const hourUs = 3_600_000_000

export const clocks = defineRow({
  id: 'D13',
  proves: 'clocks that are wrong or jump change no order: not of positions, not of the feed, and nothing leaves memory early',
  scales: { quick: { cases: 200 }, full: { cases: 1_000 } },
  mutants: ['order-by-time', 'time-runs-backwards', 'recorded-by-the-caller'],
  async run(run) {
    const random = randomFrom(run.seed)
    const url = await newDatabase(run, 2)
    const before = await databaseTime(url)
    await using log = await openPostgresLog({ url })
    let loads = 0
    const counting: EventLog = {
      ...log,
      latest: (...asked) => {
        loads += 1
        return log.latest(...asked)
      },
    }
    // One is an hour late, one an hour early, one jumps to and fro. All are restarted wrong, and set again before each dispatch.
    const offsets = [-hourUs, hourUs, 0]
    const engines = offsets.map((_, i) =>
      createEngine({ log: counting, clock: () => Math.round(Date.now() * 1_000 + (offsets[i] ?? 0)), snapshotEvery: 1e9 }),
    )
    const systemNow = Date.now
    run.defer(() => {
      Date.now = systemNow
    })
    const acknowledged: Acknowledged[] = []
    const order: string[] = []
    for (let i = 0; i < run.scale.cases; i++) {
      offsets[2] = (random() - 0.5) * 2 * hourUs
      // The system's own clock jumps too.
      const jump = Math.round((random() - 0.5) * 7_200_000)
      Date.now = () => systemNow() + jump
      const engine = engines[Math.floor(random() * engines.length)] as (typeof engines)[number]
      const conversation = await engine.open(`c${Math.floor(random() * 4)}`)
      const commandId = `command ${i}`
      acknowledged.push(acknowledgement(conversation, commandId, await conversation.dispatch(say(commandId), { commandId })))
      order.push(commandId)
    }
    Date.now = systemNow
    const after = await databaseTime(url)
    const feeds = await Promise.all(
      [0, 1].map(async (partition) => (await log.feed({ partition, after: 0, limit: 1e4 })).envelopes),
    )
    for (const engine of engines) await engine.close()
    return [
      { what: 'cases', seen: order.length },
      { what: 'out of order in a feed', seen: feeds.map((feed) => outOfOrder(feed, order)).reduce((a, b) => a + b), is: 0 },
      { what: 'older than the one before', seen: feeds.map(olderThanBefore).reduce((a, b) => a + b), is: 0 },
      {
        what: 'recorded by another clock than that of the database',
        seen: feeds.flat().filter(({ recordedAt }) => recordedAt < before || recordedAt > after).length,
        is: 0,
      },
      { what: 'loads of 4 conversations by 3 engines', seen: loads, atMost: 12 },
      ...(await audit(log, acknowledged)),
    ]
  },
})

/** Microseconds since 1970. */
function databaseTime(url: string): Promise<number> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ now: string }>(
      'select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now',
    )
    return Number(rows[0]?.now)
  })
}

/** Dispatches came one after the other, so a feed has them in that order. */
function outOfOrder(feed: readonly StoredEnvelope[], order: readonly string[]): number {
  const places = feed.map(({ commandId }) => order.indexOf(commandId ?? ''))
  return places.filter((place, i) => i > 0 && place < (places[i - 1] ?? 0)).length
}

function olderThanBefore(feed: readonly StoredEnvelope[]): number {
  const last = new Map<string, number>()
  return feed.filter(({ conversationId, occurredAt }) => {
    const isOlder = occurredAt < (last.get(conversationId) ?? 0)
    last.set(conversationId, occurredAt)
    return isOlder
  }).length
}
