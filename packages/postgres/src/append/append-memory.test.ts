/** What becomes of the memory of appends, on a real Postgres. */
import { afterAll, expect, test } from 'vitest'
import { appendTo, newKey } from '../../../../test/support/log-writer.ts'
import { startPostgres } from '../../../../test/support/postgres-server.ts'
import { promotedBytes } from '../../../../test/support/promoted-bytes.ts'
import { openPostgresLog } from '../open-postgres.ts'
import { migrate } from '../schema/migrate.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const writers = 32
const appendsAWriter = 250

// 20 to 40 bytes of each grow old. By pg's promises or its `query_timeout`, or with requests as the values of a map, it was 1,500 and more.
test.skipIf(!server)('what is made for an append and for a look at the head is collected while it is young', async () => {
  const url = (await server?.createDatabase()) as string
  await migrate({ url })
  await using log = await openPostgresLog({ url })
  const appendBy = async (count: number): Promise<void> => {
    const key = newKey()
    for (let i = 0; i < count; i++) await appendTo(log, key, [{}])
  }
  const append = async (count: number): Promise<void> => {
    await Promise.all(Array.from({ length: writers }, () => appendBy(count)))
  }
  await append(50)
  const bytes = await promotedBytes(() => append(appendsAWriter))
  expect(bytes / (writers * appendsAWriter)).toBeLessThan(300)
})
