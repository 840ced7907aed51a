/** Signals between processes: heard, coalesced, and never needed for delivery. */
import { type EventLog, partitionOf, type StoredEnvelope } from '@colloquy/core'
import { createEngine, sha256 } from '@colloquy/engine'
import { openPostgresLog, type PostgresLog, postgresSignals, type SignalTransport } from '@colloquy/postgres'
import { redisSignals } from '@colloquy/postgres/redis'
import { sql } from 'kysely'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { startCuttingProxy } from '../support/cutting-proxy.ts'
import { appendTo, beginningOf, following, newKey } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { startRedis } from '../support/redis-server.ts'

const [server, redis] = await Promise.all([startPostgres(), startRedis()])
const logs: PostgresLog[] = []
afterAll(async () => {
  for (const log of logs) await log.close()
  await Promise.all([server?.stop(), redis?.kill()])
})

/** Two processes' logs over one store. */
async function pair(signals: (url: string) => SignalTransport): Promise<readonly [PostgresLog, PostgresLog]> {
  const url = (await server?.createDatabase()) ?? ''
  const ours = await openPostgresLog({ url, migrate: true, partitions: 16, signals: signals(url) })
  const theirs = await openPostgresLog({ url, signals: signals(url) })
  logs.push(ours, theirs)
  return [ours, theirs]
}

const hintsOf = (log: EventLog): (readonly number[])[] => {
  const hints: (readonly number[])[] = []
  log.onGrowth((partitions) => hints.push(partitions))
  return hints
}

/** Appends until a signal of it arrives: a transport connects in its own time. */
async function untilHeard(from: EventLog, hints: readonly unknown[]): Promise<void> {
  const before = hints.length
  await vi.waitFor(
    async () => {
      await appendTo(from, newKey(), [{}])
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(hints.length).toBeGreaterThan(before)
    },
    { timeout: 60_000 },
  )
}

const transports = {
  postgres: (warnings: string[]) => (url: string) => postgresSignals({ url, onWarning: (problem) => warnings.push(problem) }),
  redis: (warnings: string[]) => (url: string) =>
    redisSignals({ url: redis?.url ?? '', channel: new URL(url).pathname, onWarning: (problem) => warnings.push(problem) }),
}

for (const [name, transport] of Object.entries(transports)) {
  const isThere = server !== undefined && (name !== 'redis' || redis !== undefined)
  describe.skipIf(!isThere)(`signals by ${name}`, () => {
    test('tell other processes which partitions grew, once a batch, and not the one that appended (case 25)', async () => {
      const [ours, theirs] = await pair(transport([]))
      const [own, heard] = [hintsOf(ours), hintsOf(theirs)]
      await untilHeard(ours, heard)
      const keys = Array.from({ length: 30 }, () => newKey())
      await ours.append(keys.map((key) => requestFor(key)))
      const grown = [...new Set(keys.map((key) => partitionOf(key, 16, sha256)))]
      // What was appended to be heard at all may come before and behind it, or share its message.
      const ofBatch = (hints: readonly (readonly number[])[]) => hints.filter((hint) => hint.length >= grown.length)
      await vi.waitFor(() => expect(ofBatch(heard)).toEqual([expect.arrayContaining(grown)]))
      // Signals come in order: had its own come back, it would have come before this one. The one that it has is from inside.
      await untilHeard(theirs, own)
      expect(ofBatch(own)).toEqual([expect.arrayContaining(grown)])
    })

    test('take any number of partitions (case 26)', async () => {
      const url = (await server?.createDatabase()) ?? ''
      const [ours, theirs] = [transport([])(url), transport([])(url)]
      const heard = new Set<number>()
      theirs.subscribe((partitions) => partitions.forEach((partition) => heard.add(partition)))
      const all = Array.from({ length: 5_000 }, (_, i) => i)
      await vi.waitFor(() => {
        ours.publish(all)
        expect(heard.size).toBe(5_000)
      }, waiting)
      await Promise.all([ours.close(), theirs.close()])
    })
  })
}

describe.skipIf(!server)('a LISTEN connection that is killed', () => {
  test('costs no envelope and is made again (case 24)', async () => {
    const warnings: string[] = []
    const [ours, theirs] = await pair(transports.postgres(warnings))
    const hints = hintsOf(theirs)
    const heard = hearAll(theirs)
    await untilHeard(ours, hints)
    for (let round = 0; round < 3; round++) {
      const killed = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'colloquy signals' and datname = current_database()
      `.execute(ours.kysely)
      expect(killed.rows.length).toBeGreaterThanOrEqual(2)
      await appendTo(ours, newKey(), [{}, {}])
      await untilHeard(ours, hints)
      await untilHeard(theirs, hints)
    }
    expect(warnings).toHaveLength(6)
    await expectAll(theirs, heard)
  })
})

describe.skipIf(!server)('a line that breaks without a word', () => {
  test('is noticed by the first signal that is not answered, and replaced', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const proxy = await startCuttingProxy(url)
    const warnings: string[] = []
    const ours = postgresSignals({ url: proxy.url, onWarning: (problem) => warnings.push(problem) })
    const theirs = postgresSignals({ url })
    const heard: number[] = []
    theirs.subscribe((partitions) => heard.push(...partitions))
    const untilHeardAgain = () => {
      const before = heard.length
      return vi.waitFor(() => {
        ours.publish([3])
        expect(heard.length).toBeGreaterThan(before)
      }, waiting)
    }
    await untilHeardAgain()
    proxy.silence()
    await untilHeardAgain()
    expect(warnings).toEqual([expect.stringContaining('Signals by NOTIFY are down')])
    proxy.silence()
    await Promise.all([ours.close(), theirs.close()])
    await proxy.close()
  })
})

describe.skipIf(!server || !redis)('a Redis that is killed', () => {
  test('costs no envelope, and is used again when it is back', async () => {
    const warnings: string[] = []
    const [ours, theirs] = await pair(transports.redis(warnings))
    const hints = hintsOf(theirs)
    const heard = hearAll(theirs)
    await untilHeard(ours, hints)
    await redis?.kill()
    // Then all that it had sent is read.
    await vi.waitFor(() => expect(warnings).toHaveLength(2))
    const before = hints.length
    for (let i = 0; i < 20; i++) await appendTo(ours, newKey(), [{}])
    await expectAll(theirs, heard)
    expect(hints.length).toBe(before)
    expect(warnings).toHaveLength(2)
    await redis?.start()
    await untilHeard(ours, hints)
    await expectAll(theirs, heard)
    expect(warnings).toHaveLength(2)
  })
})

describe.skipIf(!redis)('a Redis that refuses', () => {
  test.each(['subscribe', 'publish'])('to %s is heard of, once, and not after the signals are closed', async (command) => {
    await redis?.send(`ACL SETUSER deaf on >test ~* allchannels +@all -${command}`)
    const url = (redis?.url ?? '').replace('redis://', 'redis://deaf:test@')
    const warnings: string[] = []
    const signals = redisSignals({ url, onWarning: (problem) => warnings.push(problem) })
    await vi.waitFor(() => {
      signals.publish([1])
      expect(warnings).toHaveLength(1)
    }, waiting)
    expect(warnings[0]).toMatch(/^Signals by Redis are down: NOPERM/)
    for (let i = 0; i < 3; i++) {
      signals.publish([1])
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await signals.close()
    await redisSignals({ url, onWarning: (problem) => warnings.push(problem) }).close()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(warnings).toHaveLength(1)
  })
})

describe.skipIf(!server)('a log', () => {
  test('whose transport is down appends, reads and closes all the same', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const warnings: string[] = []
    const nowhere = new URL(url)
    nowhere.port = '1'
    const onWarning = (problem: string) => warnings.push(problem)
    const transports = [
      postgresSignals({ url: nowhere.href, onWarning }),
      redisSignals({ url: 'redis://127.0.0.1:1', onWarning }),
    ]
    for (const signals of transports) {
      const log = await openPostgresLog({ url, migrate: true, partitions: 16, signals })
      const heard = hearAll(log)
      // Both try at once, when they are made.
      await vi.waitFor(() => expect(warnings).toHaveLength(2))
      await appendTo(log, newKey(), [{}])
      await expectAll(log, heard)
      await log.close()
    }
    expect(warnings).toHaveLength(2)
    expect(warnings.join()).not.toContain('test@')
  })

  test('without signals finds what it appended itself with the sweep', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const log = await openPostgresLog({ url, migrate: true, signals: 'none' })
    logs.push(log)
    const hints = hintsOf(log)
    const heard = hearAll(log)
    await appendTo(log, newKey(), [{}])
    await expectAll(log, heard)
    expect(hints).toEqual([])
  })
})

const waiting = { timeout: 60_000, interval: 50 }

function requestFor(key: ReturnType<typeof newKey>) {
  const expected = beginningOf(key)
  return { key, expected, envelopes: following(key, expected, [{}]) }
}

function hearAll(log: EventLog): StoredEnvelope[] {
  const heard: StoredEnvelope[] = []
  createEngine({ log })
    .feed$({ tenant: null })
    .subscribe({ next: (envelope) => heard.push(envelope), error: () => {} })
  return heard
}

/** Whatever is stored was heard once. */
async function expectAll(log: EventLog, heard: readonly StoredEnvelope[]): Promise<void> {
  const heads = await log.feedHeads()
  const stored = heads.flatMap((head, partition) => Array.from({ length: head }, (_, i) => `${partition}/${i + 1}`))
  await vi.waitFor(() => {
    const places = heard.map((envelope) => `${partitionOf(envelope, log.partitions, sha256)}/${envelope.feedPosition}`)
    expect(places.toSorted()).toEqual(stored.toSorted())
  }, waiting)
}
