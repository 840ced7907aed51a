/**
 * A standby: auditors read on it, nothing is written to it, and it takes over.
 *
 * Row D5: a primary that is killed under load while its replication hangs; rounds in COLLOQUY_FAILOVER_ROUNDS (default 1 of each kind).
 * Without the hanging an asynchronous standby on the same machine loses nothing, and neither test would show anything.
 */
import { type ConversationKey, type ConversationState, type EventLog, isColloquyError } from '@colloquy/core'
import { type Conversation, createEngine, type Engine, type Seen, sha256, verifyChain } from '@colloquy/engine'
import { doctor, migrate, openPostgresLog, type PostgresLog } from '@colloquy/postgres'
import { sql } from 'kysely'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { say, storedIn } from '../support/given.ts'
import { appendTo, newKey } from '../support/log-writer.ts'
import { type ClusterServer, caughtUp, startPrimary, startStandby } from '../support/standby.ts'
import { tampered } from '../support/tampered-log.ts'

const rounds = Number(process.env['COLLOQUY_FAILOVER_ROUNDS'] ?? 1)
const partitions = 4
/** An append is tried again for so long: a server that was lost may be replaced in a moment. */
const deadlineMs = 2_000
const primary = await startPrimary()
const standby = primary && (await startStandby(primary))
afterAll(async () => {
  await standby?.remove()
  await primary?.remove()
})

describe.runIf(primary && standby)('a standby', () => {
  const [first, second] = [primary as ClusterServer, standby as ClusterServer]

  /** A log on each, with a conversation of ten messages that the standby has too. */
  async function opened() {
    const onPrimary = await openPostgresLog({ url: first.url, migrate: true, partitions, deadlineMs })
    const key = newKey('default')
    await using engine = createEngine({ log: onPrimary, snapshotEvery: 4 })
    const conversation = await engine.open(key.conversationId)
    for (let i = 0; i < 10; i++) await conversation.dispatch(say(`m${i}`))
    await engine.close()
    await caughtUp(first, second)
    const onStandby = await openPostgresLog({ url: second.url })
    return {
      key,
      onPrimary,
      onStandby,
      [Symbol.asyncDispose]: async () => void (await Promise.all([onPrimary.close(), onStandby.close()])),
    }
  }

  test('opens, replays, verifies and feeds as the primary does', async () => {
    await using logs = await opened()
    const { key, onPrimary, onStandby } = logs
    await using there = createEngine({ log: onPrimary })
    await using here = createEngine({ log: onStandby })
    expect(onStandby.partitions).toBe(partitions)
    const replayed = await here.replay(key.conversationId)
    expect(replayed.state.messages).toHaveLength(10)
    expect(replayed.state).toEqual((await there.replay(key.conversationId)).state)
    expect(await verifyChain(onStandby, key, sha256)).toMatchObject({ ok: true, positions: 10 })
    expect((await here.open(key.conversationId)).position).toBe(10)
    const fed: string[] = []
    const feed = here.feed({ conversation: key.conversationId })
    for await (const { envelopes } of feed) {
      fed.push(...envelopes.map(({ hash }) => Buffer.from(hash).toString('hex')))
      if (fed.length >= 10) break
    }
    expect(fed).toEqual((await storedIn(onPrimary, key.conversationId)).map(({ hash }) => Buffer.from(hash).toString('hex')))
    expect((await doctor({ url: second.url })).map(({ name }) => name)).toContain('fsync')
  })

  test('is what `log.reader` reads from, and nothing else', async () => {
    await using logs = await opened()
    const warnings: string[] = []
    const onWarning = (warning: string) => void warnings.push(warning)
    const log = await openPostgresLog({ url: first.url, readUrl: second.url, onWarning })
    const inRecovery = async ({ kysely }: PostgresLog) =>
      (await sql<{ found: boolean }>`select pg_is_in_recovery() as found`.execute(kysely)).rows[0]?.found
    expect([await inRecovery(log), await inRecovery(log.reader)]).toEqual([false, true])
    await using there = createEngine({ log })
    await using here = createEngine({ log: log.reader })
    expect((await here.replay(logs.key.conversationId)).state.messages).toHaveLength(10)
    await expect((await here.open(logs.key.conversationId)).dispatch(say('no'))).rejects.toMatchObject({ code: 'log_read_only' })
    await expect((await there.open(logs.key.conversationId)).dispatch(say('yes'))).resolves.toMatchObject({ position: 11 })
    await caughtUp(first, second)
    expect(await verifyChain(log.reader, logs.key, sha256)).toMatchObject({ ok: true, positions: 11 })
    await log.close()
    await expect(log.reader.head(logs.key)).rejects.toMatchObject({ code: 'log_closed' })
    expect(warnings.filter((warning) => warning.includes('cannot be used'))).toEqual([])
  })

  test('that is away is missed by nobody who writes, and one of another log is refused', async () => {
    await using logs = await opened()
    const warnings: string[] = []
    const onWarning = (warning: string) => void warnings.push(warning)
    const readUrl = `postgres://colloquy@127.0.0.1:${await freePort()}/postgres`
    await using log = await openPostgresLog({ url: first.url, readUrl, onWarning })
    expect(log.reader.kysely).toBe(log.kysely)
    expect(warnings).toContainEqual(expect.stringContaining('The standby to read from cannot be used'))
    await using engine = createEngine({ log: log.reader })
    expect((await engine.replay(logs.key.conversationId)).state.messages).toHaveLength(10)

    await first.query('create database other')
    const other = new URL(first.url)
    other.pathname = '/other'
    await migrate({ url: other.href, partitions })
    await expect(openPostgresLog({ url: first.url, readUrl: other.href, onWarning })).rejects.toMatchObject({
      code: 'settings_invalid',
      details: { field: 'readUrl' },
    })
  })

  test('feeds what the primary gets from now on', async () => {
    await using logs = await opened()
    await using here = createEngine({ log: logs.onStandby })
    const seen: string[] = []
    const subscription = here.feed$({ from: 'end' }).subscribe(({ action }) => void seen.push(action.type))
    await using there = createEngine({ log: logs.onPrimary })
    const conversation = await there.open(logs.key.conversationId)
    await vi.waitFor(
      async () => {
        await conversation.dispatch(say(`late ${seen.length}`))
        expect(seen.length).toBeGreaterThan(0)
      },
      { timeout: 30_000, interval: 300 },
    )
    subscription.unsubscribe()
  })

  test('refuses what writes, with a code of its own, and the same call succeeds on the primary', async () => {
    await using logs = await opened()
    const { key, onStandby } = logs
    await using here = createEngine({ log: onStandby })
    const conversation = await here.open(key.conversationId)
    const begun = performance.now()
    const refused = (operation: RegExp) => ({
      code: 'log_read_only',
      retryable: true,
      details: { target: expect.stringContaining('127.0.0.1'), operation: expect.stringMatching(operation) },
    })
    await expect(conversation.dispatch(say('no'))).rejects.toMatchObject(refused(/^append/))
    await expect(appendTo(onStandby, newKey(), [{}, {}])).rejects.toMatchObject(refused(/^append/))
    await expect(here.fork(key.conversationId, 3)).rejects.toMatchObject(refused(/^fork/))
    const media = [{ hash: 'ab', mediaType: 'text/plain', bytes: new Uint8Array(1) }]
    await expect(onStandby.putMedia(key, media)).rejects.toMatchObject(refused(/^keep 1 media/))
    // There is no fail-over to wait for: nothing is tried again until its deadline of half a minute.
    expect(performance.now() - begun).toBeLessThan(15_000)
    expect((await conversation.refresh()).messages).toHaveLength(10)
    await using there = createEngine({ log: logs.onPrimary })
    await expect((await there.open(key.conversationId)).dispatch(say('yes'))).resolves.toMatchObject({ position: 11 })
  })

  test('a snapshot that cannot be kept is a warning, and the dispatch stands', async () => {
    await using logs = await opened()
    const { key, onPrimary, onStandby } = logs
    const errors: unknown[] = []
    // Appends reach the primary, snapshots do not: as when the database turns read-only between the two.
    const log = tampered(onPrimary, () => ({ saveSnapshot: onStandby.saveSnapshot }))
    const engine = createEngine({ log, snapshotEvery: 1, onError: (error) => void errors.push(error) })
    await expect((await engine.open(key.conversationId)).dispatch(say('m10'))).resolves.toMatchObject({ position: 11 })
    await engine.close()
    expect(errors).toEqual([expect.objectContaining({ code: 'log_read_only' })])
  })
})

/** What a client was told: its conversation ends here. */
interface Acknowledged {
  readonly key: ConversationKey
  readonly seen: Seen
}

interface FailedOver {
  readonly acknowledged: readonly Acknowledged[]
  /** The engine of before, whose log is the new primary now. */
  readonly engine: Engine<ConversationState>
  /** The clients' own. */
  readonly handles: readonly Conversation<ConversationState>[]
  readonly log: EventLog
}

/** Clients that append to conversations of their own until the primary dies; then the standby takes over. */
async function failOver(
  { isSynchronous, clients = 8 }: { isSynchronous: boolean; clients?: number },
  check: (failedOver: FailedOver) => Promise<void>,
): Promise<void> {
  const [first, second] = await startPair()
  const logs: EventLog[] = []
  try {
    if (isSynchronous) {
      await first.query(`alter system set synchronous_standby_names = 'standby'`)
      await first.query('select pg_reload_conf()')
      await vi.waitFor(async () => {
        expect(await first.query('select sync_state from pg_stat_replication')).toEqual([{ sync_state: 'sync' }])
      })
    }
    let current: EventLog = await openPostgresLog({ url: first.url, migrate: true, partitions, deadlineMs })
    logs.push(current)
    // One name for whichever server is the primary, as a load balancer gives it.
    const log = new Proxy({} as EventLog, { get: (_, name) => Reflect.get(current, name) })
    const engine = createEngine({ log, onError: () => {} })
    const acknowledged: Acknowledged[] = []
    const handles: Conversation<ConversationState>[] = []
    let isStalled = false
    const afterStall = Array.from({ length: clients }, () => 0)

    const client = async (name: number): Promise<void> => {
      const conversation = await engine.open(`client-${name}`)
      handles.push(conversation)
      const key = { tenant: 'default', conversationId: conversation.id }
      for (let i = 0; ; i++) {
        try {
          const { envelopes } = await conversation.dispatch(say(`m${name}-${i}`))
          for (const { position, hash } of envelopes) acknowledged.push({ key, seen: { position, hash } })
          if (isStalled) afterStall[name] = (afterStall[name] ?? 0) + 1
        } catch (error) {
          if (isColloquyError(error, 'database_unreachable') || isColloquyError(error, 'append_outcome_unknown')) return
          throw error
        }
      }
    }
    const running = Promise.all(Array.from({ length: clients }, (_, name) => client(name)))
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(20 * clients), { timeout: 60_000 })
    const [sender] = await first.query('select pid from pg_stat_replication')
    await first.freeze(sender?.['pid'] as number)
    isStalled = true
    // Synchronous, every client soon waits for the standby; asynchronous, they go on and are acknowledged what it will not have.
    await vi.waitFor(
      async () => {
        const waiting = await first.query(`select from pg_stat_activity where wait_event = 'SyncRep'`)
        expect(waiting.length > 0 || Math.min(...afterStall) > 10).toBe(true)
      },
      { timeout: 60_000 },
    )
    await first.kill()
    await running
    await second.promote()
    current = await openPostgresLog({ url: second.url, deadlineMs })
    logs.push(current)
    await check({ acknowledged, engine, handles, log })
    await engine.close()
  } finally {
    await Promise.all(logs.map((log) => log.close()))
    await first.remove()
    await second.remove()
  }
}

async function startPair(): Promise<readonly [ClusterServer, ClusterServer]> {
  const first = (await startPrimary()) as ClusterServer
  return [first, await startStandby(first)]
}

test.runIf(primary)('with several urls an append is stored on the standby that takes over', async () => {
  const [first, second] = await startPair()
  try {
    await using log = await openPostgresLog({ urls: [first.url, second.url], migrate: true, partitions })
    await using engine = createEngine({ log })
    const conversation = await engine.open('c')
    await conversation.dispatch(say('m1'))
    await caughtUp(first, second)
    await first.kill()
    const dispatched = conversation.dispatch(say('m2'))
    await second.promote()
    await expect(dispatched).resolves.toMatchObject({ position: 2 })
    expect(await second.query('select count(*)::int as stored from envelope')).toEqual([{ stored: 2 }])
  } finally {
    await first.remove()
    await second.remove()
  }
})

async function lostOf({ acknowledged, log }: FailedOver): Promise<Acknowledged[]> {
  const fates = await Promise.all(acknowledged.map(({ key, seen }) => log.outcome({ key, ...seen })))
  return acknowledged.filter((_, i) => fates[i] !== 'stored')
}

const headOf = (log: EventLog, conversationId: string) => log.head({ tenant: 'default', conversationId })

describe.runIf(primary).each(Array.from({ length: rounds }, (_, i) => i + 1))('D5, fail-over, round %i', () => {
  test('with a synchronous standby nothing that was acknowledged is lost', async () => {
    await failOver({ isSynchronous: true }, async (failedOver) => {
      expect(failedOver.acknowledged.length).toBeGreaterThan(160)
      expect(await lostOf(failedOver)).toEqual([])
      for (const conversation of failedOver.handles) {
        const key = { tenant: 'default', conversationId: conversation.id }
        expect(await verifyChain(failedOver.log, key, sha256)).toMatchObject({ ok: true })
        await expect(conversation.dispatch(say('on'))).resolves.toMatchObject({ blocked: false })
      }
    })
  })

  test('with an asynchronous one whose replication had stalled, everybody who holds a lost position is told', async () => {
    await failOver({ isSynchronous: false }, async (failedOver) => {
      const { handles, log } = failedOver
      const lost = await lostOf(failedOver)
      expect(lost.length).toBeGreaterThan(50)
      const losers = [...new Set(lost.map(({ key }) => key.conversationId))]
      expect(losers).toHaveLength(8)

      // A process that comes back with what it kept: each one of the lost positions is told.
      await using returned = createEngine({ log })
      for (const { key, seen } of lost) {
        await expect(returned.open(key.conversationId, { seen })).rejects.toMatchObject({
          code: 'history_rewound',
          details: { conversationId: key.conversationId, heldPosition: seen.position },
        })
      }
      // Half of the conversations grow past the held positions before their clients are back.
      for (const conversationId of losers.slice(4)) {
        const conversation = await returned.open(conversationId)
        await conversation.dispatch(Array.from({ length: 300 }, (_, i) => say(`new ${i}`)))
      }
      for (const { key, seen } of lost) {
        await expect(returned.open(key.conversationId, { seen })).rejects.toMatchObject({ code: 'history_rewound' })
      }
      // The clients of before, whose process lives on: told once each, nothing of theirs stored, then they go on from what there is.
      for (const handle of handles) {
        const before = await headOf(log, handle.id)
        await expect(handle.dispatch(say('mine'))).rejects.toMatchObject({ code: 'history_rewound' })
        expect(await headOf(log, handle.id)).toEqual(before)
        await expect(handle.dispatch(say('mine'))).resolves.toMatchObject({ position: (before?.position ?? 0) + 1 })
        expect(await verifyChain(log, { tenant: 'default', conversationId: handle.id }, sha256)).toMatchObject({ ok: true })
      }
    })
  })
})
