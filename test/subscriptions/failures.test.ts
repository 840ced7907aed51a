/** What a durable subscription does when its handler fails, when the database does, and how it tells one from the other. */
import { ColloquyError, type EventLog, encodeCursor, type StoredEnvelope } from '@colloquy/core'
import { type DurableSubscription, openPostgresLog, type PostgresLog, type SubscribeOptions, subscribe } from '@colloquy/postgres'
import { type KyselyPlugin, sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { bothLogs } from '../support/both-logs.ts'
import { appendTo, newKey } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { tampered } from '../support/tampered-log.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const partitions = 4

const running: DurableSubscription[] = []
const errors: { error: unknown; where: string }[] = []
let names = 0
afterEach(async () => {
  await Promise.all(running.splice(0).map((subscription) => subscription.close()))
  errors.length = 0
})

const newName = () => `subscription ${++names}`
const here = async (log: PostgresLog) => encodeCursor(log, await log.feedHeads())
async function start(log: PostgresLog, options: SubscribeOptions): Promise<DurableSubscription> {
  const onError = (error: unknown, where: string) => errors.push({ error, where })
  const subscription = await subscribe(log, { retryMs: 1, onError, ...options })
  running.push(subscription)
  return subscription
}
const appendOne = async (log: PostgresLog) => (await appendTo(log, newKey(), [{}]))[0] as StoredEnvelope
const coded = (code: string) => Object.assign(new Error(`${code}: of something else`), { code })

describe.each(bothLogs(server, partitions))('a handler on %s', (_name, open) => {
  let log: PostgresLog
  beforeAll(async () => {
    log = await open()
    await sql`create table noted (n int unique deferrable initially deferred)`.execute(log.kysely)
    await sql`insert into noted values (1)`.execute(log.kysely)
  })
  afterAll(() => log.close())

  for (const onPoison of ['park', 'stop'] as const) {
    test(`that fails with a text that no database keeps is told as what it is (${onPoison})`, async () => {
      const from = await here(log)
      await appendOne(log)
      const handle = vi.fn<() => void>(() => void JSON.parse('\u0000'))
      const subscription = await start(log, { name: newName(), from, tries: 2, onPoison, handle })
      const caughtUp = await Promise.race([subscription.whenCaughtUp().catch((error: unknown) => error), afterSeconds(5)])
      expect(handle).toHaveBeenCalledTimes(2)
      expect(errors.map(({ error }) => error)).toEqual([expect.any(SyntaxError)])
      const problem = expect.stringContaining('\uFFFD')
      if (onPoison === 'stop') {
        expect(caughtUp).toMatchObject({ code: 'subscription_stopped', details: { problem } })
        return
      }
      const [letter] = await subscription.deadLetters()
      expect(letter).toMatchObject({ tries: 2, problem })
      await expect(subscription.redrive(letter as NonNullable<typeof letter>)).rejects.toThrow(SyntaxError)
      expect(await subscription.deadLetters()).toMatchObject([{ tries: 3, problem }])
    })
  }

  test.each([
    ['a file that is not there', () => Promise.reject(coded('ENOENT'))],
    ['a connection of its own', () => Promise.reject(coded('ECONNRESET'))],
    ['another database', () => Promise.reject(coded('40001'))],
  ])('with a transaction that fails for %s has used up a try', async (_what, fail) => {
    const from = await here(log)
    await appendOne(log)
    const handle = vi.fn<() => Promise<void>>(fail)
    const options = { name: newName(), from, tries: 3, onPoison: 'park', transactional: true, handle } as const
    const subscription = await start(log, options)
    await Promise.race([subscription.whenCaughtUp(), afterSeconds(5)])
    expect(await subscription.deadLetters()).toMatchObject([{ tries: 3, problem: expect.stringContaining('of something else') }])
    expect(handle).toHaveBeenCalledTimes(3)
  })

  test('whose writes the commit refuses has used up a try', async () => {
    const from = await here(log)
    await appendOne(log)
    const subscription = await start(log, {
      name: newName(),
      from,
      tries: 2,
      onPoison: 'park',
      transactional: true,
      handle: async (_envelopes, { transaction }) => void (await sql`insert into noted values (1)`.execute(transaction)),
    })
    await Promise.race([subscription.whenCaughtUp(), afterSeconds(5)])
    expect(await subscription.deadLetters()).toMatchObject([{ tries: 2, problem: expect.stringContaining('noted_n_key') }])
  })

  test('that the database rolls back for the sake of others has not used up a try', async () => {
    const from = await here(log)
    await appendOne(log)
    let calls = 0
    const subscription = await start(log, {
      name: newName(),
      from,
      tries: 1,
      transactional: true,
      handle: async (_envelopes, { transaction }) => {
        calls += 1
        const deadlock = sql`do $$ begin raise exception 'deadlock' using errcode = '40P01'; end $$`
        if (calls < 3) await deadlock.execute(transaction)
      },
    })
    await subscription.whenCaughtUp()
    expect(calls).toBe(3)
    // Told once while it lasts.
    expect(errors).toMatchObject([{ error: { message: 'deadlock' } }])
  })

  test('that is tried again shows in the status why, until it has succeeded', async () => {
    const from = await here(log)
    const envelope = await appendOne(log)
    let isRepaired = false
    const subscription = await start(log, {
      name: newName(),
      from,
      tries: 1_000,
      retryMs: 20,
      handle: () => {
        if (!isRepaired) throw new Error('not yet')
      },
    })
    const problems = async () => (await subscription.status()).partitions.map(({ problem }) => problem)
    await vi.waitFor(async () => expect((await problems()).filter((problem) => problem !== null)).toEqual(['not yet']))
    // It does not stand still.
    const caughtUp = subscription.whenCaughtUp()
    await expect(Promise.race([caughtUp, afterSeconds(0.5)])).resolves.toBe('waited in vain')
    isRepaired = true
    await caughtUp
    expect(await problems()).toEqual([null, null, null, null])
    expect(envelope.feedPosition).toBeGreaterThan(0)
  })

  test('that passes over the failure of a statement has not handled a dead letter', async () => {
    const from = await here(log)
    await appendOne(log)
    let isParked = false
    const subscription = await start(log, {
      name: newName(),
      from,
      tries: 1,
      onPoison: 'park',
      transactional: true,
      handle: async (_envelopes, { transaction }) => {
        if (!isParked) throw new Error('no')
        await sql`select 1 / 0`.execute(transaction).catch(() => undefined)
      },
    })
    await subscription.whenCaughtUp()
    isParked = true
    const [letter] = await subscription.deadLetters()
    await expect(subscription.redrive(letter as NonNullable<typeof letter>)).rejects.toThrow('aborted')
    expect(await subscription.deadLetters()).toMatchObject([{ tries: 2, problem: expect.stringContaining('aborted') }])
  })

  test('leaves all its tries to the next envelope when the answer to a checkpoint is lost', async () => {
    const from = await here(log)
    const [first, second] = (await appendTo(log, newKey(), [{}, {}])) as [StoredEnvelope, StoredEnvelope]
    let isCut = false
    const moves = new WeakSet<object>()
    const cutting: KyselyPlugin = {
      transformQuery({ node, queryId }) {
        if (node.kind === 'UpdateQueryNode' && JSON.stringify(node.updates).includes('feed_position')) moves.add(queryId)
        return node
      },
      async transformResult({ result, queryId }) {
        if (!isCut || !moves.has(queryId)) return result
        isCut = false
        throw new Error('Connection terminated unexpectedly')
      },
    }
    const calls = new Map<number, number>()
    const subscription = await start(
      { ...log, kysely: log.kysely.withPlugin(cutting) },
      {
        name: newName(),
        from,
        limit: 1,
        tries: 3,
        onPoison: 'park',
        handle: ([envelope]) => {
          const at = envelope?.feedPosition as number
          calls.set(at, (calls.get(at) ?? 0) + 1)
          if (calls.get(at) !== 3) throw new Error('not yet')
          isCut = at === first.feedPosition
        },
      },
    )
    await subscription.whenCaughtUp()
    expect(await subscription.deadLetters()).toEqual([])
    expect([...calls]).toEqual([
      [first.feedPosition, 3],
      [second.feedPosition, 3],
    ])
    expect(errors).toMatchObject([{ error: { message: 'Connection terminated unexpectedly' } }])
  })

  test('is not told of a database that fails in all partitions more than once while it fails', async () => {
    const from = await here(log)
    for (let i = 0; i < 12; i++) await appendOne(log)
    let failures = 0
    const failing = tampered(log, (log) => ({
      feed: (query: Parameters<EventLog['feed']>[0]) => {
        failures += 1
        if (failures > 12) return log.feed(query)
        const operation = `give the feed of partition ${query.partition}`
        return Promise.reject(new ColloquyError('database_failed', { operation, sqlState: '42501', problem: 'not yours' }))
      },
    })) as PostgresLog
    const subscription = await start(failing, { name: newName(), from, handle: () => {} })
    await subscription.whenCaughtUp()
    expect(failures).toBeGreaterThan(12)
    expect(errors).toMatchObject([{ error: { code: 'database_failed' } }])
  })
})

describe.skipIf(!server)('a handler whose connection is lost', () => {
  let log: PostgresLog
  beforeAll(async () => {
    log = await openPostgresLog({ url: (await server?.createDatabase()) ?? '', migrate: true, partitions: 1 })
  })
  afterAll(() => log.close())

  test('because it lets its transaction idle has used up a try', async () => {
    const from = await here(log)
    await appendOne(log)
    const handle = vi.fn<() => Promise<void>>(() => new Promise((resolve) => setTimeout(resolve, 900)))
    const options = { name: newName(), from, leaseMs: 500, tries: 2, onPoison: 'park', transactional: true, handle } as const
    const subscription = await start(log, options)
    await Promise.race([subscription.whenCaughtUp(), afterSeconds(8)])
    expect(await subscription.deadLetters()).toMatchObject([{ tries: 2, problem: expect.stringContaining('500 ms') }])
    expect(handle).toHaveBeenCalledTimes(2)
  })

  test('without a fault of its own has not used up a try', async () => {
    const from = await here(log)
    await appendOne(log)
    let calls = 0
    const subscription = await start(log, {
      name: newName(),
      from,
      tries: 1,
      transactional: true,
      handle: async (_envelopes, { transaction }) => {
        calls += 1
        if (calls < 3) await sql`select pg_terminate_backend(pg_backend_pid())`.execute(transaction)
      },
    })
    await subscription.whenCaughtUp()
    expect(calls).toBe(3)
    expect(errors).toHaveLength(1)
  })
})

const afterSeconds = (seconds: number): Promise<string> =>
  new Promise((resolve) => setTimeout(() => resolve('waited in vain'), seconds * 1_000))
