/** `engine.feed$` and `engine.feed` over every log. */
import {
  ColloquyError,
  type ConversationKey,
  cursorCovers,
  type EventLog,
  encodeCursor,
  followFeed,
  messageAdded,
  pageBytes,
  partitionOf,
  type StoredEnvelope,
} from '@colloquy/core'
import { createEngine, type FeedBatch, type FeedEnvelope, openMemoryLog, sha256 } from '@colloquy/engine'
import { type Database, openEmbeddedLog, openPostgresLog } from '@colloquy/postgres'
import type { Kysely } from 'kysely'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { appendTo, beginningOf, type Expected, following, newKey, utf8 } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { tampered, withoutHints } from '../support/tampered-log.ts'

type AnyEngine = ReturnType<typeof createEngine>

interface Opened {
  readonly log: EventLog
  readonly kysely?: Kysely<Database>
  /** Another process' log over the same store. */
  readonly other?: EventLog
}

const server = await startPostgres()
afterAll(() => server?.stop())

const logs: Record<string, () => Promise<Opened>> = {
  'memory, 1 partition': async () => ({ log: openMemoryLog() }),
  'memory, 8 partitions': async () => ({ log: openMemoryLog({ partitions: 8 }) }),
  'PGlite, 4 partitions': async () => {
    const log = await openEmbeddedLog({ memory: true, partitions: 4 })
    return { log, kysely: log.kysely }
  },
  ...(server && {
    'Postgres, 8 partitions': async () => {
      const url = await server.createDatabase()
      const log = await openPostgresLog({ url, migrate: true, partitions: 8 })
      return { log, kysely: log.kysely, other: await openPostgresLog({ url }) }
    },
  }),
}

// What only tables can show is shown once: each PGlite takes seconds to start.
describe.each(Object.entries(logs).filter(([name]) => !name.startsWith('PGlite')))('the feed of %s', (_name, open) => {
  const opened: Opened[] = []
  const engines: AnyEngine[] = []
  const fresh = async (): Promise<Opened> => {
    const made = await open()
    opened.push(made)
    return made
  }
  const engineOn = (log: EventLog, onError: (error: unknown, where: string) => void = () => {}) => {
    const engine = createEngine({ log, tenant: 'tenant', onError })
    engines.push(engine)
    return engine
  }
  afterAll(async () => {
    for (const engine of engines) await engine.close()
    for (const { log, other } of opened) await Promise.all([log.close(), other?.close()])
  })

  test('gives what is there and then what comes, each envelope once and in order', async () => {
    const { log, other = log } = await fresh()
    const keys = Array.from({ length: 6 }, () => newKey())
    const stored: StoredEnvelope[] = []
    for (const key of keys) stored.push(...(await appendTo(log, key, [{}, {}, {}])))
    const heard = listen(engineOn(log))
    await vi.waitFor(() => expect(heard).toHaveLength(18))
    // By another process where there can be one: no hint comes from there, the sweep finds it.
    for (const key of keys) stored.push(...(await appendTo(other, key, [{}, {}])))
    await vi.waitFor(() => expect(heard).toHaveLength(30), waiting)
    expectSame(log, heard, stored)
  })

  test('goes on behind any cursor that it gave, without a gap or a repeat', async () => {
    const { log } = await fresh()
    for (let i = 0; i < 5; i++) await appendTo(log, newKey(), [{}, {}, {}, {}])
    const engine = engineOn(log)
    const all = await first(engine, {}, 20)
    for (const cut of [0, 6, 13, 18]) {
      const seen = all.slice(0, cut + 1)
      const rest = await first(engine, { from: seen[cut]?.cursor as string }, 20 - seen.length)
      expect(places(log, [...seen, ...rest]).toSorted()).toEqual(places(log, all).toSorted())
    }
    const batches: FeedBatch[] = []
    for await (const batch of engine.feed()) {
      batches.push(batch)
      if (batches.flatMap(({ envelopes }) => envelopes).length === 20) break
    }
    const end = batches.at(-1)?.cursor as string
    expect(cursorCovers(end, encodeCursor(log, await log.feedHeads()), log)).toBe(true)
    const next = first(engine, { from: end }, 1)
    const [added] = await appendTo(log, newKey(), [{}])
    expect((await next).map(({ hash }) => hash)).toEqual([added?.hash])
  })

  test('begins with what comes from now on when asked to', async () => {
    const { log } = await fresh()
    const key = newKey()
    await appendTo(log, key, [{}, {}])
    const asked = vi.fn<() => void>()
    const engine = engineOn(
      tampered(log, (log) => ({
        feedHeads: () => {
          asked()
          return log.feedHeads()
        },
      })),
    )
    const next = first(engine, { from: 'end' }, 1)
    // Where it begins, and the first look at what has come since.
    await vi.waitFor(() => expect(asked.mock.calls.length).toBeGreaterThanOrEqual(2))
    await appendTo(log, key, [{}])
    expect((await next).map(({ position }) => position)).toEqual([3])
  })

  test('is that of the own tenant, of another one, or of everybody, and can be narrowed', async () => {
    const { log } = await fresh()
    const [mine, twin, theirs] = [newKey('tenant'), newKey('tenant'), newKey('other')]
    for (const key of [mine, theirs, twin]) await appendTo(log, key, [{}, {}])
    const engine = engineOn(log)
    await (await engine.open(mine.conversationId)).dispatch(
      messageAdded({ message: { v: 1, id: 'm', role: 'user', parts: [{ type: 'text', text: 'hi' }] }, tokenCount: 1 }),
    )
    const ids = (envelopes: readonly FeedEnvelope[]) => new Set(envelopes.map(({ conversationId }) => conversationId))
    expect(ids(await first(engine, {}, 5))).toEqual(new Set([mine.conversationId, twin.conversationId]))
    expect(ids(await first(engine, { tenant: 'other' }, 2))).toEqual(new Set([theirs.conversationId]))
    expect(ids(await first(engine, { tenant: null }, 7)).size).toBe(3)
    expect(ids(await first(engine, { conversation: twin.conversationId }, 2))).toEqual(new Set([twin.conversationId]))
    const narrowed = listen(engine, { types: ['messageAdded'], conversation: mine.conversationId })
    const nothing = listen(engine, { types: ['toolStarted'] })
    await vi.waitFor(() => expect(narrowed.map(({ position }) => position)).toEqual([1, 2, 3]))
    expect(narrowed[2]?.action.payload).toMatchObject({ message: { id: 'm' } })
    expect(nothing).toEqual([])
  })

  test('of one conversation looks at its partition alone', async () => {
    const { log } = await fresh()
    const read = new Set<number>()
    const watched: EventLog = {
      ...log,
      feedPages: (query) => {
        for (const partition of query.after.keys()) read.add(partition)
        return log.feedPages(query)
      },
    }
    const keys = Array.from({ length: 12 }, () => newKey('tenant'))
    for (const key of keys) await appendTo(log, key, [{}])
    const [key] = keys as [ConversationKey]
    const heard = listen(engineOn(watched), { conversation: key.conversationId })
    for (const each of keys) await appendTo(log, each, [{}])
    await vi.waitFor(() => expect(heard.map(({ position }) => position)).toEqual([1, 2]), waiting)
    expect([...read]).toEqual([partitionOf(key, log.partitions, sha256)])
  })

  test('loses nothing when no hint arrives', async () => {
    const { log } = await fresh()
    const heard = listen(engineOn(withoutHints(log)))
    const key = newKey()
    const stored = [...(await appendTo(log, key, [{}]))]
    await vi.waitFor(() => expect(heard).toHaveLength(1), waiting)
    stored.push(...(await appendTo(log, key, [{}])))
    await vi.waitFor(() => expect(heard).toHaveLength(2), waiting)
    expectSame(log, heard, stored)
  })

  test('reads partition by partition when their ends cannot be asked for', async () => {
    const { log } = await fresh()
    const errors: unknown[] = []
    const failure = new ColloquyError('database_failed', {
      operation: 'give the ends',
      sqlState: 'XX000',
      problem: 'no such plan',
    })
    const broken = tampered(withoutHints(log), () => ({ feedHeads: () => Promise.reject(failure) }))
    const heard = listen(engineOn(broken, (error) => errors.push(error)))
    const stored: StoredEnvelope[] = []
    for (let i = 0; i < 3; i++) stored.push(...(await appendTo(log, newKey(), [{}])))
    await vi.waitFor(() => expect(heard).toHaveLength(3), waiting)
    expectSame(log, heard, stored)
    expect(errors[0]).toBe(failure)
  })

  test('waits while the database cannot be reached, and then goes on', async () => {
    const { log } = await fresh()
    let isDown = false
    const refuse = () => Promise.reject(new ColloquyError('database_unreachable', { target: 'x', problem: 'gone' }))
    const shaky = tampered(log, (log) => ({
      feedPages: (query) => (isDown ? refuse() : log.feedPages(query)),
      feedHeads: () => (isDown ? refuse() : log.feedHeads()),
    }))
    const errors: unknown[] = []
    const heard = listen(engineOn(shaky, (error) => errors.push(error)))
    const stored = [...(await appendTo(log, newKey(), [{}]))]
    await vi.waitFor(() => expect(heard).toHaveLength(1), waiting)
    isDown = true
    stored.push(...(await appendTo(log, newKey(), [{}])))
    await vi.waitFor(() => expect(errors).toContainEqual(expect.objectContaining({ code: 'database_unreachable' })), waiting)
    isDown = false
    await vi.waitFor(() => expect(heard).toHaveLength(2), waiting)
    expectSame(log, heard, stored)
  })

  test('refuses a cursor of another log', async () => {
    const { log } = await fresh()
    await appendTo(log, newKey(), [{}])
    const engine = engineOn(log)
    const more = encodeCursor(
      log,
      Array.from({ length: log.partitions + 1 }, () => 0),
    )
    const heads = await log.feedHeads()
    const beyond = encodeCursor(
      log,
      heads.map((head) => head + 1),
    )
    // As many partitions, and as far.
    const others = encodeCursor((await fresh()).log, heads)
    const invalid = { code: 'cursor_invalid' }
    const details = { partition: 0, heldPosition: (heads[0] as number) + 1, headPosition: heads[0] }
    for (const [from, refusal] of [
      ['nonsense', invalid],
      [more, invalid],
      [others, invalid],
      [beyond, { code: 'history_rewound', details }],
    ] as const) {
      await expect(first(engine, { from }, 1)).rejects.toMatchObject(refusal)
      await expect(engine.feed({ from })[Symbol.asyncIterator]().next()).rejects.toMatchObject(refusal)
    }
  })

  test('reads the next page when the one before was dealt with', async () => {
    const { log } = await fresh()
    const key = newKey()
    for (let i = 0; i < 4; i++)
      await appendTo(
        log,
        key,
        Array.from({ length: 500 }, () => ({})),
      )
    let pages = 0
    const counted = tampered(log, (log) => ({
      feedPages: async (query) => {
        const found = await log.feedPages(query)
        for (const { envelopes } of found.values()) if (envelopes.length > 0) pages += 1
        return found
      },
    }))
    const engine = engineOn(counted)
    const batches = engine.feed({ tenant: null })[Symbol.asyncIterator]()
    for (let expected = 1; expected <= 4; expected++) {
      expect((await batches.next()).value.envelopes).toHaveLength(500)
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(pages).toBe(expected)
    }
    await batches.return?.()
    await appendTo(log, key, [{}])
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(pages).toBe(4)
  })

  test('reads on behind a page that ended by its bytes, without a further hint', async () => {
    const { log } = await fresh()
    // It fires once: the ends are looked at before anything is there, and never again.
    const followed = followFeed(log, { timer: () => () => {} })
    const found: number[] = []
    const reading = (async () => {
      for await (const { envelopes } of followed) {
        found.push(...envelopes.map(({ position }) => position))
        if (found.length === 4) return
      }
    })()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const large = { body: utf8(JSON.stringify({ payload: { text: 'x'.repeat(pageBytes / 2) } })) }
    await appendTo(log, newKey(), [large, large, {}, {}])
    try {
      await vi.waitFor(() => expect(found).toEqual([1, 2, 3, 4]), waiting)
    } finally {
      followed.stop()
      await reading
    }
  })

  test('asks once for all partitions that grew together', async () => {
    const { log } = await fresh()
    const asked: number[][] = []
    const watched = tampered(log, (log) => ({
      feedPages: (query) => {
        asked.push([...query.after.keys()].toSorted((a, b) => a - b))
        return log.feedPages(query)
      },
    }))
    await appendTo(log, newKey(), [{}])
    const heard = listen(engineOn(watched), { tenant: null })
    await vi.waitFor(() => expect(heard).toHaveLength(1), waiting)
    const before = asked.length
    const keys = Array.from({ length: 20 }, () => newKey())
    const expected = keys.map(beginningOf)
    await log.append(
      keys.map((key, i) => ({
        key,
        expected: expected[i] as Expected,
        envelopes: following(key, expected[i] as Expected, [{}]),
      })),
    )
    await vi.waitFor(() => expect(heard).toHaveLength(21), waiting)
    expect(asked.slice(before)).toEqual([[...new Set(keys.map((key) => placeOf(log, key)))].toSorted((a, b) => a - b)])
  })

  test('rests behind much for as long as that deserves, and not behind little; who stops it need not wait', async () => {
    const { log } = await fresh()
    const rests = new Map<() => void, number>()
    // No sweep comes but the first.
    const timer = (listener: () => void, ms: number) => {
      if (ms < 1_000) rests.set(listener, ms)
      return () => void rests.delete(listener)
    }
    const followed = followFeed(log, { from: 'end', timer })
    const found: string[] = []
    const reading = (async () => {
      for await (const { envelopes } of followed) found.push(...envelopes.map(({ conversationId }) => conversationId))
    })()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const [key, late] = [newKey(), newKey()]
    await appendTo(log, key, [{}, {}])
    await vi.waitFor(() => expect(found).toHaveLength(2), waiting)
    await appendTo(log, key, [{}])
    await vi.waitFor(() => expect(found).toHaveLength(3), waiting)
    expect([...rests]).toEqual([])
    await appendTo(
      log,
      key,
      Array.from({ length: 64 }, () => ({})),
    )
    await vi.waitFor(() => expect([...rests.values()]).toEqual([4]), waiting)
    await appendTo(log, late, [{}])
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(found).toHaveLength(67)
    for (const end of rests.keys()) end()
    await vi.waitFor(() => expect(found.at(-1)).toBe(late.conversationId), waiting)
    await appendTo(
      log,
      late,
      Array.from({ length: 400 }, () => ({})),
    )
    await vi.waitFor(() => expect([...rests.values()]).toEqual([25]), waiting)
    followed.stop()
    await reading
    expect([...rests]).toEqual([])
  })

  test('a subscriber that throws harms neither another one nor the append', async () => {
    const { log } = await fresh()
    const errors: { error: unknown; where: string }[] = []
    const engine = engineOn(log, (error, where) => errors.push({ error, where }))
    const failure = new Error('no')
    engine.feed$().subscribe(() => {
      throw failure
    })
    const heard = listen(engine)
    const stored = await appendTo(log, newKey(), [{}, {}])
    await vi.waitFor(() => expect(heard).toHaveLength(2), waiting)
    await vi.waitFor(() => expect(errors).toEqual([1, 2].map(() => ({ error: failure, where: 'engine.feed$' }))))
    expectSame(log, heard, stored)
  })

  test('ends when its engine is closed, and when nobody listens any more', async () => {
    const { log } = await fresh()
    let starts = 0
    const stops: number[] = []
    const watched = tampered(log, (log) => ({
      onGrowth: (listener) => {
        starts += 1
        const stop = log.onGrowth(listener)
        return () => {
          stops.push(1)
          stop()
        }
      },
    }))
    const engine = engineOn(watched)
    await appendTo(log, newKey(), [{}])
    await first(engine, {}, 1)
    await vi.waitFor(() => expect(stops).toHaveLength(1))
    const ended = vi.fn<() => void>()
    engine.feed$().subscribe({ complete: ended })
    const rest = (async () => {
      for await (const { envelopes } of engine.feed()) if (envelopes.length > 1) return 'more'
      return 'ended'
    })()
    await vi.waitFor(() => expect(starts).toBe(3))
    await engine.close()
    expect(await rest).toBe('ended')
    await vi.waitFor(() => expect(ended).toHaveBeenCalledOnce())
    await vi.waitFor(() => expect(stops).toHaveLength(3))
    await expect(engine.feed()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'engine_closed' })
  })
})

describe.each(Object.entries(logs).filter(([name]) => !name.startsWith('memory')))('the feed of %s', (_name, open) => {
  test('calls a hole by its position, also one at the end: it is never an append under way', async () => {
    const { log, kysely, other } = await open()
    const key = newKey()
    const stored = await appendTo(log, key, [{}, {}, {}])
    const partition = partitionOf(key, log.partitions, sha256)
    await kysely?.deleteFrom('envelope').where('partition', '=', partition).where('position', '=', 2).execute()
    const engine = createEngine({ log, tenant: 'tenant', onError: () => {} })
    const hole = { code: 'feed_hole', details: { partition, expected: stored[1]?.feedPosition, found: stored[2]?.feedPosition } }
    await expect(first(engine, { tenant: null }, 3)).rejects.toMatchObject(hole)
    // Who asks for a part of it sees positions apart anyway.
    expect((await first(engine, {}, 2)).map(({ position }) => position)).toEqual([1, 3])
    await kysely?.deleteFrom('envelope').where('partition', '=', partition).where('position', '>', 1).execute()
    const [only] = stored as [StoredEnvelope]
    const atTheEnd = { code: 'feed_hole', details: { partition, expected: only.feedPosition + 1, found: only.feedPosition + 3 } }
    await expect(first(engine, { tenant: null }, 2)).rejects.toMatchObject(atTheEnd)
    await engine.close()
    await Promise.all([log.close(), other?.close()])
  })
})

/** The sweep is once a second. */
const waiting = { timeout: 30_000 }

type Options = Parameters<AnyEngine['feed$']>[0]

function listen(engine: AnyEngine, options?: Options): FeedEnvelope[] {
  const heard: FeedEnvelope[] = []
  engine.feed$(options).subscribe((envelope) => heard.push(envelope))
  return heard
}

function first(engine: AnyEngine, options: Options, count: number): Promise<FeedEnvelope[]> {
  const envelopes: FeedEnvelope[] = []
  return new Promise((resolve, reject) => {
    const subscription = engine.feed$(options).subscribe({
      next(envelope) {
        envelopes.push(envelope)
        if (envelopes.length < count) return
        subscription.unsubscribe()
        resolve(envelopes)
      },
      error: reject,
    })
  })
}

const placeOf = (log: EventLog, key: ConversationKey) => partitionOf(key, log.partitions, sha256)

const places = (log: EventLog, envelopes: readonly StoredEnvelope[]): string[] =>
  envelopes.map((envelope) => `${placeOf(log, envelope)}/${envelope.feedPosition}`)

/** Each stored envelope was heard once, in the order of its partition. */
function expectSame(log: EventLog, heard: readonly FeedEnvelope[], stored: readonly StoredEnvelope[]): void {
  const byPlace = <E extends StoredEnvelope>(envelopes: readonly E[]) =>
    envelopes.toSorted((a, b) => placeOf(log, a) - placeOf(log, b) || a.feedPosition - b.feedPosition)
  expect(
    places(
      log,
      heard.toSorted((a, b) => placeOf(log, a) - placeOf(log, b)),
    ),
  ).toEqual(places(log, byPlace(stored)))
  for (const [i, envelope] of byPlace(stored).entries()) expect(byPlace(heard)[i]).toMatchObject(envelope)
}
