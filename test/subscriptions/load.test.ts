/** Many writers and one reader (row D3), and a reader that cannot keep up (row D14). */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type ConversationKey, type EventLog, partitionOf, type StoredEnvelope } from '@colloquy/core'
import { createEngine, sha256 } from '@colloquy/engine'
import { openPostgresLog, type PostgresLog, postgresSignals } from '@colloquy/postgres'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { appendTo, beginningOf, type Expected, following, newKey, utf8 } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const partitions = 8
const writers = 8
const commits = Number(process.env['COLLOQUY_FEED_COMMITS'] ?? 10_000)

async function newLogs(url: string, count: number): Promise<readonly [PostgresLog, ...PostgresLog[]]> {
  const open = (migrate: boolean) => openPostgresLog({ url, migrate, partitions, signals: postgresSignals({ url }) })
  const first = await open(true)
  return [first, ...(await Promise.all(Array.from({ length: count - 1 }, () => open(false))))]
}

describe.skipIf(!server)('the feed', () => {
  test(`misses nothing, repeats nothing and keeps the order under ${writers} writers and rollbacks, ${commits} commits (D3)`, async () => {
    const [reading, ...writing] = await newLogs((await server?.createDatabase()) ?? '', writers + 1)
    const heard: string[] = []
    const last = new Map<string, number>()
    const failures: unknown[] = []
    const engine = createEngine({ log: reading, onError: (error) => failures.push(error) })
    engine.feed$({ tenant: null }).subscribe((envelope) => {
      heard.push(`${partitionOf(envelope, partitions, sha256)}/${envelope.feedPosition}`)
      // Also across tenants and whatever the partition: a conversation's own order.
      const name = envelope.conversationId
      if (envelope.position !== (last.get(name) ?? 0) + 1)
        failures.push(`${name} goes from ${last.get(name)} to ${envelope.position}`)
      last.set(name, envelope.position)
    })

    // Held open while others append: in its partition they wait for it, and so does the feed.
    const held = Promise.withResolvers<void>()
    const holder = reading.kysely.transaction().execute(async (transaction) => {
      const log = await openPostgresLog({ kysely: transaction })
      await appendTo(log, newKey(), [{}, {}])
      await held.promise
    })
    setTimeout(held.resolve, 2_000)

    const shared = Array.from({ length: 4 }, () => newKey())
    await Promise.all(writing.map((log, writer) => write(log, writer, shared)))
    await holder
    const heads = await reading.feedHeads()
    const stored = heads.flatMap((head, partition) => Array.from({ length: head }, (_, i) => `${partition}/${i + 1}`))
    expect(stored.length).toBeGreaterThanOrEqual(commits)
    await vi.waitFor(() => expect(heard.length).toBeGreaterThanOrEqual(stored.length), { timeout: 60_000 })
    expect(failures).toEqual([])
    expect(heard.toSorted()).toEqual(stored.toSorted())
    for (let partition = 0; partition < partitions; partition++) {
      const own = heard.filter((place) => place.startsWith(`${partition}/`))
      expect(own).toEqual(own.map((_, i) => `${partition}/${i + 1}`))
    }
    await engine.close()
    await Promise.all([reading, ...writing].map((log) => log.close()))
  }, 600_000)

  for (const consumer of ['observable', 'iterable']) {
    test(`keeps nothing in memory behind a consumer that is slow (${consumer}, 100,000 envelopes, D14)`, async () => {
      const url = (await server?.createDatabase()) ?? ''
      const [log] = await newLogs(url, 1)
      const child = spawn(
        process.execPath,
        ['--expose-gc', '--conditions=@colloquy/source', new URL('slow-consumer.ts', import.meta.url).pathname, url, consumer],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      )
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      try {
        expect((await lines.next()).value).toBe('listening')
        const body = utf8(JSON.stringify({ payload: { text: 'x'.repeat(400) } }))
        for (let i = 0; i < 100; i++) {
          const requests = Array.from({ length: 20 }, () => {
            const key = newKey()
            const expected = beginningOf(key)
            return {
              key,
              expected,
              envelopes: following(
                key,
                expected,
                Array.from({ length: 50 }, () => ({ body })),
              ),
            }
          })
          await log.append(requests)
        }
        // Past the first page, and far behind.
        for (let isPast = false; !isPast; ) {
          child.stdin.write('?\n')
          const { handled, grownBytes } = JSON.parse((await lines.next()).value ?? '') as { handled: number; grownBytes: number }
          isPast = handled > 500
          expect(handled).toBeLessThan(50_000)
          expect(grownBytes).toBeLessThan(50 * 2 ** 20)
        }
      } finally {
        child.kill('SIGKILL')
        await log.close()
      }
    })
  }
})

/** Its part of the commits, to conversations of its own and to shared ones, and a rollback among each fifty. */
async function write(log: PostgresLog, writer: number, shared: readonly ConversationKey[]): Promise<void> {
  const own = Array.from({ length: 5 }, () => newKey()).map((key) => ({ key, head: beginningOf(key) }))
  for (let commit = 0; commit < commits / writers; commit++) {
    const mine = own[commit % 5] as (typeof own)[number]
    if (commit % 50 === 10) await rollBack(log, mine.key)
    if (commit % 10 === writer) await appendSomehow(log, shared[commit % 4] as ConversationKey)
    else mine.head = await appendAt(log, mine.key, mine.head)
  }
}

async function appendAt(log: EventLog, key: ConversationKey, expected: Expected): Promise<Expected> {
  const [outcome] = await log.append([{ key, expected, envelopes: following(key, expected, [{}]) }])
  if (outcome?.status !== 'appended') throw new Error(`The append came back as ${outcome?.status}.`)
  return outcome.envelopes[0] as StoredEnvelope
}

/** Another writer may be first. */
async function appendSomehow(log: EventLog, key: ConversationKey): Promise<void> {
  for (;;) {
    const expected = (await log.head(key)) ?? beginningOf(key)
    const [outcome] = await log.append([{ key, expected, envelopes: following(key, expected, [{}]) }])
    if (outcome?.status === 'appended') return
  }
}

async function rollBack(log: PostgresLog, key: ConversationKey): Promise<void> {
  const undone = new Error('rolled back')
  await log.kysely
    .transaction()
    .execute(async (transaction) => {
      await appendTo(await openPostgresLog({ kysely: transaction }), key, [{}, {}, {}])
      throw undone
    })
    .catch((error: unknown) => {
      if (error !== undone) throw error
    })
}
