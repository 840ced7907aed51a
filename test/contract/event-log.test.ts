import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EventLog } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import { type Database, migrate, openEmbeddedLog, openPostgresLog, type PostgresOptions } from '@colloquy/postgres'
import { Kysely, PostgresDialect, type Transaction } from 'kysely'
import type pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { appendTo, newKey } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { createRoles } from '../support/roles.ts'
import { openTestPool } from '../support/test-pool.ts'
import { eventLogContract, type LogUnderTest, type SlowLog, testThatAllCasesAreSomewhere } from './event-log.contract.ts'

const server = await startPostgres()
const pools: pg.Pool[] = []
const directories: string[] = []
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()))
  await server?.stop()
  for (const directory of directories) await rm(directory, { recursive: true, force: true })
})

for (const partitions of [1, 8]) {
  eventLogContract(`memory, ${partitions} partitions`, async () => ({ log: openMemoryLog({ partitions }) }), {
    hasTables: false,
    isShared: false,
  })
}

eventLogContract(
  'PGlite in memory, 1 partition',
  async () => {
    const log = await openEmbeddedLog({ memory: true })
    return { log, kysely: log.kysely }
  },
  { hasTables: true, isShared: false },
)

eventLogContract(
  'PGlite in a directory, 4 partitions',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'colloquy-contract-'))
    directories.push(directory)
    const log = await openEmbeddedLog({ directory, partitions: 4 })
    return { log, kysely: log.kysely }
  },
  { hasTables: true, isShared: false },
)

describe.skipIf(!server)('a real Postgres', () => {
  eventLogContract('Postgres by url, 64 partitions', () => onPostgres(64), { hasTables: true, isShared: true })
  eventLogContract('Postgres by url, 1 partition', () => onPostgres(1), { hasTables: true, isShared: true })
  eventLogContract('Postgres by url, by plain statements, 4 partitions', () => onPostgres(4, { appendBy: 'statements' }), {
    hasTables: true,
    isShared: true,
  })
  eventLogContract(
    'Postgres by url, batches of one partition, 4 partitions',
    () => onPostgres(4, { batchAcrossPartitions: false }),
    {
      hasTables: true,
      isShared: true,
    },
  )
  eventLogContract('Postgres by a Kysely with string bigints and serializable sessions, 4 partitions', () => onForeignKysely(4), {
    hasTables: true,
    isShared: true,
  })

  eventLogContract('Postgres as the app role, with the worker role for feeds of all tenants', onRoles, {
    hasTables: true,
    isShared: true,
  })

  test('a writer in another database does not hold the feed up (case 20)', async () => {
    const [ours, theirs] = await Promise.all([onPostgres(1), onPostgres(1)])
    const slow = await (theirs.openSlow as () => Promise<SlowLog>)()
    await appendTo(slow.log, newKey(), [{}])
    const stored = await appendTo(ours.log, newKey(), [{}])
    expect((await ours.log.feed({ partition: 0, after: 0, limit: 10 })).envelopes).toEqual(stored)
    await slow.rollback()
    await Promise.all([ours.log.close(), theirs.log.close()])
  })
})

testThatAllCasesAreSomewhere()

async function onPostgres(
  partitions: number,
  how: Pick<PostgresOptions, 'appendBy' | 'batchAcrossPartitions'> = {},
): Promise<LogUnderTest> {
  const url = (await server?.createDatabase()) ?? ''
  await migrate({ url, partitions })
  const log = await openPostgresLog({ url, ...how })
  return { log, kysely: log.kysely, openAgain: () => openPostgresLog({ url, ...how }), openSlow: () => openSlow(log.kysely) }
}

/** As roles that own nothing, under row-level security. */
async function onRoles(): Promise<LogUnderTest> {
  const url = (await server?.createDatabase()) ?? ''
  const roles = await createRoles(url, { partitions: 8 })
  const owner = await openPostgresLog({ url })
  const worker = await openPostgresLog({ url: roles.worker })
  const openApp = async (): Promise<EventLog> => {
    const app = await openPostgresLog({ url: roles.app })
    const readerOf = ({ tenant }: { readonly tenant?: string }) => (tenant === undefined ? worker : app)
    return {
      ...app,
      feed: (query) => readerOf(query).feed(query),
      feedPages: (query) => readerOf(query).feedPages(query),
    }
  }
  const app = await openPostgresLog({ url: roles.app })
  const log = await openApp()
  return {
    log: {
      ...log,
      close: async () => void (await Promise.all([log.close(), worker.close(), owner.close(), app.close()])),
    },
    kysely: owner.kysely,
    openAgain: openApp,
    openSlow: () => openSlow(app.kysely),
  }
}

/** As an application may hand it in: with pg's own parsers, and sessions that are not at read committed. */
async function onForeignKysely(partitions: number): Promise<LogUnderTest> {
  const url = (await server?.createDatabase()) ?? ''
  await migrate({ url, partitions })
  const pool = openTestPool({ connectionString: url, options: '-c default_transaction_isolation=serializable' })
  pool.on('error', () => {})
  pools.push(pool)
  const kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
  const own = await openPostgresLog({ url })
  const log = await openPostgresLog({ kysely })
  return {
    log: { ...log, close: async () => void (await Promise.all([log.close(), own.close()])) },
    kysely,
    openAgain: () => openPostgresLog({ kysely }),
    openSlow: () => openSlow(own.kysely),
  }
}

/** A log inside a transaction that stays open. */
async function openSlow(kysely: Kysely<Database>): Promise<SlowLog> {
  const started = Promise.withResolvers<Transaction<Database>>()
  const ended = Promise.withResolvers<void>()
  const transaction = kysely
    .transaction()
    .execute(async (trx) => {
      started.resolve(trx)
      await ended.promise
    })
    .catch(() => undefined)
  return {
    log: await openPostgresLog({ kysely: await started.promise }),
    commit: async () => {
      ended.resolve()
      await transaction
    },
    rollback: async () => {
      ended.reject(new Error('rolled back'))
      await transaction
    },
  }
}
