/**
 * What every log does, whatever it is kept in. The numbers are those of the black-box cases in `research/event-stores.md`, section 5;
 * `elsewhere` says where the cases are tested that are not about append and read, or what we decided instead.
 */
import {
  type AppendOutcome,
  type AppendRequest,
  actionOf,
  actionPageSize,
  type ConversationKey,
  type EventLog,
  forkHash,
  pageBytes,
  pageSize,
  partitionOf,
  rootIdOf,
  type StoredAction,
  type StoredEnvelope,
} from '@colloquy/core'
import { sha256, verifyChain } from '@colloquy/engine'
import type { Database } from '@colloquy/postgres'
import { type Kysely, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  appendTo,
  beginningOf,
  briefly,
  type Entry,
  type Expected,
  following,
  newKey,
  readAll,
  utf8,
} from '../support/log-writer.ts'

export interface LogUnderTest {
  readonly log: EventLog
  /** The tables, where there are any. */
  readonly kysely?: Kysely<Database>
  /** Opens the same store once more, as another process does; absent where only one can have it. */
  readonly openAgain?: () => Promise<EventLog>
  /** A log whose appends stay uncommitted until `commit` or `rollback`. */
  readonly openSlow?: () => Promise<SlowLog>
}

export interface SlowLog {
  readonly log: EventLog
  readonly commit: () => Promise<void>
  readonly rollback: () => Promise<void>
}

const elsewhere: Readonly<Record<number, string>> = {
  10: 'Decided otherwise: conversations in one call are independent. Saying "A, if B is at v" takes a check of B in a call before.',
  12: 'Decided otherwise: each request has its own outcome, so one that fails stops no other; see "one that fails".',
  13: 'As 12. What must stand or fall together belongs into one conversation.',
  20: 'event-log.test.ts, beside the other tests of what Postgres alone can do.',
  22: 'subscriptions/subscriptions.test.ts: a rebuild while appends are under way.',
  23: 'subscriptions/seam.test.ts, feed.test.ts: the switch from catching up to live.',
  24: 'subscriptions/signals.test.ts: a LISTEN connection and a Redis that are killed.',
  25: 'subscriptions/signals.test.ts',
  26: 'subscriptions/signals.test.ts: signals carry partition numbers, however many.',
  29: 'engine: replay to a position and to a time.',
  30: 'engine: a snapshot and the rest equal the whole fold.',
  31: 'engine: a refused append leaves the state as it was.',
  32: 'engine: the position is checked by the log, never by the cached state.',
  33: 'core: reducers are total; what cannot be applied is reported.',
  34: 'subscriptions/subscriptions.test.ts: a projection rebuilt twice.',
  35: 'subscriptions/subscriptions.test.ts: the epoch of a checkpoint.',
  36: 'subscriptions/subscriptions.test.ts, processes.test.ts: a lease taken over.',
  38: 'context: compaction is an action like others.',
  39: 'Erasure.',
  40: 'Erasure.',
  45: 'packages/postgres: migrations. There is one released schema so far.',
  46: 'differential.test.ts',
  47: 'engine: an import is checked whole before its first append.',
}

const here = new Set<number>()
/** A test of numbered cases, where the log can have it: without tables nothing can be put into them, and one process cannot race. */
function cases(numbers: readonly number[], title: string, body: () => Promise<void>, isPossible = true): void {
  for (const number of numbers) here.add(number)
  testIf(isPossible)(`${title} (case ${numbers.join(', ')})`, body)
}

/** Registers a test where the log can have it; a skipped one would say that something is missing. */
const testIf = (isPossible: boolean) => (isPossible ? test : () => undefined)

export function eventLogContract(
  name: string,
  open: () => Promise<LogUnderTest>,
  { hasTables, isShared }: { readonly hasTables: boolean; readonly isShared: boolean },
): void {
  describe(`the log: ${name}`, () => {
    let opened: LogUnderTest
    let log: EventLog
    beforeAll(async () => {
      opened = await open()
      log = opened.log
    })
    afterAll(() => opened?.log.close())

    const appendAt = async (
      key: ConversationKey,
      expected: Expected,
      entries: readonly Entry[],
      archive = false,
    ): Promise<AppendOutcome> =>
      only(await log.append([{ key, expected, envelopes: following(key, expected, entries), archive }]))
    const placeOf = (key: ConversationKey) => partitionOf(key, log.partitions, sha256)
    /** The feed of the conversation's partition after a feed position. */
    const feedAfter = async (key: ConversationKey, after: number): Promise<readonly StoredEnvelope[]> => {
      const all: StoredEnvelope[] = []
      for (;;) {
        const { envelopes } = await log.feed({ partition: placeOf(key), after: all.at(-1)?.feedPosition ?? after, limit: 500 })
        if (envelopes.length === 0) return all
        all.push(...envelopes)
      }
    }
    const feedEnd = async (key: ConversationKey): Promise<number> => (await feedAfter(key, 0)).at(-1)?.feedPosition ?? 0
    /** Another conversation of the same partition. */
    const neighbourOf = (key: ConversationKey): ConversationKey => {
      for (;;) {
        const neighbour = newKey(key.tenant)
        if (placeOf(neighbour) === placeOf(key)) return neighbour
      }
    }

    /** Conversations of three partitions, or of as many as there are. */
    const apart = (): ConversationKey[] => {
      const keys: ConversationKey[] = []
      while (keys.length < Math.min(3, log.partitions)) {
        const key = newKey()
        if (!keys.some((other) => placeOf(other) === placeOf(key))) keys.push(key)
      }
      return keys
    }

    describe('forks', () => {
      const forkOf = ({ tenant, conversationId }: ConversationKey, name: string): ConversationKey => ({
        tenant,
        conversationId: `${rootIdOf(conversationId)}~${name}`,
      })

      test('read on into their parents, have a head of their own, and take appends of their own', async () => {
        const root = newKey()
        const shared = await appendTo(log, root, [{}, {}, {}])
        const first = forkOf(root, 'first')
        const made = await log.fork({ key: first, parent: { conversationId: root.conversationId, position: 2 } })
        const hash = forkHash(shared[1]?.hash as Uint8Array, 2, first, sha256)
        const head = { position: 2, hash: new Uint8Array(hash), occurredAt: shared[1]?.occurredAt, archived: false }
        expect(made).toEqual({ status: 'forked', created: true, head })
        expect(await log.head(first)).toEqual(head)
        const own = await appendTo(log, first, [{}, {}])
        expect(await readAll(log, first)).toEqual([...shared.slice(0, 2), ...own])
        expect(own.map(({ position }) => position)).toEqual([3, 4])

        const second = forkOf(root, 'second')
        await log.fork({ key: second, parent: { conversationId: first.conversationId, position: 3 } })
        const late = await appendTo(log, second, [{}])
        expect(await readAll(log, second)).toEqual([...shared.slice(0, 2), ...own.slice(0, 1), ...late])
        expect(await log.ancestry(second)).toEqual([
          { conversationId: root.conversationId, position: 2 },
          { conversationId: first.conversationId, position: 3 },
        ])
        expect(await log.ancestry(root)).toEqual([])
        expect(await readAll(log, root)).toEqual(shared)
      })

      test('are read a range at a time, across the places where they part', async () => {
        const root = newKey()
        const shared = await appendTo(log, root, [{}, {}, {}])
        const fork = forkOf(root, 'ranges')
        await log.fork({ key: fork, parent: { conversationId: root.conversationId, position: 2 } })
        const all = [...shared.slice(0, 2), ...(await appendTo(log, fork, [{}, {}]))]
        for (const [from, to] of [
          [1, 1],
          [2, 3],
          [3, 3],
          [3, 9],
          [4, 4],
          [5, 9],
        ] as const) {
          const read: StoredEnvelope[] = []
          for await (const page of log.read(fork, { from, to })) read.push(...page)
          expect(read).toEqual(all.slice(from - 1, to))
        }
      })

      test('tell a writer that came second what it missed, also right after the fork', async () => {
        const root = newKey()
        await appendTo(log, root, [{}, {}])
        const fork = forkOf(root, 'race')
        const made = await log.fork({ key: fork, parent: { conversationId: root.conversationId, position: 1 } })
        if (made.status !== 'forked') throw new Error(made.status)
        const won = await appendAt(fork, made.head, [{}])
        const lost = await appendAt(fork, made.head, [{ actor: 'second' }])
        expect(won.status).toBe('appended')
        expect(lost).toMatchObject({ status: 'conflict', head: { position: 2 }, missed: [{ position: 2 }] })
      })

      test('are made once, and never over another conversation', async () => {
        const root = newKey()
        await appendTo(log, root, [{}, {}])
        const key = forkOf(root, 'once')
        const parent = { conversationId: root.conversationId, position: 1 }
        expect(await log.fork({ key, parent })).toMatchObject({ status: 'forked', created: true })
        expect(await log.fork({ key, parent })).toMatchObject({ status: 'forked', created: false })
        expect(await log.fork({ key, parent: { ...parent, position: 2 } })).toEqual({ status: 'taken' })
      })

      test('of what is not there are refused', async () => {
        const root = newKey()
        await appendTo(log, root, [{}, {}])
        for (const position of [0, 3, 1.5]) {
          const parent = { conversationId: root.conversationId, position }
          expect(await log.fork({ key: forkOf(root, 'nowhere'), parent })).toEqual({
            status: 'position_not_found',
            headPosition: 2,
          })
        }
        const nobody = newKey()
        const parent = { conversationId: nobody.conversationId, position: 1 }
        expect(await log.fork({ key: forkOf(nobody, 'x'), parent })).toEqual({ status: 'parent_not_found' })
        await expect(
          log.fork({ key: forkOf(nobody, 'x'), parent: { ...parent, conversationId: root.conversationId } }),
        ).rejects.toThrow(RangeError)
      })

      test('lie in the feed of their partition with their own envelopes only', async () => {
        const root = newKey()
        await appendTo(log, root, [{}, {}])
        const fork = forkOf(root, 'feed')
        await log.fork({ key: fork, parent: { conversationId: root.conversationId, position: 2 } })
        const before = await feedEnd(root)
        const own = await appendTo(log, fork, [{}])
        expect(await feedAfter(root, before)).toEqual(own)
      })
    })

    test('the outcome of an append is known by position and hash', async () => {
      const key = newKey()
      const [stored] = await appendTo(log, key, [{}])
      const { position, hash } = stored as StoredEnvelope
      expect(await log.outcome({ key, position, hash })).toBe('stored')
      expect(await log.outcome({ key, position, hash: new Uint8Array(32) })).toBe('not_stored')
      expect(await log.outcome({ key, position: position + 1, hash })).toBe('unknown')
      expect(await log.outcome({ key: newKey(), position, hash })).toBe('unknown')
    })

    test('has an id, the same for each process', async () => {
      expect(log.id).toMatch(/^[0-9a-f]{8}$/)
      if (opened.openAgain === undefined) return
      await using again = await opened.openAgain()
      expect(again.id).toBe(log.id)
    })

    test('head and youngest snapshot come together', async () => {
      const key = newKey()
      expect(await log.latest(key, 'state')).toBeUndefined()
      await appendTo(log, key, [{}, {}])
      const head = await log.head(key)
      expect(await log.latest(key, 'state')).toEqual({ head, snapshot: undefined })
      const snapshot = { position: 1, stateKey: 'state', stateHash: utf8('hash'), body: utf8('{}') }
      await log.saveSnapshot(key, snapshot)
      await log.saveSnapshot(key, { ...snapshot, position: 2, body: null })
      expect(await log.latest(key, 'state')).toEqual({ head, snapshot })
      expect(await log.latest(key, 'another')).toEqual({ head, snapshot: undefined })
    })

    test('a filtered feed gives what is wanted, and says how far it looked', async () => {
      const key = newKey(`tenant-${newKey().conversationId}`)
      const partition = placeOf(key)
      const after = await feedEnd(key)
      const wanted = await appendTo(log, key, [{}, {}, {}])
      const other = await appendTo(log, neighbourOf(newKey()), [{}])
      const end = (await log.feedHeads())[partition] as number
      expect(other).toHaveLength(1)
      const query = { partition, after, limit: 10 }
      expect(await log.feed({ ...query, tenant: key.tenant })).toEqual({ envelopes: wanted, scannedTo: end })
      expect(await log.feed({ ...query, ...key })).toEqual({ envelopes: wanted, scannedTo: end })
      expect(await log.feed({ ...query, tenant: key.tenant, types: ['messageAdded'] })).toEqual({
        envelopes: wanted,
        scannedTo: end,
      })
      expect(await log.feed({ ...query, tenant: key.tenant, types: ['turnStarted'] })).toEqual({
        envelopes: [],
        scannedTo: end,
      })
      expect(await log.feed({ ...query, tenant: key.tenant, limit: 2 })).toEqual({
        envelopes: wanted.slice(0, 2),
        scannedTo: wanted[1]?.feedPosition,
      })
    })

    test('pages of several partitions are what each of them gives', async () => {
      const tenant = `tenant-${newKey().conversationId}`
      const keys = apart()
      const after = new Map<number, number>()
      for (const key of keys) after.set(placeOf(key), await feedEnd(key))
      for (const [i, key] of keys.entries())
        for (const each of [{ ...key, tenant }, key])
          await appendTo(
            log,
            each,
            Array.from({ length: i + 1 }, () => ({})),
          )
      const one = keys[0] as ConversationKey
      for (const filter of [
        {},
        { tenant },
        { tenant: 'nobody' },
        { types: ['messageAdded'] },
        { tenant, types: ['turnStarted'] },
        { tenant, conversationId: one.conversationId },
        { types: ['messageAdded'], conversationId: one.conversationId },
      ]) {
        for (const limit of [2, 100]) {
          const pages = await log.feedPages({ ...filter, after, limit })
          expect([...pages.keys()]).toEqual([...after.keys()])
          for (const [partition, position] of after)
            expect(pages.get(partition)).toEqual(await log.feed({ ...filter, partition, after: position, limit }))
        }
      }
      const ends = new Map([...(await log.feedHeads()).entries()].filter(([partition]) => after.has(partition)))
      for (const [partition, page] of await log.feedPages({ tenant, after: ends, limit: 5 }))
        expect(page).toEqual({ envelopes: [], scannedTo: ends.get(partition) })
    })

    test('pages of several partitions end together by their bytes', async () => {
      const keys = apart()
      const after = new Map<number, number>()
      for (const key of keys) after.set(placeOf(key), await feedEnd(key))
      const large = { body: utf8(JSON.stringify({ payload: { text: 'x'.repeat(pageBytes * 0.4) } })) }
      const stored: StoredEnvelope[] = []
      for (const key of keys) stored.push(...(await appendTo(log, key, [large, large])))
      for (const filter of [{}, { types: ['messageAdded'] }]) {
        const left = new Map(after)
        const found: StoredEnvelope[] = []
        for (let reads = 0; left.size > 0; reads++) {
          expect(reads).toBeLessThan(10)
          const pages = await log.feedPages({ ...filter, after: left, limit: 10 })
          const envelopes = [...pages.values()].flatMap((page) => page.envelopes)
          expect(envelopes.length).toBeLessThanOrEqual(4)
          found.push(...envelopes)
          for (const [partition, { scannedTo }] of pages)
            if (scannedTo === left.get(partition)) left.delete(partition)
            else left.set(partition, scannedTo)
        }
        expect(found.map(({ hash }) => Buffer.from(hash).toString('hex')).toSorted()).toEqual(
          stored.map(({ hash }) => Buffer.from(hash).toString('hex')).toSorted(),
        )
      }
    })

    test('who listens is told which partitions may have grown', async () => {
      const key = newKey()
      const heard: number[] = []
      const stop = log.onGrowth((partitions) => heard.push(...partitions))
      await appendTo(log, key, [{}])
      await vi.waitFor(() => expect(heard).toContain(placeOf(key)))
      stop()
    })

    describe('append', () => {
      test('stores envelopes as they are given and gives them back so', async () => {
        const key = newKey()
        const envelopes = following(key, beginningOf(key), [
          { commandId: 'a', actor: 'ann' },
          { occurredAt: -1 },
          { commandId: 'b', commandIndex: 0 },
        ])
        const appended = only(await log.append([{ key, expected: beginningOf(key), envelopes }]))
        expect(appended).toMatchObject({ status: 'appended', envelopes })
        expect(await readAll(log, key)).toEqual(appended.status === 'appended' && appended.envelopes)
        expect(await readAll(log, key)).toMatchObject(envelopes)
        const last = envelopes[2]
        expect(await log.head(key)).toEqual({ position: 3, hash: last?.hash, occurredAt: last?.occurredAt, archived: false })
      })

      test('gives one envelope the same outcome alone as among others', async () => {
        const [alone, among] = [newKey(), newKey()]
        const first = await appendAt(alone, beginningOf(alone), [{ commandId: 'a', actor: 'ann' }])
        const [other] = await log.append(
          [among, newKey()].map((key) => requestOf(key, beginningOf(key), [{ commandId: 'a', actor: 'ann' }])),
        )
        const [one] = first.status === 'appended' ? first.envelopes : []
        const [two] = other?.status === 'appended' ? other.envelopes : []
        const own = ['conversationId', 'commit', 'hash', 'salt', 'inputHash', 'feedPosition', 'recordedAt']
        expect(without(one, own)).toEqual(without(two, own))
      })

      test('records when the log took it, by a clock that runs', async () => {
        const key = newKey()
        const [first] = await appendTo(log, key, [{}])
        const [second] = await appendTo(log, key, [{}])
        expect(Number.isSafeInteger(first?.recordedAt)).toBe(true)
        expect(Math.abs((first?.recordedAt ?? 0) / 1000 - Date.now())).toBeLessThan(60_000)
        expect(second?.recordedAt).toBeGreaterThanOrEqual(first?.recordedAt ?? Infinity)
      })

      test('of nothing gives nothing', async () => expect(await log.append([])).toEqual([]))

      test('refuses envelopes that would leave a gap', async () => {
        const key = newKey()
        const envelopes = following(key, { ...beginningOf(key), position: 1 }, [{}])
        await expect(log.append([{ key, expected: beginningOf(key), envelopes }])).rejects.toThrow(RangeError)
        expect(await log.head(key)).toBeUndefined()
      })

      test('refuses a command that nothing would find again', async () => {
        const key = newKey()
        const envelopes = following(key, beginningOf(key), [{ commandId: 'a' }]).map((each) => ({ ...each, commandIndex: null }))
        await expect(log.append([{ key, expected: beginningOf(key), envelopes }])).rejects.toThrow(RangeError)
        expect(await log.head(key)).toBeUndefined()
      })

      cases([1], 'answers a retry of the whole history with the first results', async () => {
        const key = newKey()
        const stored = []
        for (const commandId of ['0', '1', '2', '3']) stored.push(...(await appendTo(log, key, [{ commandId }])))
        const retried = await appendAt(key, beginningOf(key), [{ commandId: '0' }])
        expect(retried).toEqual({ status: 'duplicate', commands: new Map([['0', [stored[0]]]]) })
        const all = await appendAt(
          key,
          beginningOf(key),
          ['0', '1', '2', '3'].map((commandId) => ({ commandId })),
        )
        expect(all).toEqual({ status: 'duplicate', commands: new Map(stored.map((envelope, i) => [String(i), [envelope]])) })
        expect(await readAll(log, key)).toEqual(stored)
      })

      cases([2, 3], 'knows a command again at the present head, and stores it never twice', async () => {
        const key = newKey()
        const stored = []
        for (const commandId of ['0', '1', '2']) stored.push(...(await appendTo(log, key, [{ commandId }])))
        const head = (await log.head(key)) ?? beginningOf(key)
        for (let round = 0; round < 2; round++) {
          expect(await appendAt(key, head, [{ commandId: '1' }])).toEqual({
            status: 'duplicate',
            commands: new Map([['1', [stored[1]]]]),
          })
        }
        expect(await log.head(key)).toEqual(head)
      })

      cases([4], 'refuses a position behind and one ahead, and says where the conversation is', async () => {
        const key = newKey()
        const stored = await appendTo(
          log,
          key,
          Array.from({ length: 6 }, () => ({})),
        )
        const head = await log.head(key)
        const at = (position: number): Expected => ({ position, hash: stored[position - 1]?.hash ?? new Uint8Array(32) })
        expect(await appendAt(key, at(4), [{}])).toEqual({ status: 'conflict', head, missed: stored.slice(4) })
        expect(await appendAt(key, { ...at(6), position: 7 }, [{}])).toEqual({ status: 'conflict', head, missed: [] })
        expect(await readAll(log, key)).toEqual(stored)
      })

      test('refuses the right position with another hash, and hands nothing back that would not follow', async () => {
        const key = newKey()
        await appendTo(log, key, [{}, {}, {}])
        const head = await log.head(key)
        const hash = new Uint8Array(32).fill(7)
        for (const position of [1, 2, 3]) {
          expect(await appendAt(key, { position, hash }, [{}])).toEqual({ status: 'conflict', head, missed: [] })
        }
        expect(await appendAt(key, { position: 0, hash }, [{}])).toEqual({ status: 'conflict', head, missed: [] })
        const fresh = newKey()
        expect(await appendAt(fresh, { position: 0, hash }, [{}])).toEqual({
          status: 'conflict',
          head: { ...beginningOf(fresh), occurredAt: 0, archived: false },
          missed: [],
        })
        expect(await log.head(fresh)).toBeUndefined()
      })

      test('hands back at most a page of what was missed', async () => {
        const key = newKey()
        const stored = await appendTo(
          log,
          key,
          Array.from({ length: pageSize + 20 }, () => ({})),
        )
        const outcome = await appendAt(key, beginningOf(key), [{}])
        expect(outcome.status === 'conflict' && outcome.missed).toEqual(stored.slice(0, pageSize))
        const later = await appendAt(key, { position: 15, hash: stored[14]?.hash ?? new Uint8Array() }, [{}])
        expect(later.status === 'conflict' && later.missed).toEqual(stored.slice(15, 15 + pageSize))
      })

      cases([5], 'stores nothing of a batch that is known in part', async () => {
        const key = newKey()
        const stored = await appendTo(log, key, [{ commandId: '0' }, { commandId: '1' }])
        const outcome = await appendAt(
          key,
          beginningOf(key),
          ['0', '1', '2'].map((commandId) => ({ commandId })),
        )
        expect(outcome).toEqual({
          status: 'duplicate',
          commands: new Map([
            ['0', [stored[0]]],
            ['1', [stored[1]]],
          ]),
        })
        expect(await log.command(key, '2')).toEqual([])
        expect(await readAll(log, key)).toEqual(stored)
      })

      cases([6], 'knows the beginning of a batch again', async () => {
        const key = newKey()
        const stored = await appendTo(log, key, [{ commandId: '0' }, { commandId: '1' }])
        expect(await appendAt(key, beginningOf(key), [{ commandId: '0' }])).toEqual({
          status: 'duplicate',
          commands: new Map([['0', [stored[0]]]]),
        })
      })

      test('gives back all envelopes of a command, in order', async () => {
        const key = newKey()
        const command = (commandId: string) => [0, 1, 2].map((commandIndex) => ({ commandId, commandIndex }))
        const stored = await appendTo(log, key, [...command('a'), {}, ...command('b')])
        expect(await log.command(key, 'b')).toEqual(stored.slice(4))
        expect(await log.command(key, 'c')).toEqual([])
        expect(await log.command(newKey(), 'a')).toEqual([])
        const retried = await appendAt(key, beginningOf(key), command('a'))
        expect(retried).toEqual({ status: 'duplicate', commands: new Map([['a', stored.slice(0, 3)]]) })
      })

      test('takes the same command id in another conversation', async () => {
        const [one, two] = [newKey(), newKey()]
        await appendTo(log, one, [{ commandId: 'same' }])
        expect(await appendAt(two, beginningOf(two), [{ commandId: 'same' }])).toMatchObject({ status: 'appended' })
      })

      cases([7], 'refuses to begin a conversation that exists', async () => {
        const key = newKey()
        const stored = await appendTo(log, key, [{}])
        expect(await appendAt(key, beginningOf(key), [{}])).toEqual({
          status: 'conflict',
          head: await log.head(key),
          missed: stored,
        })
      })

      cases([8], 'refuses to continue a conversation that does not exist', async () => {
        const key = newKey()
        const outcome = await appendAt(key, { position: 3, hash: new Uint8Array(32) }, [{}])
        expect(outcome).toEqual({ status: 'conflict', head: { ...beginningOf(key), occurredAt: 0, archived: false }, missed: [] })
        expect(await log.head(key)).toBeUndefined()
      })

      cases([9], 'checks the head only, when there is nothing to append', async () => {
        const key = newKey()
        const before = await feedEnd(key)
        expect(await appendAt(key, beginningOf(key), [])).toEqual({ status: 'appended', envelopes: [] })
        expect(await log.head(key)).toBeUndefined()
        const stored = await appendTo(log, key, [{}, {}])
        const head = (await log.head(key)) ?? beginningOf(key)
        expect(await appendAt(key, head, [])).toEqual({ status: 'appended', envelopes: [] })
        expect(await appendAt(key, beginningOf(key), [])).toEqual({ status: 'conflict', head, missed: stored })
        expect((await feedAfter(key, before)).length).toBe(2)
        expect(await log.head(key)).toEqual(head)
      })

      cases([11], 'keeps the order of a conversation that comes twice in a call', async () => {
        const [a, b] = [newKey(), newKey()]
        const first = following(a, beginningOf(a), [{}])
        const expected = first[0] ?? beginningOf(a)
        const outcomes = await log.append([
          { key: a, expected: beginningOf(a), envelopes: first },
          requestOf(b, beginningOf(b), [{}]),
          requestOf(a, expected, [{}]),
          requestOf(a, beginningOf(a), [{}]),
        ])
        expect(outcomes.map(({ status }) => status)).toEqual(['appended', 'appended', 'appended', 'conflict'])
        expect((await readAll(log, a)).map(({ position }) => position)).toEqual([1, 2])
      })

      test('lets one that fails stop no other of the same call', async () => {
        const keys = Array.from({ length: 30 }, () => newKey())
        const [stale, archived, duplicate] = keys as [ConversationKey, ConversationKey, ConversationKey]
        await appendTo(log, stale, [{}])
        await appendAt(archived, beginningOf(archived), [{}], true)
        await appendTo(log, duplicate, [{ commandId: 'x' }])
        const outcomes = await log.append(keys.map((key) => requestOf(key, beginningOf(key), [{ commandId: 'x' }, {}])))
        expect(outcomes.map(({ status }) => status)).toEqual([
          'conflict',
          'archived',
          'duplicate',
          ...keys.slice(3).map(() => 'appended'),
        ])
        for (const [i, key] of keys.slice(3).entries()) {
          const outcome = outcomes[i + 3]
          expect(await readAll(log, key)).toEqual(outcome?.status === 'appended' && outcome.envelopes)
        }
        expect((await readAll(log, stale)).length).toBe(1)
      })

      cases([14], 'lets 20 writers who try again all get through, at positions 1 to 20', async () => {
        const key = newKey()
        await Promise.all(
          Array.from({ length: 20 }, async () => {
            let expected = beginningOf(key)
            for (;;) {
              const outcome = await appendAt(key, expected, [{}])
              if (outcome.status === 'appended') return
              if (outcome.status !== 'conflict') throw new Error(outcome.status)
              expected = outcome.head
            }
          }),
        )
        const stored = await readAll(log, key)
        expect(stored.map(({ position }) => position)).toEqual(numbers(1, 20))
        expect(isChained(key, stored)).toBe(true)
      })

      cases([15], 'lets exactly one of 20 writers win a position, in each of 20 rounds', async () => {
        const key = newKey()
        const logs = opened.openAgain ? [log, await opened.openAgain(), await opened.openAgain()] : [log]
        for (let round = 0; round < 20; round++) {
          const expected = (await log.head(key)) ?? beginningOf(key)
          const outcomes = await Promise.all(
            Array.from({ length: 20 }, (_, i) =>
              (logs[i % logs.length] as EventLog).append([requestOf(key, expected, [{ actor: `writer ${i}` }])]),
            ),
          )
          const statuses = outcomes.map((outcome) => only(outcome).status)
          expect(statuses.filter((status) => status === 'appended')).toHaveLength(1)
          expect(statuses.filter((status) => status === 'conflict')).toHaveLength(19)
        }
        await Promise.all(logs.slice(1).map((other) => other.close()))
        expect((await readAll(log, key)).map(({ position }) => position)).toEqual(numbers(1, 20))
      })

      cases([16], 'takes nothing from the counters for a loser', async () => {
        const key = newKey()
        const before = await feedEnd(key)
        const [first] = await appendTo(log, key, [{ commandId: 'a' }])
        const loser = neighbourOf(key)
        expect(await appendAt(key, beginningOf(key), [{}])).toMatchObject({ status: 'conflict' })
        expect(await appendAt(loser, { position: 5, hash: new Uint8Array(32) }, [{}, {}])).toMatchObject({ status: 'conflict' })
        expect(await appendAt(key, beginningOf(key), [{ commandId: 'a' }])).toMatchObject({ status: 'duplicate' })
        await log.append([
          requestOf(key, beginningOf(key), [{}]),
          requestOf(loser, { position: 5, hash: new Uint8Array(32) }, [{}]),
        ])
        const [second] = await appendTo(log, key, [{}])
        expect([first?.feedPosition, second?.feedPosition]).toEqual([before + 1, before + 2])
        expect((await readAll(log, key)).map(({ position }) => position)).toEqual([1, 2])
      })

      cases([37], 'closes a conversation for good', async () => {
        const key = newKey()
        const [stored] = await appendTo(log, key, [{ commandId: 'a' }])
        const expected = stored ?? beginningOf(key)
        expect(await appendAt(key, expected, [{}], true)).toMatchObject({ status: 'appended' })
        const head = await log.head(key)
        expect(head).toMatchObject({ position: 2, archived: true })
        for (const [at, entries] of [
          [head, [{}]],
          [head, []],
          [beginningOf(key), [{}]],
        ] as const) {
          expect(await appendAt(key, at ?? expected, entries, true)).toEqual({ status: 'archived', head })
        }
        expect(await appendAt(key, expected, [{ commandId: 'a' }])).toMatchObject({ status: 'duplicate' })
        expect((await readAll(log, key)).length).toBe(2)
      })

      test('closes a conversation without a further envelope, and with its first', async () => {
        const [old, fresh, none] = [newKey(), newKey(), newKey()]
        const [stored] = await appendTo(log, old, [{}])
        expect(await appendAt(old, stored ?? beginningOf(old), [], true)).toEqual({ status: 'appended', envelopes: [] })
        expect(await log.head(old)).toMatchObject({ position: 1, archived: true })
        await appendAt(fresh, beginningOf(fresh), [{}], true)
        expect(await log.head(fresh)).toMatchObject({ position: 1, archived: true })
        expect(await appendAt(none, beginningOf(none), [], true)).toEqual({ status: 'appended', envelopes: [] })
        expect(await log.head(none)).toBeUndefined()
      })

      cases([41], 'keeps tenants apart that use the same ids', async () => {
        const { conversationId } = newKey()
        const [ann, bob] = [
          { tenant: 'ann', conversationId },
          { tenant: 'bob', conversationId },
        ]
        const stored = await appendTo(log, ann, [{ commandId: 'a' }, {}])
        expect(await log.head(bob)).toBeUndefined()
        expect(await readAll(log, bob)).toEqual([])
        expect(await log.command(bob, 'a')).toEqual([])
        await appendTo(log, bob, [{ commandId: 'a' }, {}])
        await appendTo(log, bob, [{ commandId: 'b' }])
        expect((await readAll(log, bob)).map(({ tenant }) => tenant)).toEqual(['bob', 'bob', 'bob'])
        expect(await readAll(log, ann)).toEqual(stored)
        const media = { hash: 'aa', mediaType: 'text/plain', bytes: utf8('ann') }
        await log.putMedia(ann, [media])
        expect(await log.media(bob, 'aa')).toBeUndefined()
        await log.saveSnapshot(ann, { position: 2, stateKey: 'k', stateHash: new Uint8Array(32), body: utf8('{}') })
        expect(await log.snapshot(bob, { stateKey: 'k' })).toBeUndefined()
      })

      cases(
        [42],
        'keeps every byte of a body: NUL, half surrogates, a megabyte, the order of keys, and what is no text',
        async () => {
          const key = newKey()
          const bodies = [
            utf8('{"payload":{"text":"\\u0000 \\ud800 \\udfff"}}'),
            utf8('{"zeta":1,"alpha":2,"zeta":3,"n":1e2}'),
            utf8(`{"payload":"${'x'.repeat(1_048_000)}"}`),
            utf8(''),
            Uint8Array.from({ length: 256 }, (_, i) => i),
          ]
          for (const body of bodies) await appendTo(log, key, [{ body }])
          await appendTo(
            log,
            key,
            bodies.map((body) => ({ body })),
          )
          const stored = await readAll(log, key)
          for (const [i, body] of [...bodies, ...bodies].entries()) expect(isSame(stored[i]?.body, body)).toBe(true)
          expect(isChained(key, stored)).toBe(true)
        },
      )

      test('keeps text of every script in its columns', async () => {
        const key = { tenant: 'Straße "of" \\ {quotes}, NULL', conversationId: `日本 🦜 ${newKey().conversationId} {"a",'b'}` }
        const entries = [{ commandId: 'команда, "x" \\ {}', actor: 'NULL' }, { actor: '' }, { actor: '𝒶' }]
        const one = await appendTo(log, key, entries.slice(0, 1))
        const rest = await appendTo(log, key, entries.slice(1))
        expect(await readAll(log, key)).toEqual([...one, ...rest])
        expect((await readAll(log, key)).map(({ actor }) => actor)).toEqual(['NULL', '', '𝒶'])
        expect(await log.command(key, 'команда, "x" \\ {}')).toEqual(one)
      })

      test('is not changed by what a caller does to its bytes', async () => {
        const key = newKey()
        const envelopes = following(key, beginningOf(key), [{ body: utf8('mine') }])
        const outcome = only(await log.append([{ key, expected: beginningOf(key), envelopes }]))
        const before = structuredClone(await readAll(log, key))
        if (outcome.status === 'appended')
          for (const { body, hash } of [...envelopes, ...outcome.envelopes]) [body, hash].map((bytes) => bytes.fill(0))
        for (const { body, hash } of await readAll(log, key)) [body, hash].map((bytes) => bytes.fill(0))
        for (const head of [await log.head(key)]) head?.hash.fill(0)
        expect(await readAll(log, key)).toEqual(before)
      })

      cases(
        [43],
        'goes on past position and feed position 2^31',
        async () => {
          const kysely = opened.kysely as Kysely<Database>
          const key = newKey()
          const high = 2 ** 31 - 2
          await appendTo(log, key, [{}])
          const hash = (await log.head(key))?.hash ?? new Uint8Array()
          const partition = placeOf(key)
          const { last_feed_position: feedWas } = await kysely
            .selectFrom('partition')
            .select('last_feed_position')
            .where('partition', '=', partition)
            .executeTakeFirstOrThrow()
          const setFeed = (position: number) =>
            kysely.updateTable('partition').set({ last_feed_position: position }).where('partition', '=', partition).execute()
          await kysely
            .updateTable('conversation')
            .set({ head_position: high })
            .where('conversation_id', '=', key.conversationId)
            .execute()
          await setFeed(2 ** 40)
          const stored = [...(await appendTo(log, key, [{}])), ...(await appendTo(log, key, [{}, {}, {}]))]
          expect(stored.map(({ position }) => position)).toEqual(numbers(2 ** 31 - 1, 2 ** 31 + 2))
          expect(stored.map(({ feedPosition }) => feedPosition)).toEqual(numbers(2 ** 40 + 1, 2 ** 40 + 4))
          expect(await readAll(log, key, { from: 2 ** 31 - 1 })).toEqual(stored)
          expect(await feedAfter(key, 2 ** 40)).toEqual(stored)
          expect(await appendAt(key, { position: high, hash }, [{}])).toMatchObject({
            status: 'conflict',
            head: { position: 2 ** 31 + 2 },
          })
          await kysely
            .deleteFrom('envelope')
            .where('feed_position', '>', 2 ** 40)
            .where('partition', '=', partition)
            .execute()
          await setFeed(Number(feedWas))
        },
        hasTables,
      )
    })

    describe('read', () => {
      cases([28], 'gives exactly the positions asked for', async () => {
        const key = newKey()
        const stored = await appendTo(
          log,
          key,
          Array.from({ length: 8 }, () => ({})),
        )
        const read = async (range: { from?: number; to?: number }) =>
          (await readAll(log, key, range)).map(({ position }) => position)
        expect(await read({ from: 2, to: 4 })).toEqual([2, 3, 4])
        expect(await read({ from: 3, to: 3 })).toEqual([3])
        expect(await read({ from: 7 })).toEqual([7, 8])
        expect(await read({ to: 2 })).toEqual([1, 2])
        expect(await read({ from: 0, to: 2 })).toEqual([1, 2])
        expect(await read({ from: 8, to: 100 })).toEqual([8])
        expect(await read({ to: Infinity })).toEqual(numbers(1, 8))
        for (const empty of [{ from: 9 }, { from: 5, to: 4 }, { to: 0 }, { from: 1e15 }]) expect(await read(empty)).toEqual([])
        expect(await readAll(log, key)).toEqual(stored)
        expect(await readAll(log, newKey())).toEqual([])
      })

      test('gives pages of at most 500, none of them empty', async () => {
        const key = newKey()
        await appendTo(
          log,
          key,
          Array.from({ length: 2 * pageSize }, () => ({})),
        )
        const sizes = async (range?: { from?: number; to?: number }) => {
          const found = []
          for await (const page of log.read(key, range)) found.push(page.length)
          return found
        }
        expect(await sizes()).toEqual([pageSize, pageSize])
        expect(await sizes({ from: 2 })).toEqual([pageSize, pageSize - 1])
        expect(await sizes({ to: pageSize + 1 })).toEqual([pageSize, 1])
      })

      test('ends a page of large envelopes by their bytes, and has always one in it', async () => {
        const key = newKey()
        const partition = placeOf(key)
        const before = await feedEnd(key)
        const sized = (share: number) => ({ body: utf8(JSON.stringify({ payload: { text: 'x'.repeat(pageBytes * share) } })) })
        const stored: StoredEnvelope[] = []
        for (const entries of [[sized(0.5), sized(0.25), {}, sized(0.25)], [sized(1)], [{}, {}]])
          stored.push(...(await appendTo(log, key, entries)))
        const end = (await log.feedHeads())[partition] as number
        const fork = { ...key, conversationId: `${key.conversationId}~fork` }
        await log.fork({ key: fork, parent: { conversationId: key.conversationId, position: 2 } })
        await appendTo(log, fork, [{}, sized(0.25), {}])

        const sizesOf = async (pages: AsyncIterable<readonly { readonly position: number }[]>) => {
          const found: number[][] = []
          for await (const page of pages) found.push(page.map(({ position }) => position))
          return found
        }
        const asPages = [[1, 2, 3, 4], [5], [6, 7]]
        expect(await sizesOf(log.read(key))).toEqual(asPages)
        expect(await sizesOf(log.actions(key, { from: 1, to: 7 }))).toEqual(asPages)
        expect(await sizesOf(log.actions(key, { from: 5, to: 5 }))).toEqual([[5]])
        expect(await sizesOf(log.read(fork))).toEqual([[1, 2, 3, 4], [5]])
        // A page of these may end sooner, as where a fork left its parent.
        expect((await sizesOf(log.actions(fork, { from: 1, to: 5 }))).flat()).toEqual([1, 2, 3, 4, 5])
        expect(briefly(await readAll(log, key))).toEqual(briefly(stored))
        const found: StoredAction[] = []
        for await (const page of log.actions(key, { from: 1, to: 7 })) found.push(...page)
        expect(found.map(actionOf)).toEqual(stored.map(actionOf))

        for (const filter of [{}, { tenant: key.tenant, conversationId: key.conversationId }]) {
          const feed = async (after: number) => {
            const { envelopes, scannedTo } = await log.feed({ ...filter, partition, after, limit: stored.length })
            return [envelopes.map(({ position }) => position), scannedTo - before]
          }
          expect(await feed(before)).toEqual([[1, 2, 3, 4], 4])
          expect(await feed(before + 4)).toEqual([[5], 5])
        }
        expect(end).toBe(before + 7)

        const missedAfter = async (position: number) => {
          const hash = stored[position - 1]?.hash ?? beginningOf(key).hash
          const outcome = await appendAt(key, { position, hash }, [{}])
          return outcome.status === 'conflict' && outcome.missed.map((envelope) => envelope.position)
        }
        expect(await missedAfter(0)).toEqual([1, 2, 3, 4])
        expect(await missedAfter(4)).toEqual([5])
        expect(await missedAfter(5)).toEqual([6, 7])
      })

      test('gives for replay the same actions as in whole envelopes', async () => {
        const key = newKey()
        const bodies = [
          '{"payload":{"text":"a\\u0000b \\ud800 \\" \\\\ \u00e4 \u{1f99c} \u2028"}}',
          '{"payload":{"a\\n":1,"b\\\\":{"":[]}},"meta":{"x":1},"derivedFrom":[[1,1]]}',
          ' { "payload" : { } } ',
          // What bytes that are not UTF-8 are decoded to.
          '{"payload":{"text":"\ufffd"}}',
        ]
        await appendTo(log, key, [
          ...bodies.map((body, i) => ({ body: utf8(body), ...(i === 1 && { actor: 'Zo\u00eb \u{1f99c}' }) })),
          ...Array.from({ length: actionPageSize }, () => ({ body: utf8(bodies[0] as string) })),
        ])
        const fork = { ...key, conversationId: `${key.conversationId}~fork` }
        await log.fork({ key: fork, parent: { conversationId: key.conversationId, position: 3 } })
        await appendTo(log, fork, [{}, {}])
        const sizes: number[] = []
        const actions = async (of: ConversationKey, from: number, to: number) => {
          const found = []
          for await (const page of log.actions(of, { from, to })) {
            sizes.push(page.length)
            found.push(...page.map((stored) => ({ stored, action: actionOf(stored) })))
          }
          return found.map(({ stored: { conversationId, schemaVersion }, action }) => ({ conversationId, schemaVersion, action }))
        }
        const read = async (of: ConversationKey, from: number, to: number) =>
          (await readAll(log, of, { from, to })).map((envelope) => {
            const { conversationId, schemaVersion } = envelope
            return { conversationId, schemaVersion, action: actionOf(envelope) }
          })
        for (const [of, from, to] of [
          [key, 1, actionPageSize + 4],
          [key, 2, 2],
          [key, 3, 2],
          [fork, 1, 5],
          [fork, 3, 4],
          [fork, 5, 5],
        ] as const)
          expect(await actions(of, from, to)).toEqual(await read(of, from, to))
        for (const size of sizes) expect(size).toBeGreaterThan(0)
        for (const size of sizes) expect(size).toBeLessThanOrEqual(actionPageSize)
        const end = actionPageSize + 5
        await expect(actions(key, 1, end)).rejects.toMatchObject({ code: 'log_corrupt', details: { position: end } })
        await expect(actions(fork, 4, 6)).rejects.toMatchObject({ code: 'log_corrupt', details: { position: 6 } })
        await expect(actions(newKey(), 1, 1)).rejects.toMatchObject({ code: 'log_corrupt', details: { position: 1 } })
      })

      test('gives for replay what turns from small to large and back, of many kinds', async () => {
        const key = newKey()
        const small = (count: number) =>
          Array.from({ length: count }, (_, i) => ({
            ...(i % 3 === 0 && { actor: `user:${i % 700}` }),
            ...(i % 5 === 0 && { type: 'metadataChanged', schemaVersion: (i % 2) + 1 }),
          }))
        const large = (bytes: number, count: number) =>
          Array.from({ length: count }, (_, i) => ({ body: utf8(`{"payload":{"i":${i},"text":"${'x'.repeat(bytes)}"}}`) }))
        // Control characters, by which something else may be parted, one in a group.
        const headers = [
          { type: 'a\u001f2\u001fb' },
          { type: 'a\u001f1' },
          { actor: '' },
          { type: 'a\u001fb' },
          { type: 'a\u001e' },
          { actor: 'a\u001fb' },
        ]
        const parted = headers.flatMap((header) => [header, ...small(63)])
        const parts = [small(2_100), parted, large(5_000, 130), large(60_000, 40), small(200), large(200_000, 2), small(300)]
        const stored: StoredEnvelope[] = []
        for (const entries of parts) stored.push(...(await appendTo(log, key, entries)))
        const found: StoredAction[] = []
        let largest = 0
        for await (const page of log.actions(key, { from: 2, to: stored.length })) {
          found.push(...page)
          largest = Math.max(
            largest,
            page.reduce((sum, { body }) => sum + body.length, 0),
          )
        }
        const seen = ({ conversationId, schemaVersion, ...envelope }: StoredAction) => {
          const { payload, ...action } = actionOf({ conversationId, schemaVersion, ...envelope })
          return { conversationId, schemaVersion, ...action, payload: JSON.stringify(payload).slice(0, 40) }
        }
        expect(found.map(seen)).toEqual(stored.slice(1).map(seen))
        expect(largest).toBeLessThanOrEqual(pageBytes)
      })

      test('gives for replay the types and actors that were stored, although one looks like two and another like none', async () => {
        const kinds = [
          [{ actor: 'mallory\u001f', type: 'roleGranted' }, { actor: 'a\u001emessageAdded' }],
          [{ type: 'a\u001eb' }, { type: 'a\u001fb' }],
          [{ type: '\u001f' }, { type: '\u001e', actor: '' }],
          [{ actor: '\u001f\u001e\u001f' }, { schemaVersion: 2 }, { type: '\u001e', schemaVersion: 2 }],
          [{ type: 'a\u001e' }, { actor: '\u001f' }, { actor: '\u001f\u001f' }, { actor: '\u001e' }],
        ]
        for (const entries of kinds) {
          const key = newKey()
          await appendTo(log, key, entries)
          const found: StoredAction[] = []
          for await (const page of log.actions(key, { from: 1, to: entries.length })) found.push(...page)
          const seen = ({ position, type, actor, schemaVersion }: StoredAction) => ({ position, type, actor, schemaVersion })
          expect(found.map(seen)).toEqual((await readAll(log, key)).map(seen))
        }
      })

      test('gives for replay also what is not text, which says so by its position', async () => {
        const key = newKey()
        for (const bytes of [
          [0xff, 0xfe],
          [0x7b, 0x00, 0x7d],
          [0xed, 0xa0, 0x80],
          // No JSON holds it, so something may have been parted by it.
          [0x1e],
        ])
          await appendTo(log, key, [{}, { body: Uint8Array.from(bytes) }])
        const found: StoredAction[] = []
        for await (const page of log.actions(key, { from: 1, to: 8 })) found.push(...page)
        expect(found.map(({ position }) => position)).toEqual(numbers(1, 8))
        for (const position of [2, 4, 6, 8]) {
          expect(() => actionOf(found[position - 1] as StoredAction)).toThrow(
            expect.objectContaining({ code: 'log_corrupt', details: expect.objectContaining({ position }) }),
          )
        }
      })

      cases(
        [27],
        'gives the order of the positions, however the rows lie',
        async () => {
          const key = newKey()
          const stored = await appendTo(
            log,
            key,
            Array.from({ length: 50 }, () => ({})),
          )
          const kysely = opened.kysely as Kysely<Database>
          for (const rest of [1, 0]) {
            await sql`update envelope set cause = cause where position % 2 = ${rest} and feed_position > ${(stored[0]?.feedPosition ?? 0) - 1}`.execute(
              kysely,
            )
          }
          expect(await readAll(log, key)).toEqual(stored)
          expect((await feedAfter(key, (stored[0]?.feedPosition ?? 0) - 1)).slice(0, 50)).toEqual(stored)
        },
        hasTables,
      )

      testIf(hasTables)('refuses to give a history with a hole in it', async () => {
        const key = newKey()
        const [, second] = await appendTo(
          log,
          key,
          Array.from({ length: 2 * pageSize + 5 }, () => ({})),
        )
        const kysely = opened.kysely as Kysely<Database>
        const remove = (from: number, to: number) =>
          kysely
            .deleteFrom('envelope')
            .where('partition', '=', placeOf(key))
            .where('feed_position', '>=', (second?.feedPosition ?? 0) - 2 + from)
            .where('feed_position', '<=', (second?.feedPosition ?? 0) - 2 + to)
            .execute()
        await remove(2 * pageSize + 5, 2 * pageSize + 5)
        await expect(readAll(log, key)).rejects.toMatchObject({ code: 'log_corrupt', details: { position: 2 * pageSize + 5 } })
        await remove(pageSize + 1, 2 * pageSize + 4)
        await expect(readAll(log, key)).rejects.toMatchObject({ code: 'log_corrupt', details: { position: pageSize + 1 } })
        await remove(3, 3)
        await expect(readAll(log, key)).rejects.toMatchObject({ code: 'log_corrupt', details: { position: 3 } })
        expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: false, positions: 2, problem: { position: 3 } })
        await expect(log.actions(key, { from: 2, to: 5 })[Symbol.asyncIterator]().next()).rejects.toMatchObject({
          code: 'log_corrupt',
          details: { position: 3 },
        })
        expect((await readAll(log, key, { to: 2 })).length).toBe(2)
        await remove(1, 2 * pageSize)
        await expect(readAll(log, key, { from: 1, to: 2 })).rejects.toMatchObject({
          code: 'log_corrupt',
          details: { position: 1 },
        })
        // Hands the feed positions back, so that the feed of the other tests has no hole.
        await sql`update partition set last_feed_position = ${(second?.feedPosition ?? 0) - 2} where partition = ${placeOf(key)}`.execute(
          kysely,
        )
      })

      test('lists conversations of a tenant by code point, in pages, without our own streams', async () => {
        const tenant = newKey().conversationId
        const ids = ['b', 'a', 'Z', 'ä', 'a~1', '\u{1f99c}', '\uff5e', 'colloquy', 'colloquy;', 'a b', '10', '9']
        for (const conversationId of [...ids, 'colloquy:ledger']) await appendTo(log, { tenant, conversationId }, [{}, {}])
        await appendTo(log, { tenant: `${tenant}2`, conversationId: 'other' }, [{}])
        const byCodePoint = ['10', '9', 'Z', 'a', 'a b', 'a~1', 'b', 'colloquy', 'colloquy;', 'ä', '\uff5e', '\u{1f99c}']
        const all = await log.conversations({ tenant, limit: 100 })
        expect(all.map(({ conversationId }) => conversationId)).toEqual(byCodePoint)
        expect(all[0]).toEqual({ tenant, conversationId: '10', ...(await log.head({ tenant, conversationId: '10' })) })
        const paged: string[] = []
        for (let after: string | undefined; ; after = paged.at(-1)) {
          const page = await log.conversations({ tenant, ...(after !== undefined && { after }), limit: 5 })
          paged.push(...page.map(({ conversationId }) => conversationId))
          if (page.length < 5) break
        }
        expect(paged).toEqual(byCodePoint)
      })
    })

    describe('feed', () => {
      test('gives every envelope of a partition once, in order, without a hole, from any position on', async () => {
        const key = newKey()
        const before = await feedEnd(key)
        const neighbour = neighbourOf(key)
        const stored = [
          ...(await appendTo(log, key, [{}, {}])),
          ...(await appendTo(log, neighbour, [{}])),
          ...(await appendTo(log, key, [{}])),
        ]
        const feed = await feedAfter(key, before)
        expect(feed).toEqual(stored)
        expect(feed.map(({ feedPosition }) => feedPosition)).toEqual(numbers(before + 1, before + 4))
        const partition = placeOf(key)
        expect(await log.feed({ partition, after: before + 1, limit: 2 })).toEqual({
          envelopes: stored.slice(1, 3),
          scannedTo: before + 3,
        })
        expect(await log.feed({ partition, after: before + 4, limit: 2 })).toEqual({ envelopes: [], scannedTo: before + 4 })
      })

      test('has neither hole nor repetition while many write, and a reader who keeps up misses nothing', async () => {
        const logs = opened.openAgain ? [log, await opened.openAgain(), await opened.openAgain()] : [log]
        const keys = Array.from({ length: 12 }, () => newKey())
        const places = [...new Set(keys.map(placeOf))]
        const starts = new Map<number, number>()
        for (const place of places)
          starts.set(place, await feedEnd(keys.find((key) => placeOf(key) === place) as ConversationKey))
        const seen = new Map<number, StoredEnvelope[]>(places.map((place) => [place, []]))
        const writing = { isOver: false }
        const poll = async () => {
          for (const place of places) {
            const known = seen.get(place) ?? []
            const after = known.at(-1)?.feedPosition ?? starts.get(place) ?? 0
            known.push(...(await log.feed({ partition: place, after, limit: 50 })).envelopes)
          }
        }
        const reading = (async () => {
          while (!writing.isOver) {
            await poll()
            await new Promise((resolve) => setImmediate(resolve))
          }
        })()
        await Promise.all(
          logs.map(async (writer, w) => {
            for (let round = 0; round < 10; round++) {
              const requests = await Promise.all(
                keys.map(async (key) => requestOf(key, (await writer.head(key)) ?? beginningOf(key), [{ actor: `${w}` }, {}])),
              )
              await writer.append(requests)
            }
          }),
        )
        writing.isOver = true
        await reading
        for (let round = 0; round < 20; round++) await poll()
        await Promise.all(logs.slice(1).map((other) => other.close()))
        for (const [place, envelopes] of seen) {
          const start = starts.get(place) ?? 0
          expect(envelopes.map(({ feedPosition }) => feedPosition)).toEqual(numbers(start + 1, start + envelopes.length))
        }
        for (const key of keys) {
          const stored = await readAll(log, key)
          const delivered = (seen.get(placeOf(key)) ?? []).filter(({ conversationId }) => conversationId === key.conversationId)
          expect(delivered).toEqual(stored)
          expect(isChained(key, stored)).toBe(true)
        }
      })

      cases(
        [17, 21],
        'never shows a later envelope before an earlier one whose writer is slow',
        async () => {
          const slow = await (opened.openSlow as () => Promise<SlowLog>)()
          const key = newKey()
          const neighbour = neighbourOf(key)
          const before = await feedEnd(key)
          const [first] = await appendTo(slow.log, key, [{}])
          const fast = Promise.all([
            appendAt(key, first ?? beginningOf(key), [{ actor: 'fast' }]),
            appendAt(neighbour, beginningOf(neighbour), [{}]),
          ])
          await new Promise((resolve) => setTimeout(resolve, 100))
          expect(await feedAfter(key, before)).toEqual([])
          await slow.commit()
          const outcomes = await fast
          expect(outcomes.map(({ status }) => status)).toEqual(['appended', 'appended'])
          const feed = await feedAfter(key, before)
          expect(feed.map(({ feedPosition }) => feedPosition)).toEqual(numbers(before + 1, before + 3))
          expect(feed[0]).toEqual(first)
          expect(
            feed.filter(({ conversationId }) => conversationId === key.conversationId).map(({ position }) => position),
          ).toEqual([1, 2])
        },
        isShared,
      )

      cases(
        [18],
        'delivers all of several slow writers once, whatever order they commit in',
        async () => {
          const writers = await Promise.all(numbers(1, 3).map(() => (opened.openSlow as () => Promise<SlowLog>)()))
          // Writers of one partition wait for each other, so each gets a partition of its own where there are enough.
          const keys = apart()
          const starts = await Promise.all(keys.map(feedEnd))
          const stored: (readonly StoredEnvelope[])[] = []
          for (const [i, key] of keys.entries()) stored.push(await appendTo((writers[i] as SlowLog).log, key, [{}, {}]))
          for (const writer of writers.toReversed()) await writer.commit()
          for (const [i, key] of keys.entries()) expect(await feedAfter(key, starts[i] ?? 0)).toEqual(stored[i])
        },
        isShared,
      )

      cases(
        [19],
        'is not held up by a writer that rolled back, whose positions go to the next',
        async () => {
          const slow = await (opened.openSlow as () => Promise<SlowLog>)()
          const key = newKey()
          const before = await feedEnd(key)
          await appendTo(slow.log, key, [{}, {}, {}])
          await slow.rollback()
          const [stored] = await appendTo(log, key, [{}])
          expect(stored).toMatchObject({ position: 1, feedPosition: before + 1 })
          expect(await feedAfter(key, before)).toEqual([stored])
        },
        isShared,
      )

      testIf(isShared)('sees a duplicate that was committed while it waited for the lock', async () => {
        const slow = await (opened.openSlow as () => Promise<SlowLog>)()
        const key = newKey()
        const stored = await appendTo(slow.log, key, [{ commandId: 'twin' }])
        const twins = Promise.all([
          appendAt(key, beginningOf(key), [{ commandId: 'twin' }]),
          log.append([key, newKey()].map((each) => requestOf(each, beginningOf(each), [{ commandId: 'twin' }]))),
        ])
        await new Promise((resolve) => setTimeout(resolve, 100))
        await slow.commit()
        const [alone, [among]] = await twins
        expect(alone).toEqual({ status: 'duplicate', commands: new Map([['twin', stored]]) })
        expect(among).toEqual(alone)
      })

      testIf(isShared)(
        'lets calls over the same partitions in opposite orders wait for each other without a deadlock',
        async () => {
          const keys = apart().sort((a, b) => placeOf(a) - placeOf(b))
          // Both calls come to the one in the middle and wait there; each would hold what the other wants next.
          const slow = await (opened.openSlow as () => Promise<SlowLog>)()
          const middle = keys[1] ?? keys[0] ?? newKey()
          await appendTo(slow.log, middle, [{}])
          const calls = Promise.all(
            [keys, keys.toReversed()].map((order) => log.append(order.map((key) => requestOf(key, beginningOf(key), [{}])))),
          )
          await new Promise((resolve) => setTimeout(resolve, 100))
          await slow.commit()
          const outcomes = (await calls).flat()
          expect(outcomes.filter(({ status }) => status === 'appended')).toHaveLength(keys.length === 1 ? 0 : 2)
          expect(outcomes.filter(({ status }) => status === 'conflict')).toHaveLength(
            2 * keys.length - (keys.length === 1 ? 0 : 2),
          )
        },
      )

      cases(
        [44],
        'is read by its index, without a sort, over 20,000 rows',
        async () => {
          const kysely = opened.kysely as Kysely<Database>
          const { feedQuery } = await import('../../packages/postgres/src/read/feed.ts')
          const key = newKey()
          for (let i = 0; i < 20; i++)
            await appendTo(
              log,
              key,
              Array.from({ length: 1000 }, () => ({ body: utf8('{}') })),
            )
          const query = feedQuery(kysely, { partition: placeOf(key), after: 1000, limit: 500 })
          // What autovacuum does on a server; an embedded database has to do without.
          if (isShared) await sql`analyze`.execute(kysely)
          const plan = (await query.explain()).map((row) => Object.values(row as object).join()).join('\n')
          expect(plan).toContain('Index Scan using envelope_partition_feed_position_key')
          expect(plan).not.toMatch(/Sort|Seq Scan on envelope/)
        },
        hasTables,
      )
    })

    describe('snapshots', () => {
      const hash = (n: number) => new Uint8Array(32).fill(n)
      const snapshot = (position: number, body: string | null, stateKey = 'v1') => ({
        position,
        stateKey,
        stateHash: hash(position),
        body: body === null ? null : utf8(body),
      })

      test('gives the youngest with a body at or before a position, of the right key', async () => {
        const key = newKey()
        await appendTo(
          log,
          key,
          Array.from({ length: 9 }, () => ({})),
        )
        expect(await log.snapshot(key, { stateKey: 'v1' })).toBeUndefined()
        await log.saveSnapshot(key, snapshot(3, 'three'))
        await log.saveSnapshot(key, snapshot(4, 'other', 'v2'))
        expect(await log.snapshot(key, { stateKey: 'v1' })).toEqual(snapshot(3, 'three'))
        expect(await log.snapshot(key, { stateKey: 'v1', atOrBefore: 3 })).toEqual(snapshot(3, 'three'))
        expect(await log.snapshot(key, { stateKey: 'v1', atOrBefore: 2 })).toBeUndefined()
        expect(await log.snapshot(key, { stateKey: 'v2' })).toEqual(snapshot(4, 'other', 'v2'))
        expect(await log.snapshot(key, { stateKey: 'v3' })).toBeUndefined()
        expect(await log.snapshot(newKey(), { stateKey: 'v1' })).toBeUndefined()
      })

      test('keeps only the youngest body, and every hash', async () => {
        const key = newKey()
        await appendTo(
          log,
          key,
          Array.from({ length: 9 }, () => ({})),
        )
        for (const each of [snapshot(2, 'two'), snapshot(6, 'six'), snapshot(4, 'four'), snapshot(8, null), snapshot(5, null)]) {
          await log.saveSnapshot(key, each)
        }
        expect(await log.snapshot(key, { stateKey: 'v1' })).toEqual(snapshot(6, 'six'))
        expect(await log.snapshot(key, { stateKey: 'v1', atOrBefore: 5 })).toBeUndefined()
        const hashes = [2, 4, 5, 6, 8].map((position) => ({ position, stateKey: 'v1', stateHash: hash(position) }))
        expect(await log.stateHashes(key, 'v1')).toEqual(hashes)
        expect(await log.stateHashes(key, 'v2')).toEqual([])
        expect(await log.stateHashes(newKey(), 'v1')).toEqual([])
      })

      test('gives the hashes of every state key where none is named, by position and then by key', async () => {
        const key = newKey()
        await appendTo(log, key, [{}, {}, {}])
        for (const each of [
          snapshot(3, null, 'v1'),
          snapshot(3, 'three', 'v2'),
          snapshot(1, null, 'v2'),
          snapshot(2, null, 'V3'),
        ]) {
          await log.saveSnapshot(key, each)
        }
        const found = (await log.stateHashes(key)).map(({ position, stateKey }) => [position, stateKey])
        expect(found).toEqual([
          [1, 'v2'],
          [2, 'V3'],
          [3, 'v1'],
          [3, 'v2'],
        ])
        expect(await log.stateHashes(newKey())).toEqual([])
      })

      test('keeps the first hash of a position, and takes the body that goes with it later', async () => {
        const key = newKey()
        await appendTo(log, key, [{}, {}])
        await log.saveSnapshot(key, snapshot(2, null))
        await log.saveSnapshot(key, { ...snapshot(2, 'other'), stateHash: hash(99) })
        expect(await log.snapshot(key, { stateKey: 'v1' })).toBeUndefined()
        for (let round = 0; round < 2; round++) await log.saveSnapshot(key, snapshot(2, 'two'))
        await log.saveSnapshot(key, snapshot(2, null))
        expect(await log.snapshot(key, { stateKey: 'v1' })).toEqual(snapshot(2, 'two'))
        expect(await log.stateHashes(key)).toEqual([{ position: 2, stateKey: 'v1', stateHash: hash(2) }])
      })

      test('lets go of a body that is not to be used, and keeps its hash', async () => {
        const key = newKey()
        await appendTo(log, key, [{}, {}])
        await log.saveSnapshot(key, snapshot(2, 'two'))
        for (const position of [1, 2, 2]) await log.dropSnapshot(key, { stateKey: 'v1', position })
        expect(await log.snapshot(key, { stateKey: 'v1' })).toBeUndefined()
        expect(await log.stateHashes(key)).toEqual([{ position: 2, stateKey: 'v1', stateHash: snapshot(2, 'two').stateHash }])
        await log.dropSnapshot(newKey(), { stateKey: 'v1', position: 1 })
      })

      test('ignores one of a conversation that does not exist', async () => {
        const key = newKey()
        await log.saveSnapshot(key, snapshot(1, 'one'))
        expect(await log.snapshot(key, { stateKey: 'v1' })).toBeUndefined()
        expect(await log.head(key)).toBeUndefined()
      })
    })

    describe('media', () => {
      test('come back as they were put, once', async () => {
        const key = newKey()
        const image = {
          hash: 'ab'.repeat(32),
          mediaType: 'image/png',
          bytes: Uint8Array.from({ length: 300_000 }, (_, i) => i % 256),
        }
        const empty = { hash: 'cd'.repeat(32), mediaType: 'text/plain; charset=utf-8', bytes: new Uint8Array() }
        await log.putMedia(key, [image, empty])
        await log.putMedia(key, [image, image])
        await log.putMedia(key, [])
        const found = await log.media(key, image.hash)
        expect(found?.mediaType).toBe('image/png')
        expect(isSame(found?.bytes, image.bytes)).toBe(true)
        expect(await log.media(key, empty.hash)).toEqual(empty)
        expect(await log.media(key, 'ef')).toBeUndefined()
      })
    })
  })
}

/** All cases are somewhere. Called after the suites. */
export function testThatAllCasesAreSomewhere(): void {
  test('each of the 47 cases is tested here, or it is said where', () => {
    const named = new Set([...here, ...Object.keys(elsewhere).map(Number)])
    expect([...named].sort((a, b) => a - b)).toEqual(numbers(1, 47))
    expect([...here].filter((number) => number in elsewhere)).toEqual([])
  })
}

function requestOf(key: ConversationKey, expected: Expected, entries: readonly Entry[]): AppendRequest {
  return { key, expected, envelopes: following(key, expected, entries) }
}

function only(outcomes: readonly AppendOutcome[]): AppendOutcome {
  expect(outcomes).toHaveLength(1)
  return outcomes[0] as AppendOutcome
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)

function without(object: object | undefined, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(object ?? {}).filter(([name]) => !names.includes(name)))
}

const isSame = (a: Uint8Array | undefined, b: Uint8Array): boolean => a !== undefined && Buffer.compare(a, b) === 0

/** Whether stamping the same bodies again gives the same hashes: each envelope follows the one before. */
function isChained(key: ConversationKey, stored: readonly StoredEnvelope[]): boolean {
  let expected = beginningOf(key)
  for (const envelope of stored) {
    const { body, occurredAt, actor, commandId, commandIndex } = envelope
    const entry = {
      body,
      occurredAt,
      ...(actor !== null && { actor }),
      ...(commandId !== null && { commandId, commandIndex: commandIndex ?? 0 }),
    }
    const [again] = following(key, expected, [entry])
    if (!again || !isSame(envelope.hash, again.hash)) return false
    expected = envelope
  }
  return true
}
