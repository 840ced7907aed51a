import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PGlite } from '@electric-sql/pglite'
import { Kysely, sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { int8Oid, safeInteger } from './int8.ts'
import { pgliteDialect } from './pglite-dialect.ts'

interface Tables {
  item: { n: number; name: string | null; bytes: Uint8Array | null }
}

let pglite: PGlite
let db: Kysely<Tables>
beforeAll(async () => {
  pglite = await PGlite.create({ parsers: { [int8Oid]: safeInteger } })
  db = new Kysely<Tables>({ dialect: pgliteDialect(pglite) })
  await sql`create table item (n int primary key, name text, bytes bytea, check (n >= 0))`.execute(db)
})
afterAll(() => pglite.close())

const nOf = async () => (await db.selectFrom('item').select('n').orderBy('n').execute()).map(({ n }) => n)

test('values come back as they went, and bytes as bytes', async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
  const row = { n: 1, name: 'é \u{1f99c} \\ " \n', bytes }
  const inserted = await db
    .insertInto('item')
    .values([row, { n: 2, name: null, bytes: null }])
    .executeTakeFirst()
  expect(inserted.numInsertedOrUpdatedRows).toBe(2n)
  expect(await db.selectFrom('item').selectAll().orderBy('n').execute()).toEqual([row, { n: 2, name: null, bytes: null }])
  expect((await db.updateTable('item').set({ name: 'x' }).where('n', '>', 1).executeTakeFirst()).numUpdatedRows).toBe(1n)
  expect((await db.deleteFrom('item').executeTakeFirst()).numDeletedRows).toBe(2n)
  const { rows } = await sql`
    select 9007199254740991::bigint as big, true as yes, 1.5::float8 as half, '{"a":[1]}'::jsonb as json, array['a', 'b,c'] as list,
      ${null}::text as nothing, ${'3'}::int as three, ${true}::boolean as too, ''::text as empty, ''::bytea as no_bytes
  `.execute(db)
  expect(rows).toEqual([
    {
      big: 9007199254740991,
      yes: true,
      half: 1.5,
      json: { a: [1] },
      list: ['a', 'b,c'],
      nothing: null,
      three: 3,
      too: true,
      empty: '',
      no_bytes: new Uint8Array(),
    },
  ])
})

test('an error has its SQLSTATE, and the session goes on', async () => {
  await db.insertInto('item').values({ n: 1, name: null, bytes: null }).execute()
  const again = db.insertInto('item').values({ n: 1, name: null, bytes: null })
  for (let round = 0; round < 3; round++) {
    await expect(again.execute()).rejects.toMatchObject({ code: '23505', constraint: 'item_pkey', table: 'item' })
    await expect(sql`selec`.execute(db)).rejects.toMatchObject({ code: '42601' })
    await expect(sql`select ${'x'}::int`.execute(db)).rejects.toMatchObject({ code: '22P02' })
    expect(await nOf()).toEqual([1])
  }
  await sql`do $$ begin raise notice 'only a notice'; end $$`.execute(db)
  await db.deleteFrom('item').execute()
})

test('a transaction has the session to itself, and is undone whole when it fails', async () => {
  const inside = Promise.withResolvers<void>()
  const transaction = db.transaction().execute(async (trx) => {
    await trx.insertInto('item').values({ n: 1, name: null, bytes: null }).execute()
    await inside.promise
    throw new Error('changed my mind')
  })
  // Would be undone too, if it slipped into the transaction.
  const beside = db.insertInto('item').values({ n: 2, name: null, bytes: null }).execute()
  inside.resolve()
  await expect(transaction).rejects.toThrow('changed my mind')
  await beside
  expect(await nOf()).toEqual([2])
  const failing = db.transaction().execute(async (trx) => {
    await trx.insertInto('item').values({ n: -1, name: null, bytes: null }).execute()
  })
  await expect(failing).rejects.toMatchObject({ code: '23514' })
  await db
    .transaction()
    .setIsolationLevel('serializable')
    .execute(async (trx) => {
      expect((await sql<{ level: string }>`select current_setting('transaction_isolation') as level`.execute(trx)).rows).toEqual([
        { level: 'serializable' },
      ])
    })
  await db.deleteFrom('item').execute()
})

test('a statement is prepared anew when its table has changed, and when nobody knows it any more', async () => {
  await sql`create table changing (a int)`.execute(db)
  const all = sql`select * from changing`
  await sql`insert into changing values (1)`.execute(db)
  expect((await all.execute(db)).rows).toEqual([{ a: 1 }])
  await sql`alter table changing add column b text default 'new'`.execute(db)
  expect((await all.execute(db)).rows).toEqual([{ a: 1, b: 'new' }])
  await pglite.exec('deallocate all')
  expect((await all.execute(db)).rows).toEqual([{ a: 1, b: 'new' }])
})

test('any number of statements is possible: only so many stay prepared', async () => {
  for (let i = 0; i < 300; i++) expect((await sql.raw(`select ${i} as i`).execute(db)).rows).toEqual([{ i }])
  const { rows } = await sql<{ n: number }>`select count(*)::int as n from pg_prepared_statements`.execute(db)
  expect(rows[0]?.n).toBeLessThanOrEqual(200)
})

test('nothing of an answer is kept', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const heapBytes = (): number => {
    collectGarbage()
    return process.memoryUsage().heapUsed
  }
  const read = sql`select repeat('x', 100000)`
  await read.execute(db)
  const before = heapBytes()
  for (let i = 0; i < 200; i++) await read.execute(db)
  expect(heapBytes() - before).toBeLessThan(5_000_000)
})
