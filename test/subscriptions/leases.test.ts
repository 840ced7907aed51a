/** Who may read a partition of a subscription, and for how long. */
import { type EventLog, encodeCursor, type OpenedEnvelope } from '@colloquy/core'
import {
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

const partitions = 1

describe.each(bothLogs(server, partitions))('a lease on %s', (_name, open) => {
  let log: PostgresLog
  const running: DurableSubscription[] = []
  const gates: (() => void)[] = []
  let names = 0
  beforeAll(async () => {
    log = await open()
  })
  afterEach(async () => {
    for (const letGo of gates.splice(0)) letGo()
    await Promise.all(running.splice(0).map((subscription) => subscription.close()))
  })
  afterAll(() => log.close())

  const newName = () => `subscription ${++names}`
  const here = async () => encodeCursor(log, await log.feedHeads())
  const start = async (options: SubscribeOptions, on = log): Promise<DurableSubscription> => {
    const subscription = await subscribe(on, { retryMs: 1, onError: () => {}, ...options })
    running.push(subscription)
    return subscription
  }
  /** A handler that stays in its first call until it is let go. */
  const gated = () => {
    const [entered, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    gates.push(gate.resolve)
    const handle = vi.fn<(envelopes: readonly OpenedEnvelope[]) => Promise<void>>(() => {
      entered.resolve()
      return gate.promise
    })
    return { handle, entered: entered.promise, letGo: gate.resolve }
  }

  test('of a name that was forgotten is none of that name begun anew', async () => {
    const [name, from] = [newName(), await here()]
    await appendTo(log, newKey(), [{}])
    const [left, anew] = [gated(), gated()]
    const forgotten = await start({ name, from, leaseMs: 60_000, handle: left.handle })
    await left.entered
    await forgetSubscription(log, name)
    const begun = await start({ name, from, leaseMs: 60_000, handle: anew.handle })
    await anew.entered
    left.letGo()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await begun.status()).toMatchObject({ lag: 1, partitions: [{ isOurs: true }] })
    anew.letGo()
    await begun.whenCaughtUp()
    await forgotten.close()
  })

  test('is not given to who subscribed before the name was forgotten, although it was begun anew since', async () => {
    const [name, from] = [newName(), await here()]
    const [left, anew] = [vi.fn<() => void>(), vi.fn<(envelopes: readonly OpenedEnvelope[]) => void>()]
    const forgotten = await start({ name, from, leaseMs: 2_000, handle: left })
    await forgetSubscription(log, name)
    const begun = await start({ name, from, leaseMs: 60_000, handle: anew })
    await vi.waitFor(() => expect(forgotten.whenCaughtUp()).rejects.toMatchObject({ code: 'subscription_closed' }), 5_000)
    const stored = await appendTo(log, newKey(), [{}, {}])
    await begun.whenCaughtUp()
    expect(left).not.toHaveBeenCalled()
    expect(anew.mock.calls.flatMap(([envelopes]) => envelopes)).toHaveLength(stored.length)
  })

  test('is kept while a subscription that is closed finishes its pages', async () => {
    const [name, from] = [newName(), await here()]
    await appendTo(log, newKey(), [{}])
    const [closed, next] = [gated(), vi.fn<() => void>()]
    const closing = await start({ name, from, leaseMs: 1_000, handle: closed.handle })
    await closed.entered
    const staying = await start({ name, from, leaseMs: 1_000, handle: next })
    const ended = closing.close()
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(next).not.toHaveBeenCalled()
    closed.letGo()
    await ended
    await staying.whenCaughtUp()
    expect(next).not.toHaveBeenCalled()
    await vi.waitFor(async () => expect(await staying.status()).toMatchObject({ partitions: [{ isOurs: true }] }))
  })

  test('that ran out while its process hung is asked for again before anything is handled', async () => {
    const [name, from] = [newName(), await here()]
    await appendTo(log, newKey(), [{}])
    let hangs = 0
    const hanging = (takeOver: boolean) =>
      tampered(log, () => ({
        feed: async (query: Parameters<EventLog['feed']>[0]) => {
          const page = await log.feed(query)
          if (page.envelopes.length === 0 || hangs > 0) return page
          hangs += 1
          if (takeOver) {
            const taken = sql`
              update subscription set epoch = epoch + 1, leased_by = 'another', leased_until = leased_until + 60000000
              where name = ${name} and partition = 0
            `
            await taken.execute(log.kysely)
          }
          const until = Date.now() + 700
          while (Date.now() < until);
          return page
        },
      })) as PostgresLog
    const handle = vi.fn<() => void>()
    await start({ name, from, leaseMs: 500, handle }, hanging(true))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect([hangs, handle.mock.calls.length]).toEqual([1, 0])
    // Nobody took it over: it goes on.
    hangs = 0
    const alone = await start({ name: newName(), from, leaseMs: 500, handle }, hanging(false))
    await alone.whenCaughtUp()
    expect([hangs, handle.mock.calls.length]).toEqual([1, 1])
  })

  test('is renewed when half of it is over, and not with each look', async () => {
    let renewals = 0
    const counting: KyselyPlugin = {
      transformQuery({ node }) {
        if (node.kind === 'UpdateQueryNode' && JSON.stringify(node).includes('leased_until')) renewals += 1
        return node
      },
      transformResult: ({ result }) => Promise.resolve(result),
    }
    const counted = { ...log, kysely: log.kysely.withPlugin(counting) }
    const name = newName()
    await start({ name, from: 'end', leaseMs: 30_000, handle: () => {} }, counted)
    renewals = 0
    await new Promise((resolve) => setTimeout(resolve, 2_300))
    expect(renewals).toBe(0)
    const left = sql`update subscription set leased_until = leased_until - 20000000 where name = ${name} and partition = 0`
    await left.execute(log.kysely)
    await vi.waitFor(() => expect(renewals).toBe(1), { timeout: 3_000 })
  })
})
