/** Three logs, one history: whatever is asked of them, in whatever order, they answer the same. */
import type { AppendOutcome, AppendRequest, ConversationKey, EventLog } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import { migrate, openEmbeddedLog, openPostgresLog } from '@colloquy/postgres'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { beginningOf, type Expected, following, readAll, utf8 } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'

const partitions = 4
const server = await startPostgres()
const logs: Record<string, EventLog> = {
  memory: openMemoryLog({ partitions }),
  pglite: await openEmbeddedLog({ memory: true, partitions }),
  ...(server && { postgres: await openOnServer(await server.createDatabase()) }),
}
afterAll(async () => {
  await Promise.all(Object.values(logs).map((log) => log.close()))
  await server?.stop()
})

async function openOnServer(url: string): Promise<EventLog> {
  await migrate({ url, partitions })
  return openPostgresLog({ url })
}

/** Where an append says it follows: the head, one of the places that make conflicts, or the beginning. */
const aims = ['head', 'head', 'head', 'beginning', 'behind', 'ahead', 'other hash'] as const

interface Wish {
  readonly conversation: number
  readonly aim: (typeof aims)[number]
  readonly commands: readonly (number | null)[]
  readonly archive: boolean
}

const conversation = fc.integer({ min: 0, max: 3 })
const position = fc.integer({ min: 0, max: 12 })
const wish = fc.record<Wish>({
  conversation,
  aim: fc.constantFrom(...aims),
  commands: fc.array(fc.option(fc.integer({ min: 0, max: 5 })), { maxLength: 3 }),
  archive: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
})

const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('append' as const), wishes: fc.array(wish, { minLength: 1, maxLength: 1 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('append' as const),
      wishes: fc.uniqueArray(wish, { minLength: 1, maxLength: 4, selector: (each) => each.conversation }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      conversation,
      from: fc.option(position, { nil: undefined }),
      to: fc.option(position, { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('command' as const), conversation, command: fc.integer({ min: 0, max: 5 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('list' as const),
      after: fc.option(conversation),
      limit: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('feed' as const),
      partition: fc.integer({ min: 0, max: partitions - 1 }),
      limit: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('save' as const),
      conversation,
      position,
      hash: fc.integer({ min: 0, max: 1 }),
      hasBody: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('snapshot' as const),
      conversation,
      atOrBefore: fc.option(position, { nil: undefined }),
    }),
  },
)

type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never

let runs = 0

test('memory, PGlite and Postgres give the same answers to any sequence of operations (case 46)', async () => {
  const statuses = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 60 }), async (operations) => {
      const tenant = `run ${++runs}`
      const feedStarts = await Promise.all(
        Array.from({ length: partitions }, (_, partition) => feedEnd(logs['memory'] as EventLog, partition)),
      )
      for (const each of operations) {
        const ask = await question(logs['memory'] as EventLog, tenant, each, feedStarts)
        const answers = await Promise.all(Object.values(logs).map(async (log) => comparable(await ask(log))))
        for (const [i, name] of Object.keys(logs).entries())
          expect({ name, each, answer: answers[i] }).toEqual({ name, each, answer: answers[0] })
        if (each.type === 'append')
          for (const { status } of answers[0] as AppendOutcome[]) statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    }),
    { numRuns: 30 },
  )
  // A property over appends that never meet is worth nothing. Each status comes 30 times and more in 30 runs.
  expect([...statuses.keys()].sort()).toEqual(['appended', 'archived', 'conflict', 'duplicate'])
})

/** What an operation asks of a log. Made once, by the log in memory, so that all are asked the same. */
async function question(
  memory: EventLog,
  tenant: string,
  each: Operation,
  feedStarts: readonly number[],
): Promise<(log: EventLog) => Promise<unknown>> {
  const keyOf = (n: number): ConversationKey => ({ tenant, conversationId: `c${n}` })
  switch (each.type) {
    case 'append': {
      const requests = await Promise.all(each.wishes.map((one) => requestFor(memory, keyOf(one.conversation), one)))
      return (log) => log.append(requests)
    }
    case 'read': {
      const range = { ...(each.from !== undefined && { from: each.from }), ...(each.to !== undefined && { to: each.to }) }
      return async (log) => [await log.head(keyOf(each.conversation)), await readAll(log, keyOf(each.conversation), range)]
    }
    case 'command':
      return (log) => log.command(keyOf(each.conversation), `command ${each.command}`)
    case 'list':
      return (log) => log.conversations({ tenant, limit: each.limit, ...(each.after !== null && { after: `c${each.after}` }) })
    case 'feed':
      return async (log) =>
        (await log.feed({ partition: each.partition, after: feedStarts[each.partition] ?? 0, limit: each.limit })).envelopes
    case 'save': {
      const snapshot = {
        position: each.position,
        stateKey: 'key',
        stateHash: new Uint8Array(32).fill(each.hash),
        body: each.hasBody ? utf8(`state ${each.hash}`) : null,
      }
      return (log) => log.saveSnapshot(keyOf(each.conversation), snapshot)
    }
    case 'snapshot': {
      const query = { stateKey: 'key', ...(each.atOrBefore !== undefined && { atOrBefore: each.atOrBefore }) }
      return async (log) => [await log.snapshot(keyOf(each.conversation), query), await log.stateHashes(keyOf(each.conversation))]
    }
    default:
      return each satisfies never
  }
}

async function requestFor(memory: EventLog, key: ConversationKey, { aim, commands, archive }: Wish): Promise<AppendRequest> {
  const stored = await readAll(memory, key)
  const head: Expected = stored.at(-1) ?? beginningOf(key)
  const places: Record<Wish['aim'], Expected> = {
    head,
    beginning: beginningOf(key),
    behind: stored.at(-2) ?? beginningOf(key),
    ahead: { position: head.position + 2, hash: head.hash },
    'other hash': { position: head.position, hash: new Uint8Array(32).fill(1) },
  }
  const expected = places[aim]
  const entries = commands.map((command, i) => ({
    actor: `actor ${i}`,
    ...(command !== null && {
      commandId: `command ${command}`,
      commandIndex: commands.slice(0, i).filter((other) => other === command).length,
    }),
  }))
  return { key, expected, envelopes: following(key, expected, entries), archive }
}

async function feedEnd(log: EventLog, partition: number): Promise<number> {
  let end = 0
  for (;;) {
    const { envelopes, scannedTo } = await log.feed({ partition, after: end, limit: 10_000 })
    if (envelopes.length === 0) return end
    end = scannedTo
  }
}

/** Without the one thing in which logs may differ: when they took it. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`
  if (value instanceof Map) return comparable([...value.entries()].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)))
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, name === 'recordedAt' ? 'some time' : comparable(each)]),
  )
}
