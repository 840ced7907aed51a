import type { ConversationKey } from '@colloquy/core'
import type { KyselyPlugin } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { appendTo, briefly, newKey } from '../../../../test/support/log-writer.ts'
import { logConnection } from '../connections/connection.ts'
import { openEmbeddedLog } from '../embedded/open-embedded.ts'
import type { PostgresLog } from '../postgres-log.ts'
import { commandLookup } from './command-lookup.ts'
import { readCommands } from './read.ts'

let log: PostgresLog
beforeAll(async () => {
  log = await openEmbeddedLog({ memory: true, partitions: 4 })
})
afterAll(() => log.close())

/** A lookup over the same tables, how many statements it sent, and how many bytes of bodies the largest answer had. */
function counted() {
  const counts = { statements: 0, largestBytes: 0 }
  const measuring: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    transformResult({ result }) {
      const bytes = (result.rows as { readonly body: Uint8Array }[]).reduce((sum, { body }) => sum + body.length, 0)
      counts.largestBytes = Math.max(counts.largestBytes, bytes)
      return Promise.resolve(result)
    },
  }
  const connection = logConnection(
    { kysely: log.kysely, target: 'test', close: () => Promise.resolve() },
    {
      id: '00000000',
      partitions: 4,
      needsReadCommitted: false,
      isCluster: false,
      isReadOnly: false,
      role: 'test',
      seesAllTenants: true,
    },
  )
  const asTenant: typeof connection.asTenant = (tenant, work) => {
    counts.statements += 1
    return connection.asTenant(tenant, (kysely) => work(kysely.withPlugin(measuring)))
  }
  const bounded = { ...connection, asTenant }
  return {
    look: commandLookup(bounded),
    readAll: (key: ConversationKey, ids: readonly string[]) => readCommands(bounded, key, ids),
    counts,
  }
}

test('a thousand lookups at once are a few statements, and each gets its own answer', async () => {
  const keys = Array.from({ length: 1_000 }, (_, i) => newKey(i % 2 === 0 ? 'even' : 'odd'))
  const stored = await Promise.all(
    keys.slice(0, 20).map((key) => appendTo(log, key, [{ commandId: 'c' }, { commandId: 'c', commandIndex: 1 }])),
  )
  const { look, counts } = counted()
  const found = await Promise.all(keys.map((key) => look(key, 'c')))
  expect(found).toEqual([...stored, ...Array.from({ length: 980 }, () => [])])
  expect(counts.statements).toBe(2)
})

test('what is asked while a statement is under way goes into the next one, and one that fails fails only those in it', async () => {
  const { look, counts } = counted()
  const [stored] = await appendTo(log, newKey('even'), [{ commandId: 'c' }])
  const first = look({ tenant: 'even', conversationId: stored?.conversationId ?? '' }, 'c')
  await Promise.resolve()
  await Promise.resolve()
  const bad = look({ tenant: 'even', conversationId: 'nul \u0000' }, 'c')
  expect(await first).toEqual([stored])
  await expect(bad).rejects.toMatchObject({ code: 'database_failed' })
  expect(await look({ tenant: 'even', conversationId: stored?.conversationId ?? '' }, 'other')).toEqual([])
  expect(counts.statements).toBe(3)
})

test('no statement answers with more than a page of bytes, however much the commands have stored', async () => {
  const body = new Uint8Array(3 * 1024 * 1024)
  const keys = [newKey('large'), newKey('large')] as const
  const ids = ['a', 'a', 'b', 'c']
  const entries = ids.map((commandId, i) => ({ commandId, commandIndex: i === 1 ? 1 : 0, body }))
  const [one, two] = [await appendTo(log, keys[0], entries), await appendTo(log, keys[1], entries)] as const

  const lookup = counted()
  const found = await Promise.all([
    lookup.look(keys[0], 'a'),
    lookup.look(keys[0], 'none'),
    lookup.look(keys[1], 'a'),
    lookup.look(keys[1], 'c'),
  ])
  expect(found.map(briefly)).toEqual([one.slice(0, 2), [], two.slice(0, 2), two.slice(3)].map(briefly))
  // Of five bodies a page has three, since the third is what fills it.
  expect(lookup.counts).toEqual({ statements: 2, largestBytes: 3 * body.length })

  const all = counted()
  const stored = await all.readAll(keys[0], ['a', 'b', 'c', 'none'])
  expect([...stored].map(([id, envelopes]) => [id, briefly(envelopes)])).toEqual([
    ['a', briefly(one.slice(0, 2))],
    ['b', briefly(one.slice(2, 3))],
    ['c', briefly(one.slice(3))],
  ])
  expect(all.counts).toEqual({ statements: 2, largestBytes: 3 * body.length })
})
