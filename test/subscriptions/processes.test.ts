/** Subscribers that are killed, and that hang: row D4, and the fence of a lease. */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { openPostgresLog, type PostgresLog } from '@colloquy/postgres'
import { sql } from 'kysely'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { appendTo, newKey } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'

const kills = Number(process.env['COLLOQUY_SUBSCRIBER_KILLS'] ?? 5)
const envelopes = kills > 5 ? 5_000 : 2_000
const partitions = 4
const names = ['at least once', 'exactly once'] as const

const server = await startPostgres()
const children = new Set<ChildProcess>()
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await server?.stop()
})

describe.skipIf(!server)('a subscriber process', () => {
  test(`that is killed ${kills} times misses nothing, and handles nothing behind a checkpoint again (D4)`, async () => {
    const { log, url } = await prepare()
    const random = seeded(Date.now())
    let isDone = false
    const appending = (async () => {
      for (let stored = 0; stored < envelopes; stored += 20) {
        await appendTo(
          log,
          newKey(),
          Array.from({ length: 20 }, () => ({})),
        )
        // Spread over the kills.
        await setTimeout(random() * kills * 10)
      }
      isDone = true
    })()
    const cuts: { readonly handled: number; readonly checkpoints: ReadonlyMap<string, number> }[] = []
    for (let kill = 0; kill < kills; kill++) {
      const child = await start(url, { leaseMs: 1_000, pauseMs: 0 })
      // Kills that hit nothing would show nothing: the first one hits a process that has handled something.
      if (kill === 0) await vi.waitFor(async () => expect(await handledBy(log)).not.toEqual([]), waiting)
      await setTimeout(100 + random() * 900)
      await end(child)
      // Behind its end, whatever was under way in the database.
      await setTimeout(100)
      cuts.push(await state(log))
    }
    const last = await start(url, { leaseMs: 1_000, pauseMs: 0 })
    await appending
    expect(isDone).toBe(true)
    await untilCaughtUp(log)
    await end(last)

    const heads = await log.feedHeads()
    const all = heads.flatMap((head, partition) => Array.from({ length: head }, (_, i) => `${partition}/${i + 1}`)).toSorted()
    const handled = await handledBy(log)
    for (const name of names) {
      const places = handled.filter((row) => row.subscription === name).map(({ place }) => place)
      expect([...new Set(places)].toSorted()).toEqual(all)
      if (name === 'exactly once') expect(places).toHaveLength(all.length)
    }
    for (const cut of cuts) {
      const again = handled.filter(
        ({ n, subscription, partition, feedPosition }) =>
          n > cut.handled && feedPosition <= (cut.checkpoints.get(`${subscription}/${partition}`) ?? 0),
      )
      expect(again).toEqual([])
    }
    await log.close()
  })

  test('that hangs past its lease is replaced, and moves no checkpoint when it wakes up', async () => {
    const { log, url } = await prepare()
    // More than the slow one can handle until it is stopped.
    for (let i = 0; i < 20; i++)
      await appendTo(
        log,
        newKey(),
        Array.from({ length: 50 }, () => ({})),
      )
    const hanging = await start(url, { leaseMs: 1_000, pauseMs: 20 })
    await vi.waitFor(async () => {
      const seen = await handledBy(log)
      expect(new Set(seen.map(({ subscription }) => subscription)).size).toBe(2)
    }, waiting)
    hanging.kill('SIGSTOP')
    const replacing = await start(url, { leaseMs: 1_000, pauseMs: 0 })
    await untilCaughtUp(log)
    const before = await checkpoints(log)
    hanging.kill('SIGCONT')
    await setTimeout(700)
    const places = (rows: typeof before) =>
      rows.map(({ name, partition, feedPosition }) => `${name}/${partition}/${feedPosition}`).toSorted()
    expect(places(await checkpoints(log))).toEqual(places(before))
    await appendTo(log, newKey(), [{}, {}])
    await untilCaughtUp(log)
    await Promise.all([end(hanging), end(replacing)])

    const heads = await log.feedHeads()
    const handled = await handledBy(log)
    const once = handled.filter(({ subscription }) => subscription === 'exactly once')
    expect(once).toHaveLength(heads.reduce((sum, head) => sum + head, 0))
    expect(new Set(once.map(({ place }) => place)).size).toBe(once.length)
    expect(new Set(once.map(({ process }) => process)).size).toBe(2)
    await log.close()
  })
})

const waiting = { timeout: 120_000, interval: 50 }

async function prepare(): Promise<{ log: PostgresLog; url: string }> {
  const url = (await server?.createDatabase()) ?? ''
  const log = await openPostgresLog({ url, migrate: true, partitions })
  await sql`create table handled (
    n int generated always as identity, subscription text, process int, partition int, feed_position int
  )`.execute(log.kysely)
  return { log, url }
}

async function start(url: string, options: { leaseMs: number; pauseMs: number }): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=@colloquy/source',
      new URL('subscriber-process.ts', import.meta.url).pathname,
      JSON.stringify({ url, ...options }),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  children.add(child)
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.once('exit', (code) => reject(new Error(`the subscriber ended with ${code}`)))
  })
  return child
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
  children.delete(child)
}

async function handledBy(log: PostgresLog) {
  const { rows } = await sql<{ n: number; subscription: string; process: number; partition: number; feed_position: number }>`
    select * from handled order by n
  `.execute(log.kysely)
  return rows.map(({ feed_position: feedPosition, ...row }) => ({
    ...row,
    feedPosition,
    place: `${row.partition}/${feedPosition}`,
  }))
}

async function state(log: PostgresLog) {
  // The checkpoints first: what is handled behind them may move them.
  const rows = await checkpoints(log)
  const handled = await sql<{ n: number }>`select coalesce(max(n), 0) as n from handled`.execute(log.kysely)
  return {
    handled: handled.rows[0]?.n ?? 0,
    checkpoints: new Map(rows.map((row) => [`${row.name}/${row.partition}`, row.feedPosition])),
  }
}

async function checkpoints(log: PostgresLog) {
  const { rows } = await sql<{ name: string; partition: number; feed_position: string }>`
    select name, partition, feed_position from subscription
  `.execute(log.kysely)
  return rows.map((row) => ({ ...row, feedPosition: Number(row.feed_position) }))
}

async function untilCaughtUp(log: PostgresLog): Promise<void> {
  await vi.waitFor(async () => {
    const [heads, rows] = [await log.feedHeads(), await checkpoints(log)]
    expect(rows).toHaveLength(partitions * names.length)
    for (const { partition, feedPosition } of rows) expect(feedPosition).toBe(heads[partition])
  }, waiting)
}

/** Printed when the test fails, by its name in the output. */
function seeded(seed: number): () => number {
  console.info(`D4: seed ${seed}`)
  let state = seed % 2_147_483_647
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}
