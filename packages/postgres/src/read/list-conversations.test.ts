/** What a list of conversations costs, on a real Postgres. What it gives is held by the contract of logs too. */
import { CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { openTestPool } from '../../../../test/support/test-pool.ts'
import { openPostgresLog } from '../open-postgres.ts'
import type { Database } from '../schema/database.ts'
import { migrate } from '../schema/migrate.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

test.skipIf(!server)('a list skips the streams of our own, of which a tenant may have more than conversations', async () => {
  const url = (await server?.createDatabase()) ?? ''
  await migrate({ url, partitions: 2 })
  const sent: CompiledQuery[] = []
  const kysely = new Kysely<Database>({
    dialect: new PostgresDialect({ pool: openTestPool({ connectionString: url }) }),
    log: ({ query }) => void (query.sql.includes('lateral') && sent.push(query)),
  })
  const log = await openPostgresLog({ kysely })
  try {
    const ids = ['Colloquy:', 'a', 'colloquy', 'colloquy9', 'colloquy;', 'colloquy:\u{10ffff}', 'colloquz', 'z', '\u{1f99c}']
    const own = Array.from({ length: 2_000 }, (_, i) => `colloquy:budget:${i}`)
    await sql`
      insert into conversation select n % 2, n, 'acme', id, 1, '', 1
      from unnest(${[...ids, ...own]}::text[]) with ordinality as given (id, n)
    `.execute(kysely)
    await sql`vacuum analyze conversation`.execute(kysely)
    const listed = async (after?: string, limit = 100) =>
      (await log.conversations({ tenant: 'acme', limit, ...(after !== undefined && { after }) })).map(
        (each) => each.conversationId,
      )
    const all = ids.filter((id) => !id.startsWith('colloquy:'))
    expect(await listed()).toEqual(all)
    for (const limit of [1, 2, 3, 5]) {
      const pages: string[] = []
      for (let page = await listed(undefined, limit); page.length > 0; page = await listed(pages.at(-1), limit))
        pages.push(...page)
      expect(pages).toEqual(all)
    }
    for (const after of ['colloquy:', 'colloquy:budget:7', 'colloquy:\u{10ffff}'])
      expect(await listed(after)).toEqual(all.slice(4))
    for (const query of sent.splice(0)) {
      const explained = CompiledQuery.raw(`explain (analyze, timing off) ${query.sql}`, [...query.parameters])
      const plan = (await kysely.executeQuery(explained)).rows.map((row) => Object.values(row as object).join()).join('\n')
      expect(plan).not.toContain('Rows Removed by Filter')
      expect(plan).not.toContain('Seq Scan on conversation')
    }
  } finally {
    await log.close()
    await kysely.destroy()
  }
})
