import { afterAll, beforeAll, expect, test } from 'vitest'
import { appendTo, newKey } from '../../../../test/support/log-writer.ts'
import { logConnection } from '../connections/connection.ts'
import { openEmbeddedLog } from '../embedded/open-embedded.ts'
import type { PostgresLog } from '../postgres-log.ts'
import { commandLookup } from './command-lookup.ts'

let log: PostgresLog
beforeAll(async () => {
  log = await openEmbeddedLog({ memory: true, partitions: 4 })
})
afterAll(() => log.close())

/** A lookup over the same tables, and how many statements it sent. */
function counted() {
  const counts = { statements: 0 }
  const connection = logConnection(
    { kysely: log.kysely, target: 'test', close: () => Promise.resolve() },
    { id: '00000000', partitions: 4, needsReadCommitted: false, isCluster: false, role: 'test', seesAllTenants: true },
  )
  const asTenant: typeof connection.asTenant = (tenant, work) => {
    counts.statements += 1
    return connection.asTenant(tenant, work)
  }
  return { look: commandLookup({ ...connection, asTenant }), counts }
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
