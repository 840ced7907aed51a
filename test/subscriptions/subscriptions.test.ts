/** Durable subscriptions inside one process; `processes.test.ts` has what takes several. */
import { setImmediate } from 'node:timers/promises'
import { ColloquyError, cursorOf, encodeCursor, type OpenedEnvelope, partitionOf, type StoredEnvelope } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import {
  type DeadLetter,
  type DurableSubscription,
  forgetSubscription,
  type PostgresLog,
  type SubscribeOptions,
  subscribe,
} from '@colloquy/postgres'
import { type KyselyPlugin, sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { bothLogs } from '../support/both-logs.ts'
import { appendTo, newKey } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { tampered } from '../support/tampered-log.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const partitions = 4

describe.each(bothLogs(server, partitions))('a subscription on %s', (_name, open) => {
  let log: PostgresLog
  const running: DurableSubscription[] = []
  const errors: { error: unknown; where: string }[] = []
  let names = 0
  beforeAll(async () => {
    log = await open()
    await sql`create table total (name text primary key, envelopes int not null)`.execute(log.kysely)
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((subscription) => subscription.close()))
    errors.length = 0
  })
  afterAll(() => log.close())

  const newName = () => `subscription ${++names}`
  /** The end of the feed now: each test reads what it appends itself. */
  const here = async () => encodeCursor(log, await log.feedHeads())
  const start = async (options: SubscribeOptions): Promise<DurableSubscription> => {
    const onError = (error: unknown, where: string) => errors.push({ error, where })
    const subscription = await subscribe(log, { retryMs: 1, onError, ...options })
    running.push(subscription)
    return subscription
  }
  /** Conversations in all partitions. */
  const appendMany = async (conversations = 12, entries = 5): Promise<StoredEnvelope[]> => {
    const stored: StoredEnvelope[] = []
    for (let i = 0; i < conversations; i++)
      stored.push(
        ...(await appendTo(
          log,
          newKey(),
          Array.from({ length: entries }, () => ({})),
        )),
      )
    return stored
  }
  const placeOf = (envelope: StoredEnvelope) =>
    `${partitionOf(envelope, partitions, sha256)}/${String(envelope.feedPosition).padStart(6, '0')}`
  const placesOf = (envelopes: readonly StoredEnvelope[]) => envelopes.map(placeOf).toSorted()
  const expectInOrder = (handled: readonly StoredEnvelope[]) => {
    for (let partition = 0; partition < partitions; partition++) {
      const own = handled.map(placeOf).filter((place) => place.startsWith(`${partition}/`))
      expect(own).toEqual(own.toSorted())
    }
  }
  const isAt = (envelope: StoredEnvelope, other: StoredEnvelope | undefined) =>
    other !== undefined && placeOf(envelope) === placeOf(other)

  test('handles what is there and what comes, each envelope once, in order inside a partition', async () => {
    const from = await here()
    const stored = await appendMany()
    const handled: OpenedEnvelope[] = []
    const subscription = await start({ name: newName(), from, limit: 7, handle: (envelopes) => void handled.push(...envelopes) })
    await subscription.whenCaughtUp()
    expect(placesOf(handled)).toEqual(placesOf(stored))
    stored.push(...(await appendMany()))
    await subscription.whenCaughtUp()
    expect(placesOf(handled)).toEqual(placesOf(stored))
    expectInOrder(handled)
    expect(handled[0]?.action).toMatchObject({ type: 'messageAdded' })
    const status = await subscription.status()
    expect(status).toMatchObject({ lag: 0 })
    expect(status.partitions.map(({ isOurs, problem }) => [isOurs, problem])).toEqual(
      Array.from({ length: 4 }, () => [true, null]),
    )
    expect(errors).toEqual([])
  })

  test('goes on behind its checkpoints when it is subscribed again', async () => {
    const [name, from] = [newName(), await here()]
    const handled: StoredEnvelope[] = []
    const stored: StoredEnvelope[] = []
    for (let round = 0; round < 3; round++) {
      stored.push(...(await appendMany(4)))
      const subscription = await start({ name, from, handle: (envelopes) => void handled.push(...envelopes) })
      await subscription.whenCaughtUp()
      await subscription.close()
    }
    expect(placesOf(handled)).toEqual(placesOf(stored))
  })

  test('knows when it has dealt with a write of the caller, and says how far behind it is until then', async () => {
    const gate = Promise.withResolvers<void>()
    const subscription = await start({ name: newName(), from: 'end', handle: () => gate.promise })
    const stored = await appendTo(log, newKey(), [{}, {}])
    const token = cursorOf(stored[1] as StoredEnvelope, log, sha256)
    let isCaughtUp = false
    const caughtUp = subscription.whenCaughtUp(token).then(() => {
      isCaughtUp = true
    })
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(isCaughtUp).toBe(false)
    expect((await subscription.status()).lag).toBe(2)
    gate.resolve()
    await caughtUp
    expect((await subscription.status()).lag).toBe(0)
    await expect(subscription.whenCaughtUp('c1.1.5')).rejects.toMatchObject({ code: 'cursor_invalid' })
    await subscription.close()
    await expect(subscription.whenCaughtUp(token)).rejects.toMatchObject({ code: 'subscription_closed' })
  })

  test('handles only what its filter lets through, and checkpoints past the rest', async () => {
    const from = await here()
    const [wanted] = [await appendTo(log, newKey('wanted'), [{}, {}]), await appendMany(6)]
    const handled: StoredEnvelope[] = []
    const filter = { tenant: 'wanted' }
    const subscription = await start({ name: newName(), from, filter, handle: (envelopes) => void handled.push(...envelopes) })
    await subscription.whenCaughtUp()
    expect(placesOf(handled)).toEqual(placesOf(wanted))
    expect((await subscription.status()).lag).toBe(0)
  })

  test('keeps its filter: another one needs another name, until this one is forgotten', async () => {
    const [name, handle] = [newName(), () => {}]
    const begun = await start({ name, from: 'end', filter: { types: ['b', 'a'] }, handle })
    await begun.close()
    await (await start({ name, filter: { types: ['a', 'b', 'a'] }, handle })).close()
    for (const filter of [{}, { types: ['a', 'b', 'c'] }, { types: ['a', 'b'], tenant: 't' }]) {
      await expect(subscribe(log, { name, filter, handle })).rejects.toMatchObject({
        code: 'settings_invalid',
        details: { field: 'filter', problem: expect.stringContaining('{"types":["a","b"]}') },
      })
    }
    await start({ name: newName(), from: 'end', handle })
    await forgetSubscription(log, name)
    await start({ name, from: 'end', handle })
  })

  test('writes a projection exactly once, in the transaction of its checkpoint, however often the handler fails', async () => {
    const [name, from] = [newName(), await here()]
    const stored = await appendMany(10, 6)
    let calls = 0
    const subscription = await start({
      name,
      from,
      limit: 4,
      tries: 100,
      transactional: true,
      handle: async (envelopes, { transaction }) => {
        calls += 1
        await sql`
          insert into total values (${name}, ${envelopes.length})
          on conflict (name) do update set envelopes = total.envelopes + excluded.envelopes
        `.execute(transaction)
        if (calls % 3 === 0) throw new Error('behind its own write')
      },
    })
    await subscription.whenCaughtUp()
    expect(await total(name)).toBe(stored.length)
    expect(errors).toEqual([])
  })

  test('does not take a handler by its word that passes over the failure of a statement', async () => {
    const [name, from] = [newName(), await here()]
    const [first] = await appendTo(log, newKey(), [{}])
    const subscription = await start({
      name,
      from,
      tries: 2,
      transactional: true,
      handle: async (_envelopes, { transaction }) => {
        await sql`insert into total values (${name}, 1)`.execute(transaction)
        await sql`select 1 / 0`.execute(transaction).catch(() => undefined)
      },
    })
    await expect(subscription.whenCaughtUp()).rejects.toMatchObject({
      code: 'subscription_stopped',
      details: { feedPosition: (first?.feedPosition ?? 0) - 1, problem: expect.stringContaining('aborted') },
    })
    expect(await total(name)).toBe(undefined)
  })

  test('stops a partition at an envelope that it cannot handle, and only that one', async () => {
    const [name, from] = [newName(), await here()]
    const stored = await appendMany(12, 3)
    const poison = stored[16] as StoredEnvelope
    const handled: StoredEnvelope[] = []
    let tries = 0
    const handle = (envelopes: readonly OpenedEnvelope[]) => {
      if (envelopes.some((envelope) => isAt(envelope, poison))) {
        tries += 1
        throw new Error('no such account')
      }
      handled.push(...envelopes)
    }
    const subscription = await start({ name, from, limit: 5, tries: 3, handle })
    const place = { partition: partitionOf(poison, partitions, sha256), feedPosition: poison.feedPosition - 1 }
    await expect(subscription.whenCaughtUp()).rejects.toMatchObject({
      code: 'subscription_stopped',
      details: { name, ...place, problem: 'no such account' },
    })
    // Once in its page, and as often as it is to be tried by itself.
    expect(tries).toBe(4)
    const expected = placesOf(stored).filter((at) => !at.startsWith(`${place.partition}/`) || at < placeOf(poison))
    await vi.waitFor(() => expect(placesOf(handled)).toEqual(expected))
    const stands = (await subscription.status()).partitions[place.partition]
    expect(stands).toMatchObject({ feedPosition: place.feedPosition, problem: 'no such account' })
    expect(errors.map(({ error }) => error)).toEqual([new Error('no such account')])
    // Repaired, and subscribed again.
    await subscription.close()
    const repaired = await start({ name, handle: (envelopes) => void handled.push(...envelopes) })
    await repaired.whenCaughtUp()
    expect(placesOf(handled)).toEqual(placesOf(stored))
    expectInOrder(handled)
  })

  for (const transactional of [false, true]) {
    test(`parks what it cannot handle, goes on, and handles it later when asked to (transactional: ${transactional})`, async () => {
      const [name, from] = [newName(), await here()]
      const stored = await appendMany(8, 3)
      const poison = [stored[4], stored[5], stored[13]] as StoredEnvelope[]
      let isRepaired = false
      const handled: StoredEnvelope[] = []
      const subscription = await start({
        name,
        from,
        limit: 5,
        tries: 2,
        onPoison: 'park',
        transactional,
        handle: (envelopes: readonly OpenedEnvelope[]) => {
          const bad = envelopes.find((envelope) => poison.some((one) => isAt(envelope, one)))
          if (bad && !isRepaired) throw new Error(`cannot take ${bad.position}`)
          handled.push(...envelopes)
        },
      })
      await subscription.whenCaughtUp()
      expect(placesOf(handled)).toEqual(placesOf(stored.filter((envelope) => !poison.includes(envelope))))
      const letters = await subscription.deadLetters()
      expect(letters.map(({ partition, feedPosition }) => `${partition}/${String(feedPosition).padStart(6, '0')}`)).toEqual(
        placesOf(poison),
      )
      expect(letters[0]).toMatchObject({ tenant: 'tenant', tries: 2, problem: expect.stringContaining('cannot take') })
      expect(await subscription.deadLetters({ after: letters[0] as (typeof letters)[number], limit: 1 })).toEqual([letters[1]])

      const [letter] = letters as [(typeof letters)[number]]
      await expect(subscription.redrive(letter)).rejects.toThrow('cannot take')
      expect((await subscription.deadLetters())[0]).toMatchObject({ feedPosition: letter.feedPosition, tries: 3 })
      isRepaired = true
      for (const one of letters) await subscription.redrive(one)
      expect(placesOf(handled)).toEqual(placesOf(stored))
      expect(await subscription.deadLetters()).toEqual([])
      await expect(subscription.redrive(letter)).rejects.toMatchObject({ code: 'dead_letter_not_found' })
    })
  }

  test('is shared: each process has as many partitions, and what one gives back others take', async () => {
    const [name, from] = [newName(), await here()]
    const handled: { member: number; envelope: StoredEnvelope }[] = []
    const join = (member: number) =>
      start({
        name,
        from,
        // Looked after every second as with a shorter one, and long enough that none runs out while the machine has other work.
        leaseMs: 30_000,
        handle: (envelopes) => void handled.push(...envelopes.map((envelope) => ({ member, envelope }))),
      })
    const holdings = async (): Promise<number[]> => {
      const rows = (await first.status()).partitions
      const counts = Map.groupBy(rows, ({ leasedBy }) => leasedBy ?? 'nobody')
      return [...counts.values()].map((held) => held.length).toSorted()
    }
    const first = await join(1)
    expect(await holdings()).toEqual([4])
    const second = await join(2)
    await vi.waitFor(async () => expect(await holdings()).toEqual([2, 2]))
    const stored = await appendMany()
    await Promise.all([first.whenCaughtUp(), second.whenCaughtUp()])
    expect(new Set(handled.map(({ member }) => member))).toEqual(new Set([1, 2]))
    const third = await join(3)
    await vi.waitFor(async () => expect(await holdings()).toEqual([1, 1, 2]))
    await second.close()
    await third.close()
    await vi.waitFor(async () => expect(await holdings()).toEqual([4]))
    stored.push(...(await appendMany()))
    await first.whenCaughtUp()
    expect(placesOf(handled.map(({ envelope }) => envelope))).toEqual(placesOf(stored))
    expectInOrder(handled.map(({ envelope }) => envelope))
    expect(errors).toEqual([])
  })

  test('stops reading a partition that somebody took over: its checkpoint misses (cases 35 and 36)', async () => {
    const [name, from] = [newName(), await here()]
    const stored = await appendTo(log, newKey(), [{}, {}, {}])
    const partition = partitionOf(stored[0] as StoredEnvelope, partitions, sha256)
    const [entered, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const handled: StoredEnvelope[][] = []
    const subscription = await start({
      name,
      from,
      handle: async (envelopes) => {
        handled.push([...envelopes])
        entered.resolve()
        if (handled.length === 1) await gate.promise
      },
    })
    await entered.promise
    // What a member does that takes the lease over, handles the first of them and moves the checkpoint.
    const moved = sql`
      update subscription set epoch = epoch + 1, leased_by = 'another', leased_until = leased_until + 60000000,
        feed_position = ${stored[0]?.feedPosition}
      where name = ${name} and partition = ${partition}
    `
    await moved.execute(log.kysely)
    gate.resolve()
    await vi.waitFor(async () => {
      const row = (await subscription.status()).partitions[partition]
      expect(row).toMatchObject({ feedPosition: stored[0]?.feedPosition, leasedBy: 'another', isOurs: false })
    })
    await appendTo(log, newKey(), [{}])
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect((await subscription.status()).partitions[partition]).toMatchObject({ feedPosition: stored[0]?.feedPosition })
    expect(handled.flat().filter((envelope) => stored.some((one) => isAt(envelope, one)))).toHaveLength(3)
  })

  test('holds one page a partition, of as many partitions as work at once', async () => {
    const from = await here()
    await appendMany(12, 20)
    const gate = Promise.withResolvers<void>()
    let pages = 0
    const counted = tampered(log, (log) => ({
      feed: async (query) => {
        pages += 1
        return log.feed(query)
      },
    })) as PostgresLog
    const subscription = await subscribe(counted, { name: newName(), from, limit: 5, concurrency: 2, handle: () => gate.promise })
    running.push(subscription)
    await vi.waitFor(() => expect(pages).toBe(2))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(pages).toBe(2)
    gate.resolve()
    await subscription.whenCaughtUp()
  })

  test('is rebuilt beside the running one while appends are under way, twice with the same result (cases 22 and 34)', async () => {
    const [name, from] = [newName(), await here()]
    const project = (version: string): Promise<DurableSubscription> =>
      start({
        name: `${name} ${version}`,
        from,
        limit: 10,
        transactional: true,
        handle: async (envelopes, { transaction }) => {
          await sql`
            insert into total values (${`${name} ${version}`}, ${envelopes.length})
            on conflict (name) do update set envelopes = total.envelopes + excluded.envelopes
          `.execute(transaction)
        },
      })
    let appended = (await appendMany(10, 5)).length
    const old = await project('v1')
    await old.whenCaughtUp()
    let isAppending = true
    const appending = (async () => {
      while (isAppending) {
        appended += (await appendMany(2, 3)).length
        await setImmediate()
      }
    })()
    // The new one begins at the beginning and is used when it has caught up; until then the old one answers.
    const next = await project('v2')
    await next.whenCaughtUp()
    isAppending = false
    await appending
    await Promise.all([old.whenCaughtUp(), next.whenCaughtUp()])
    expect([await total(`${name} v1`), await total(`${name} v2`)]).toEqual([appended, appended])
    // Rebuilt in its place: what it wrote goes first, and its name with it.
    await next.close()
    await sql`delete from total where name = ${`${name} v2`}`.execute(log.kysely)
    await forgetSubscription(log, `${name} v2`)
    await (await project('v2')).whenCaughtUp()
    expect(await total(`${name} v2`)).toBe(appended)
  })

  test('tries again while the database cannot be read, and does not blame an envelope', async () => {
    const from = await here()
    const stored = await appendMany(4, 4)
    let failures = 0
    const shaky = tampered(log, (log) => ({
      feed: (query) => {
        failures += 1
        if (failures % 2 === 1) return Promise.reject(new ColloquyError('database_unreachable', { target: 'x', problem: 'gone' }))
        return log.feed(query)
      },
    })) as PostgresLog
    const handled: StoredEnvelope[] = []
    const subscription = await subscribe(shaky, {
      name: newName(),
      from,
      tries: 1,
      onError: (error, where) => errors.push({ error, where }),
      handle: (envelopes) => void handled.push(...envelopes),
    })
    running.push(subscription)
    await subscription.whenCaughtUp()
    expect(placesOf(handled)).toEqual(placesOf(stored))
    expect(errors[0]).toMatchObject({ error: { code: 'database_unreachable' } })
  })

  test('that fails to begin leaves nothing running, and its partitions to others', async () => {
    const name = newName()
    await appendMany(12, 1)
    let leases = 0
    const failing: KyselyPlugin = {
      transformQuery({ node }) {
        const isLease = node.kind === 'UpdateQueryNode' && JSON.stringify(node.updates).includes('leased_by')
        if (isLease && ++leases === 3) throw new Error('no more of them')
        return node
      },
      transformResult: ({ result }) => Promise.resolve(result),
    }
    const handled = vi.fn<() => void>()
    const options = { name, onError: () => {}, handle: handled }
    await expect(subscribe({ ...log, kysely: log.kysely.withPlugin(failing) }, options)).rejects.toMatchObject({
      code: 'database_failed',
    })
    const calls = handled.mock.calls.length
    const free = await sql<{ leased_by: string | null }>`select leased_by from subscription where name = ${name}`.execute(
      log.kysely,
    )
    expect(free.rows).toEqual(Array.from({ length: partitions }, () => ({ leased_by: null })))
    await appendMany(12, 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(handled).toHaveBeenCalledTimes(calls)
  })

  test('that is forgotten never says that it has caught up', async () => {
    const name = newName()
    await appendMany(4, 1)
    const subscription = await start({ name, handle: () => {} })
    await subscription.whenCaughtUp()
    await forgetSubscription(log, name)
    await expect(subscription.whenCaughtUp()).rejects.toMatchObject({ code: 'subscription_closed' })
  })

  test('does not take the next envelope for a dead letter whose own is gone', async () => {
    const [name, from] = [newName(), await here()]
    const key = newKey()
    const [first] = (await appendTo(log, key, [{}, {}])) as [StoredEnvelope]
    const isFirst = (envelope: OpenedEnvelope) => isAt(envelope, first)
    const handle = vi.fn<(envelopes: readonly OpenedEnvelope[]) => void>((envelopes) => {
      if (envelopes.some(isFirst)) throw new Error('no')
    })
    const subscription = await start({ name, from, tries: 1, onPoison: 'park', handle })
    await subscription.whenCaughtUp()
    const [letter] = await subscription.deadLetters()
    const gone = tampered(log, (log) => ({
      feed: async (query) => {
        const page = await log.feed({ ...query, limit: query.limit + 1 })
        return { ...page, envelopes: page.envelopes.filter((envelope) => !isAt(envelope, first)).slice(0, query.limit) }
      },
    })) as PostgresLog
    const again = await subscribe(gone, { name, onPoison: 'park', onError: () => {}, handle })
    running.push(again)
    handle.mockClear()
    await expect(again.redrive(letter as DeadLetter)).rejects.toMatchObject({ code: 'feed_hole' })
    expect(handle).not.toHaveBeenCalled()
    expect(await again.deadLetters()).toHaveLength(1)
  })

  test('refuses a name, a cursor and settings that cannot be', async () => {
    const handle = () => {}
    await expect(subscribe(log, { name: '', handle })).rejects.toMatchObject({ code: 'id_invalid' })
    await expect(subscribe(log, { name: newName(), from: 'c1.9.1', handle })).rejects.toMatchObject({ code: 'cursor_invalid' })
    await expect(subscribe(log, { name: newName(), limit: 0, handle })).rejects.toMatchObject({ code: 'settings_invalid' })
  })

  async function total(name: string): Promise<number | undefined> {
    const { rows } = await sql<{ envelopes: number }>`select envelopes from total where name = ${name}`.execute(log.kysely)
    return rows[0]?.envelopes
  }
})
