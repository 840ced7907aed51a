/** One suite over every memory index: in memory, PGlite, Postgres; as the owner and as a role that sees one tenant. */

import { interactionTypes, memoryIndex, projectInteractions } from '@colloquy/context'
import type { ConversationKey, IndexedInteraction, MemoryIndex } from '@colloquy/core'
import { messageRedacted, openEnvelope } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import {
  type Database,
  migrate,
  openEmbeddedLog,
  openPostgresLog,
  type PostgresLog,
  postgresMemoryIndex,
  subscribe,
} from '@colloquy/postgres'
import fc from 'fast-check'
import { CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { say } from '../support/given.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { createRoles } from '../support/roles.ts'
import { openTestPool } from '../support/test-pool.ts'

const server = await startPostgres()
const logs: PostgresLog[] = []
afterAll(async () => {
  for (const log of logs) await log.close()
  await server?.stop()
})

const hour = 3_600_000_000
const now = 1_800_000_000_000_000
let tenants = 0

function interaction(
  sessionId: string,
  sequence: number,
  text: string,
  more: Partial<IndexedInteraction> = {},
): IndexedInteraction {
  return {
    sessionId,
    sequence,
    occurredAt: now - hour,
    lastPosition: sequence * 2,
    isLogged: sequence % 2 === 1,
    significance: 0.7,
    hasContext: sequence > 1,
    messages: [
      { messageId: `${sessionId}-${sequence}`, role: 'user', text },
      { messageId: `${sessionId}-${sequence}-a`, role: 'assistant', text: 'Noted.' },
    ],
    ...more,
  }
}

/**
 * Letters that every engine knows to be some: to Postgres those beyond the first 65,536 characters are none, and to PGlite those of the
 * newest Unicode versions (U+1C89, of 2024).
 */
const someWord = fc
  .stringMatching(/^[a-zA-ZÀ-ɏͰ-ϿЀ-ӿء-ي가-힣ぁ-ゖ一-龥0-9]{1,12}$/u)
  .filter((word) => /^[\p{L}\p{N}]+$/u.test(word))

function memoryIndexContract(name: string, open: () => Promise<MemoryIndex>): void {
  describe(name, () => {
    let index: MemoryIndex
    beforeAll(async () => {
      index = await open()
    })
    /** A tenant of its own for each test. */
    const newTenant = () => `tenant-${++tenants}`
    const find = async (tenant: string, text: string, more: { sessionId?: string; limit?: number } = {}) =>
      (await index.search(tenant, { text, limit: 10, now, ...more })).map(({ sessionId, sequence }) => `${sessionId}/${sequence}`)

    test('keeps what it is given, whatever the text, and gives it back; the same again changes nothing', async () => {
      const tenant = newTenant()
      const odd = interaction('s', 1, 'NUL \0, half \ud800, \u2028 "quoted" \\ and 東京', {
        significance: 0.123,
        hasContext: true,
      })
      await index.put(tenant, [odd, interaction('s', 2, 'second')])
      await index.put(tenant, [odd])
      await index.put(tenant, [])
      expect(await index.latest(tenant, 's', 10)).toEqual([interaction('s', 2, 'second'), odd])
      expect(await index.latest(tenant, 's', 1)).toEqual([interaction('s', 2, 'second')])
      expect(await index.latest(tenant, 'other', 1)).toEqual([])
      await index.put(tenant, [interaction('s', 2, 'replaced')])
      expect(await find(tenant, 'second')).toEqual([])
      expect(await find(tenant, 'replaced')).toEqual(['s/2'])
    })

    test('who is behind in the log takes nothing back', async () => {
      const tenant = newTenant()
      await index.put(tenant, [interaction('s', 1, 'younger', { lastPosition: 9 })])
      await index.put(tenant, [interaction('s', 1, 'older', { lastPosition: 8 })])
      expect(await index.latest(tenant, 's', 1)).toEqual([interaction('s', 1, 'younger', { lastPosition: 9 })])
      expect(await find(tenant, 'older')).toEqual([])
      await index.put(tenant, [interaction('s', 1, 'the same', { lastPosition: 9 })])
      expect(await find(tenant, 'younger the same')).toEqual(['s/1'])
    })

    test('finds by any word, in any case, also by parts of what is written together; without words nothing', async () => {
      const tenant = newTenant()
      await index.put(tenant, [
        interaction('s', 1, 'The port is set in src/server/listen.ts as LISTEN_PORT'),
        interaction('s', 2, 'We chose Postgres for maxConnections reasons'),
      ])
      expect(await find(tenant, 'which PORT?')).toEqual(['s/1'])
      expect(await find(tenant, 'connections')).toEqual(['s/2'])
      expect(await find(tenant, 'server')).toEqual(['s/1'])
      expect(await find(tenant, 'kubernetes')).toEqual([])
      for (const empty of ['', '   ', '?!', '""', '-', `' or 1=1; --`.replace(/[a-z0-9]/g, '')])
        expect(await find(tenant, empty)).toEqual([])
      expect((await find(tenant, `port" or "x' & | ! <-> :* (`)).length).toBe(1)
    })

    test('finds phrases, and leaves out what is not wanted', async () => {
      const tenant = newTenant()
      await index.put(tenant, [interaction('s', 1, 'the due date is wrong'), interaction('s', 2, 'a date that is due, redis')])
      expect(await find(tenant, '"due date"')).toEqual(['s/1'])
      expect(await find(tenant, 'date -redis')).toEqual(['s/1'])
      expect((await find(tenant, 'date')).sort()).toEqual(['s/1', 's/2'])
    })

    test('orders by relevance, recency and significance, each of which decides where the others are the same', async () => {
      const tenant = newTenant()
      await index.put(tenant, [
        interaction('relevance', 1, 'apple tree and something else entirely'),
        interaction('relevance', 2, 'apple pie apple pie apple'),
        interaction('recency', 1, 'pear', { occurredAt: now - 500 * hour }),
        interaction('recency', 2, 'pear', { occurredAt: now - 5 * hour }),
        interaction('significance', 1, 'plum', { significance: 0.9 }),
        interaction('significance', 2, 'plum', { significance: 0.2 }),
        interaction('old', 1, 'quince', { occurredAt: 0 }),
        interaction('future', 1, 'quince', { occurredAt: now + hour }),
      ])
      expect(await find(tenant, 'apple pie')).toEqual(['relevance/2', 'relevance/1'])
      expect(await find(tenant, 'pear')).toEqual(['recency/2', 'recency/1'])
      expect(await find(tenant, 'plum')).toEqual(['significance/1', 'significance/2'])
      expect(await find(tenant, 'quince')).toEqual(['future/1', 'old/1'])
      const [best] = await index.search(tenant, { text: 'plum', limit: 1, now })
      expect(best?.score).toBeCloseTo(1 + 0.995 + 0.9, 6)
    })

    test('searches one session, or all of the tenant, and never another tenant', async () => {
      const [tenant, other] = [newTenant(), newTenant()]
      await index.put(tenant, [interaction('a', 1, 'shared word'), interaction('b', 1, 'shared word')])
      await index.put(other, [interaction('a', 1, 'shared word of another')])
      expect((await find(tenant, 'shared')).sort()).toEqual(['a/1', 'b/1'])
      expect(await find(tenant, 'shared', { sessionId: 'b' })).toEqual(['b/1'])
      expect(await find(tenant, 'another')).toEqual([])
      expect(await find(tenant, 'shared', { limit: 1 })).toHaveLength(1)
    })

    test('lets go of a session up to a place, or of all of it', async () => {
      const tenant = newTenant()
      await index.put(tenant, [1, 2, 3].map((n) => interaction('s', n, 'word')).concat(interaction('t', 1, 'word')))
      await index.forget(tenant, 's', 2)
      expect((await index.latest(tenant, 's', 10)).map(({ sequence }) => sequence)).toEqual([3])
      await index.forget(tenant, 's')
      await index.forget(tenant, 's')
      expect(await find(tenant, 'word')).toEqual(['t/1'])
    })

    test('property: every word of any text finds it', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(someWord, { minLength: 1, maxLength: 4 }), async (words) => {
          const tenant = newTenant()
          await index.put(tenant, [interaction('s', 1, words.join(' '))])
          for (const word of words) expect(await find(tenant, word)).toEqual(['s/1'])
        }),
        { numRuns: 25 },
      )
    })
  })
}

async function kept(log: PostgresLog): Promise<MemoryIndex> {
  logs.push(log)
  return postgresMemoryIndex(log)
}

memoryIndexContract('memory', async () => memoryIndex())
memoryIndexContract('PGlite', async () => kept(await openEmbeddedLog({ memory: true })))
describe.skipIf(!server)('a real Postgres', () => {
  memoryIndexContract('as the owner, 8 partitions', async () => {
    const url = (await server?.createDatabase()) ?? ''
    await migrate({ url, partitions: 8 })
    return kept(await openPostgresLog({ url }))
  })
  memoryIndexContract('as the app role, which sees one tenant at a time, 8 partitions', async () => {
    const url = (await server?.createDatabase()) ?? ''
    return kept(await openPostgresLog({ url: (await createRoles(url, { partitions: 8 })).app }))
  })

  test('the app role sees no interaction of another tenant, although the condition is forgotten', async () => {
    const url = (await server?.createDatabase()) ?? ''
    const { app, worker } = await createRoles(url, { partitions: 4 })
    const log = await openPostgresLog({ url: app })
    logs.push(log)
    const index = postgresMemoryIndex(log)
    await index.put('acme', [interaction('s', 1, 'secret')])
    for (const table of ['interaction', 'own_interaction'] as const)
      expect(await log.kysely.selectFrom(table).selectAll().execute()).toEqual([])
    expect(await index.search('other', { text: 'secret', limit: 1, now })).toEqual([])
    const forgetful = await log.kysely.transaction().execute(async (trx) => {
      await sql`select set_config('app.tenants', '{other}', true)`.execute(trx)
      return trx.selectFrom('own_interaction').selectAll().execute()
    })
    expect(forgetful).toEqual([])
    // A worker, which projects for all of them, sees it.
    const seeing = await openPostgresLog({ url: worker })
    logs.push(seeing)
    expect(await seeing.kysely.selectFrom('interaction').select('tenant').execute()).toEqual([{ tenant: 'acme' }])
    expect(await postgresMemoryIndex(seeing).latest('acme', 's', 1)).toHaveLength(1)
  })
})

describe.skipIf(!server)('a search among 20,000 interactions, most of them of one tenant', () => {
  test.each(['owner', 'app', 'worker'] as const)('is answered by the index of words, as the %s', async (role) => {
    const url = (await server?.createDatabase()) ?? ''
    const roles = { owner: url, ...(await createRoles(url, { partitions: 4 })) }
    const owner = await openPostgresLog({ url })
    logs.push(owner)
    await sql`
      insert into interaction
      select n % 4, case when n % 4 = 0 then 'other' || n % 50 else 'large' end, 'session' || n % 1000, n, n, n, true, 0, false, repeat(' ', 400) || '[]',
        to_tsvector('simple', 'word' || n || ' common' || n % 50 || ' here and there ' || md5(n::text))
      from generate_series(1, 20000) n
    `.execute(owner.kysely)
    // As autovacuum does it. What waits to be put into an index of words is searched as it lies.
    await sql`vacuum analyze interaction`.execute(owner.kysely)
    const sent: CompiledQuery[] = []
    const pool = openTestPool({ connectionString: roles[role] })
    const kysely = new Kysely<Database>({
      dialect: new PostgresDialect({ pool }),
      log: ({ query }) => void (query.sql.includes('ts_rank') && sent.push(query)),
    })
    try {
      const found = await postgresMemoryIndex({ kysely, partitions: 4 }).search('large', { text: 'word107', limit: 10, now })
      expect(found).toMatchObject([{ sequence: 107 }])
      const [search] = sent as [CompiledQuery]
      const plan = await kysely.transaction().execute(async (trx) => {
        await sql`select set_config('app.tenants', '{large}', true)`.execute(trx)
        return (await trx.executeQuery(CompiledQuery.raw(`explain ${search.sql}`, [...search.parameters]))).rows
      })
      expect(JSON.stringify(plan)).toContain('Bitmap Index Scan on interaction_words')
      expect(JSON.stringify(plan)).not.toContain('Seq Scan')
    } finally {
      await kysely.destroy()
    }
  })
})

describe('the projection as a durable subscription', () => {
  test('is committed with its checkpoint, and rebuilt under another name it is the same', async () => {
    const log = await openEmbeddedLog({ memory: true })
    await using engine = createEngine({ log })
    try {
      for (const id of ['one', 'two']) {
        const chat = await engine.open(id)
        for (let i = 0; i < 7; i++) {
          await chat.dispatch(say(`${id}q${i}`, `question ${i} about topic${i}`))
          await chat.dispatch(say(`${id}a${i}`, `answer ${i}`, 1, 'assistant'))
        }
        await chat.dispatch(messageRedacted({ messageId: `${id}q3` }))
      }
      const index = postgresMemoryIndex(log)
      const project = (name: string, failures = 0) => {
        let left = failures
        return subscribe(log, {
          name,
          filter: { types: interactionTypes },
          limit: 4,
          retryMs: 1,
          onError: () => {},
          transactional: true,
          async handle(envelopes, { transaction }) {
            await projectInteractions(postgresMemoryIndex({ kysely: transaction, partitions: log.partitions }), envelopes)
            // After what was written: the transaction takes it back, and the envelopes come again.
            if (left-- > 0) throw new Error('not yet')
          },
        })
      }
      const all = async () => [...(await index.latest('default', 'one', 100)), ...(await index.latest('default', 'two', 100))]
      {
        await using subscription = await project('recall@1', 3)
        await subscription.whenCaughtUp()
      }
      const first = await all()
      expect(first).toHaveLength(14)
      expect(await index.search('default', { text: 'topic5', limit: 5, now })).toMatchObject([{ sequence: 6 }, { sequence: 6 }])
      expect(await index.search('default', { text: 'topic3', limit: 5, now })).toEqual([])
      for (const id of ['one', 'two']) await index.forget('default', id)
      await using again = await project('recall@2')
      await again.whenCaughtUp()
      expect(await all()).toEqual(first)
      // In one go, and in memory, it is the same too.
      const plain = memoryIndex()
      for (const conversationId of ['one', 'two']) {
        const key: ConversationKey = { tenant: 'default', conversationId }
        for await (const page of log.read(key)) await projectInteractions(plain, page.map(openEnvelope))
      }
      expect([...(await plain.latest('default', 'one', 100)), ...(await plain.latest('default', 'two', 100))]).toEqual(first)
    } finally {
      await engine.close()
      await log.close()
    }
  })
})
